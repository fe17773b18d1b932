/**
 * Which topics one session reads: those that it asked for, and those that the person follows; and which stretches of the log
 * count for each.
 *
 * Invariants:
 * - The subscriber is with the hub on exactly these topics.
 * - What the session asked for itself stays, whatever the person follows or no longer follows.
 * - A bound is remembered only until the session's position is past it.
 * @module
 */
import type { Batch } from "../log/batch.ts";
import { covers, type Cursor, isBehind } from "../log/cursor.ts";
import type { Row } from "../log/row.ts";
import type { Hub, Subscriber } from "./hub.ts";

/** A topic that was followed from a definite place on, and perhaps up to another: what is outside of that does not count. */
export interface Followed {
  /** Which following of it this is; absent where the session asked for the topic itself. */
  id?: string;
  topic: string;
  since?: Cursor;
  until?: Cursor;
}

type Stretch = Omit<Followed, "topic">;

/** Topics whose end of following is remembered. */
const UNFOLLOWED = 1_000;

/** One session's topics. */
export class Interests {
  readonly #hub: Pick<Hub, "join" | "leave">;
  readonly #subscriber: Subscriber;
  readonly #topics = new Set<string>();
  /** Topics that are its own because the person follows them, not because it asked for them. */
  readonly #followed = new Set<string>();
  /** Which stretches of a topic count, until the position is past their bounds. */
  readonly #stretches = new Map<string, Stretch[]>();
  /** Where it was when topics were no longer followed: a following that begins earlier than that begins there. */
  readonly #unfollowed = new Map<string, Cursor>();
  #revision = 0;

  constructor(hub: Pick<Hub, "join" | "leave">, subscriber: Subscriber) {
    this.#hub = hub;
    this.#subscriber = subscriber;
  }

  get topics(): readonly string[] {
    return [...this.#topics];
  }

  has(topic: string): boolean {
    return this.#topics.has(topic);
  }

  /** Grows whenever the topics change. */
  get revision(): number {
    return this.#revision;
  }

  /** The rows that count, of a batch of these topics. */
  sift(batch: Batch): Batch {
    return this.#stretches.size === 0 ? batch : batch.filter((row) => this.#counts(row));
  }

  /** The session asks for a topic; `since` when it is a place that `position` has not reached yet. */
  ask(topic: string, position: Cursor, since?: Cursor): void {
    this.#followed.delete(topic);
    this.#stretches.delete(topic);
    if (since !== undefined && !covers(position, since)) this.#stretches.set(topic, [{ since }]);
    this.#add(topic);
  }

  /** The person follows a topic, unless the session asked for it or is past the end of that. */
  follow({ topic, ...stretch }: Followed, position: Cursor): void {
    const known = this.#topics.has(topic);
    if (known && !this.#followed.has(topic)) return;
    if (stretch.until !== undefined && covers(position, stretch.until)) return;
    this.#stretches.set(topic, [...(known ? this.#stretches.get(topic) ?? [{}] : []), stretch]);
    this.#followed.add(topic);
    this.#add(topic);
  }

  /** Whether this following gives the session anything that it does not have. */
  lacks(id: string, topic: string): boolean {
    if (!this.#topics.has(topic)) return true;
    const stretches = this.#stretches.get(topic);
    if (!this.#followed.has(topic) || stretches === undefined) return false;
    return !stretches.some((one) => one.id === id || one.until === undefined);
  }

  /** This following ends at `until`. False: it was none of the session's, or had ended. */
  unfollow(id: string, topic: string, until: Cursor, position: Cursor): boolean {
    if (!this.#followed.has(topic)) return false;
    const ends = (one: Stretch) => one.until === undefined && (one.id === undefined || one.id === id);
    const stretches = this.#stretches.get(topic) ?? [{}];
    if (!stretches.some(ends)) return false;
    this.#stretches.set(topic, stretches.map((one) => ends(one) ? { ...one, until } : one));
    this.#unfollowed.delete(topic);
    this.#unfollowed.set(topic, position);
    if (this.#unfollowed.size > UNFOLLOWED) {
      this.#unfollowed.delete(this.#unfollowed.keys().next().value!);
    }
    this.settle(position);
    return true;
  }

  /** Up to where the topic was given while an earlier following of it ended. */
  heldOf(topic: string): Cursor | undefined {
    return this.#unfollowed.get(topic);
  }

  drop(topic: string): void {
    if (!this.#topics.delete(topic)) return;
    this.#revision++;
    this.#followed.delete(topic);
    this.#stretches.delete(topic);
    this.#hub.leave(topic, this.#subscriber);
  }

  /** Forgets bounds that the position is past, and drops topics that ended before it. */
  settle(position: Cursor): void {
    for (const [topic, stretches] of this.#stretches) {
      const left = stretches.filter(({ until }) => until === undefined || !covers(position, until));
      if (left.length === 0) this.drop(topic);
      else if (
        left.every(({ since, until }) =>
          until === undefined && (since === undefined || covers(position, since))
        )
      ) {
        this.#stretches.delete(topic);
      } else this.#stretches.set(topic, left);
    }
  }

  /** Another history: bounds in the old one mean nothing, and what was ending has ended. */
  startOver(): void {
    for (const [topic, stretches] of this.#stretches) {
      if (stretches.every(({ until }) => until !== undefined)) this.drop(topic);
    }
    this.#stretches.clear();
    this.#unfollowed.clear();
  }

  /** Leaves the hub; what the topics were can still be asked. */
  leave(): void {
    for (const topic of this.#topics) this.#hub.leave(topic, this.#subscriber);
  }

  #counts(row: Row): boolean {
    return this.#stretches.get(row.topic)?.some(({ since, until }) =>
      (since === undefined || !isBehind(since, row)) && (until === undefined || isBehind(until, row))
    ) ?? true;
  }

  #add(topic: string): void {
    if (this.#topics.has(topic)) return;
    this.#revision++;
    this.#topics.add(topic);
    this.#hub.join(topic, this.#subscriber);
  }
}
