/**
 * What one STOMP subscription reads of the log, on its way to the socket: rows become MESSAGE frames, as many as the client
 * lets wait and the socket takes.
 *
 * Invariants: at most one batch is held for a subscription; while it is, nothing more is read for it. A row's cursor is handed
 * out only with the row or after it.
 * @module
 */
import { TidingsError } from "../errors.ts";
import type { Reconnectable } from "../feed/feed.ts";
import type { InboxEvent, Sink } from "../feed/sink.ts";
import type { Batch } from "../log/batch.ts";
import { exactItemOf } from "../log/row.ts";
import type { Item } from "../notification.ts";
import { EVENTS, type InboxCount, type ResetReason } from "../protocol.ts";
import type { StompSession } from "./stomp_session.ts";
import type { StompSubscription } from "./stomp_subscription.ts";

/** The reading behind a delivery: a feed's session. */
export interface Reading {
  /** Its cursor; says nothing while a batch is held. */
  readonly cursor: string;
  /** Whether it reads this topic: one that was withdrawn it does not. */
  has(topic: string): boolean;
  /** Begins. */
  open(): void;
  drained(): void;
  end(): void;
}

/** The socket as deliveries need it. */
export interface Outlet {
  /** Takes a frame of the gateway's own. */
  write(text: string): void;
  /** Takes a MESSAGE with an item. */
  deliver(text: string): void;
  /** Holds what is written until `uncork`, to pass it on at once. */
  cork(): void;
  uncork(): void;
  /** It takes no more until it calls `flow` of every delivery. */
  readonly full: boolean;
  /** The reading ended by itself. */
  ended(error: TidingsError): void;
}

/** Events of the inbox that wait behind held rows; more, and the reading waits. */
const OWED_MAX = 10;

/** Turns rows into frames. */
export class StompDelivery implements Sink, Reconnectable {
  readonly subscription: StompSubscription;
  readonly #session: StompSession;
  readonly #outlet: Outlet;
  readonly #wants: (type: string) => boolean;
  #reading: Reading | undefined;
  #held: { batch: Batch; next: number } | undefined;
  /** What happened in the inbox after the rows that are held. */
  #owed: InboxEvent[] = [];
  #notices = 0;
  #blocked = false;
  #reset: ResetReason | undefined;
  #stopped = false;
  #paused = false;

  /** @param wants which types this subscription shows; the others are passed over. */
  constructor(
    subscription: StompSubscription,
    session: StompSession,
    outlet: Outlet,
    wants: (type: string) => boolean,
  ) {
    this.subscription = subscription;
    this.#session = session;
    this.#outlet = outlet;
    this.#wants = wants;
  }

  get reading(): Reading | undefined {
    return this.#reading;
  }

  /** The person's counts when the reading begins. */
  welcome: InboxCount | undefined;

  /** Begins to read. */
  start(): void {
    if (this.welcome !== undefined) this.inbox(this.welcome);
    this.#reading?.open();
  }

  /** Ties the delivery to its reading. */
  attach(reading: Reading): void {
    this.#reading = reading;
    if (this.#stopped) reading.end();
  }

  /** The position to keep: what is behind it is settled. Undefined: nothing to keep yet. */
  get position(): string | undefined {
    const reading = this.#reading;
    if (this.subscription.idle && this.#held === undefined && reading !== undefined) return reading.cursor;
    return this.subscription.position;
  }

  /** The socket or the client takes more. */
  flow(): void {
    if (this.#stopped || this.#paused || !this.#blocked || !this.#send()) return;
    this.#blocked = false;
    this.#reading?.drained();
  }

  /** Sends no more; what comes is held, so that the position stays what it is. */
  pause(): void {
    this.#paused = true;
  }

  /** Ends the reading. */
  stop(): void {
    this.#stopped = true;
    this.#held = undefined;
    this.#reading?.end();
  }

  items(batch: Batch): boolean {
    this.#held = { batch, next: 0 };
    const free = !this.#paused && this.#send();
    this.#blocked = !free;
    return free;
  }

  reset(reason: ResetReason, cursor: string): void {
    this.#held = undefined;
    // who named a cursor knows what a reset is; a front end that knows nothing of cursors finds it in a header
    if (this.subscription.request.since !== undefined) {
      this.#outlet.write(
        this.#session.notice(this.subscription, "tidings.reset", cursor, { reason, cursor }),
      );
    } else this.#reset = reason;
  }

  /** STOMP has no word for the inbox: it is a message like `tidings.reset`, for those who asked for it. */
  inbox(event: InboxEvent): boolean {
    if (!this.subscription.request.inbox) return true;
    this.#owed.push(event);
    if (this.#held === undefined && !this.#paused) this.#tellOwed();
    const free = !this.#outlet.full && this.#owed.length < OWED_MAX;
    if (!free) this.#blocked = true;
    return free;
  }

  reconnect(): void {
    this.close(new TidingsError("restarting", "This gateway is restarting: come back in a moment"));
  }

  close(error: TidingsError): void {
    if (!this.#stopped) this.#outlet.ended(error);
  }

  /** Sends of what is held. True: nothing is left, and there is room. */
  #send(): boolean {
    this.#outlet.cork();
    const done = this.#sendHeld();
    if (this.#held === undefined) this.#tellOwed();
    this.#outlet.uncork();
    return done;
  }

  #tellOwed(): void {
    const cursor = this.#reading?.cursor ?? "";
    for (const event of this.#owed.splice(0)) {
      const id = `${EVENTS.inbox}-${++this.#notices}-${cursor}`;
      this.#outlet.write(this.#session.notice(this.subscription, EVENTS.inbox, cursor, event, id));
    }
  }

  #sendHeld(): boolean {
    const { subscription } = this;
    for (let held = this.#held; held !== undefined; held = this.#held) {
      const { batch, next } = held;
      const row = batch.rows[next];
      if (row === undefined) {
        this.#held = undefined;
        break;
      }
      const shown = this.#wants(row.type);
      if (shown && (subscription.room <= 0 || this.#outlet.full)) return false;
      held.next++;
      const cursor = batch.cursorAt(next);
      if (!shown) {
        subscription.moved(cursor);
        continue;
      }
      const item = batch.encoded("items", itemsOf)[next] as Item;
      const extra: Record<string, string> = this.#reset === undefined ? {} : { reset: this.#reset };
      this.#reset = undefined;
      this.#outlet.deliver(this.#session.message(subscription, { item, json: row.json }, cursor, extra));
    }
    return subscription.room > 0 && !this.#outlet.full;
  }
}

function itemsOf(batch: Batch): Item[] {
  return batch.rows.map(exactItemOf);
}
