/**
 * The client: `connect()` and everything it gives. Runs in browsers, Deno and Node, without dependencies.
 *
 * ```ts
 * const tidings = connect({ url: "https://tidings.example", getToken: () => fetch("/token").then((r) => r.text()) });
 * tidings.on("item", (item) => console.log(item.title));
 * tidings.on("inbox", ({ unread }) => document.title = `(${unread})`);
 * ```
 * @module
 */
import type { Item } from "../notification.ts";
import { Client, type TidingsClient } from "./client.ts";
import type { ConnectOptions } from "./options.ts";

export type {
  ClientFrame,
  InboxChange,
  InboxCount,
  MarkState,
  Problem,
  Publication,
  ResetReason,
  ServerFrame,
} from "../protocol.ts";
export type { Item } from "../notification.ts";
export type { ClientEvents, TidingsClient } from "./client.ts";
export type { GetToken } from "./credentials.ts";
export type { InboxItem, InboxPage, InboxQuery, Marked } from "./inbox.ts";
export { type State, type Transport, TRANSPORTS } from "./machine.ts";
export type { KeyValueStore } from "./memory.ts";
export type { ConnectOptions } from "./options.ts";
export { TidingsClientError } from "./problem.ts";
export type { Snapshot } from "./tabs.ts";

/** Connects, and stays connected until `close()`. Throws a TidingsClientError for settings that cannot work. */
export function connect<I extends Item = Item>(options: ConnectOptions = {}): TidingsClient<I> {
  return new Client<I>(options);
}
