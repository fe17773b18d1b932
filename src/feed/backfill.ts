/**
 * Topics that a session gets from an earlier place on than where it is.
 * @module
 */
import { type Cursor, merge } from "../log/cursor.ts";
import type { Interests } from "./interests.ts";

/** What waits to be filled in. */
export interface Backfill {
  topics: readonly string[];
  since: Cursor;
  /** Which following it is; absent: the session asked for it. */
  followed?: string;
  /** Called when it is done, or came to nothing. */
  resolve: () => void;
}

/** Makes them the session's, which is at `until`: which of them to read, and after which place. */
export function begin(
  { topics, since, followed }: Backfill,
  interests: Interests,
  until: Cursor,
): { topics: readonly string[]; after: Cursor } {
  if (followed === undefined) {
    const added = topics.filter((topic) => !interests.has(topic));
    for (const topic of added) interests.ask(topic, until, since);
    return { topics: added, after: since };
  }
  let after = since;
  for (const topic of topics) {
    // What it was given of the topic while an earlier following of it ended, it is not given again.
    const held = interests.heldOf(topic);
    if (held !== undefined) after = merge(since, held);
    interests.follow({ id: followed, topic, since: after }, until);
  }
  return { topics, after };
}

/** What was before cannot be read any more: they are the session's from `position` on. */
export function giveUp(
  { topics, followed, resolve }: Backfill,
  interests: Interests,
  position: Cursor,
): void {
  for (const topic of topics) {
    if (followed === undefined) interests.ask(topic, position);
    else interests.follow({ id: followed, topic }, position);
  }
  resolve();
}
