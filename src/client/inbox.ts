/**
 * The inbox as a page asks for it and gets it.
 * @module
 */
import type { Item } from "../notification.ts";

/** Which part of the inbox. */
export interface InboxQuery {
  /** @default everything that is not archived */
  state?: "inbox" | "all" | "unseen" | "seen" | "read" | "unread" | "archived";
  topic?: string;
  type?: string;
  /** Older than this id: the last of the page before. */
  before?: string;
  limit?: number;
}

/** A notification as the inbox keeps it. */
export interface InboxItem extends Item {
  state: "unseen" | "seen" | "read" | "archived";
}

/** One page, newest first. */
export interface InboxPage {
  items: InboxItem[];
  /** The `before` of the next page; absent on the last one. */
  next?: string;
}

/** What to mark: ids, everything, or everything up to one. */
export type Marked = string | string[] | { all: true } | { before: string };
