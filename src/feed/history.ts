/**
 * The past, page by page: from the hub's window, and from the database what that no longer holds.
 * @module
 */
import type { LogStore } from "../database/log_store.ts";
import { Batch } from "../log/batch.ts";
import { covers, type Cursor, splice } from "../log/cursor.ts";
import type { Row } from "../log/row.ts";
import { createGate } from "./gate.ts";
import type { Hub } from "./hub.ts";

/** Which rows to read. */
export interface Span {
  topics: readonly string[];
  after: Cursor;
  until: Cursor;
}

/** What was read. */
export interface HistoryPage {
  batch: Batch;
  /** Everything up to this xid may have been purged, as the database has it. */
  horizon: number;
}

/** Reads what the window no longer holds. */
export interface History {
  /** Rows of the topics after a position and behind another, one page of so many. */
  read(span: Span, rows: number, signal: AbortSignal): Promise<HistoryPage>;
}

/** Bytes of one page, about. */
const PAGE_BYTES = 1024 * 1024;

/** Reads pages of history, so many at a time. */
export function createHistory(store: Pick<LogStore, "readTopics">, readers: number): History {
  const gate = createGate(readers);
  return {
    read({ topics, after, until }, rows, signal) {
      return gate.pass(async () => {
        const page = await store.readTopics(topics, after, until, { rows, bytes: PAGE_BYTES });
        const last = page.rows.at(-1);
        const end = page.more && last !== undefined ? splice(after, until, last) : until;
        return {
          batch: new Batch([{ rows: page.rows, from: after, to: until }], end, after),
          horizon: page.horizon,
        };
      }, signal);
    },
  };
}

/** The next page, where the window reaches back that far; undefined: it has to be read from history. */
export function readWindow(
  { position, window }: Pick<Hub, "position" | "window">,
  { after, until }: Span,
  wants: (row: Row) => boolean,
  rows: number,
): Batch | undefined {
  return covers(position, until) ? window.read(after, until, wants, rows) : undefined;
}

/** What is read, and how to go on after a failure. */
export interface Patience {
  history: History;
  /** Rows of one page. */
  page: number;
  failed(error: unknown): void;
  /** Resolves at once when the signal is aborted. */
  pause(attempt: number, signal: AbortSignal): Promise<void>;
}

/** Reads a page, again and again while that fails; undefined when it is not wanted any more. */
export async function readPatiently(
  span: Span,
  { history, page: rows, failed, pause }: Patience,
  wanted: () => boolean,
  signal: AbortSignal,
): Promise<HistoryPage | undefined> {
  for (let attempt = 0; wanted(); attempt++) {
    try {
      const page = await history.read(span, rows, signal);
      return wanted() ? page : undefined;
    } catch (error) {
      if (!wanted()) return undefined;
      failed(error);
    }
    await pause(attempt, signal);
  }
  return undefined;
}
