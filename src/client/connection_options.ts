/**
 * What a connection needs, and what it tells.
 * @module
 */
import type { Chance, Clock } from "../clock.ts";
import type { Item } from "../notification.ts";
import type { ClientFrame, InboxChange, InboxCount, ResetReason, ServerFrame } from "../protocol.ts";
import type { Credentials } from "./credentials.ts";
import type { LinkTools } from "./link.ts";
import type { Transport } from "./machine.ts";
import type { Memory, Recent } from "./memory.ts";
import type { World } from "./world.ts";

/** What a connection tells. */
export interface ConnectionEars {
  items(items: Item[], cursor: string): void;
  inbox(count: InboxCount, changes: InboxChange[] | undefined): void;
  reset(reason: ResetReason): void;
  changed(): void;
  /** Every frame, as it travels. */
  frame(direction: "in" | "out", transport: Transport, frame: ServerFrame | ClientFrame): void;
}

/** What a connection needs. */
export interface ConnectionOptions {
  base: URL;
  credentials: Credentials;
  /** The name under which the cursor is kept. */
  user: string;
  since: string | undefined;
  topics: Iterable<string>;
  transports: readonly Transport[];
  memory: Memory;
  /** What was told already, by this connection or by one before it. */
  recent: Recent;
  tools: LinkTools;
  clock: Clock;
  chance: Chance;
  world: World;
  /** Whether somebody looks at any page of this connection. @default nobody does */
  visible?: () => boolean;
  ears: ConnectionEars;
}
