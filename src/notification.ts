/**
 * The notification as clients see it. Shared with the browser client, so it imports nothing.
 * @module
 */

/** How urgently a push service should wake the device; the words of RFC 8030, section 5.3. @default "normal" */
export type Priority = "very-low" | "low" | "normal" | "high";

/** All priorities, least urgent first. */
export const PRIORITIES: readonly Priority[] = ["very-low", "low", "normal", "high"];

/** One notification as it travels on every transport. Absent fields are left out, never null. */
export interface Item {
  /** Decimal digits; unique within one database. Clients drop what they already have by it. */
  id: string;
  topic: string;
  /** `notification` unless the sender gave another; `tidings.*` is reserved. */
  type: string;
  title?: string;
  body?: string;
  link?: string;
  /** Whatever JSON the sender attached. */
  data?: unknown;
  sender?: string;
  priority?: Priority;
  collapseKey?: string;
  /** RFC 3339, UTC, milliseconds. */
  createdAt: string;
  /** RFC 3339, UTC, milliseconds. */
  expiresAt?: string;
  /** Live only: never in the inbox. */
  transient?: true;
}

/** Limits on a notification's fields; SQL's CHECK constraints hold the same numbers. Characters, but for body and data: bytes. */
export const LIMITS = {
  topic: 200,
  type: 100,
  title: 1_000,
  body: 64 * 1024,
  link: 2_048,
  data: 256 * 1024,
  sender: 200,
  collapseKey: 200,
  dedupeKey: 200,
} as const;
