/**
 * Where a session's output goes. Every transport has one.
 * @module
 */
import type { TidingsError } from "../errors.ts";
import type { Batch } from "../log/batch.ts";
import type { InboxChange, InboxCount, ResetReason } from "../protocol.ts";

/** Where a session's output goes; a transport. Its methods must neither throw nor wait. */
export interface Sink {
  /** Takes rows. False: it takes no more until it has the session told that it drained. */
  items(batch: Batch): boolean;
  /** The session's cursor could not be used; it goes on from this one. */
  reset(reason: ResetReason, cursor: string): void;
  /** The person's inbox changed. False: as of rows. */
  inbox(event: InboxEvent): boolean;
  /** The session is over for this reason; the sink closes. */
  close(error: TidingsError): void;
  /** The session has become live. */
  live?(): void;
}

/** The person's counts as they are now, and what changed them. */
export interface InboxEvent extends InboxCount {
  changes?: InboxChange[];
}
