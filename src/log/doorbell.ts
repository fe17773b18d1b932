/**
 * When to read, when to hold the flag up, when to sleep: the gateway's side of the doorbell as a pure state machine.
 * Nothing here waits or talks to a database; the tailer does what {@link Doorbell.decide} says and reports what came of it.
 *
 * Invariants (doorbell.pml is their model; each left out loses a row):
 * - Raising the flag rings (in SQL: set, then look), so that gateways that sleep come along.
 * - To sleep: a read sees the flag down; the snapshot S of a *later* read names the transactions in progress, which may have
 *   skipped ringing; it keeps reading until all of them have ended in the snapshot of a read that took its rows and saw the
 *   flag down.
 * - A bell that rings at any moment but during sleep is remembered, and answered by one more read.
 * - The slow timer reads even when nothing rang: a lost bell costs time and never a row.
 * @module
 */

/** Times in milliseconds. */
export interface DoorbellOptions {
  /** Between two reads while the flag is up. @default 5 */
  poll: number;
  /** The longest pause while transactions that may have skipped ringing are waited for. @default 100 */
  drain: number;
  /** How long the flag is held up at a time. @default 250 */
  hold: number;
  /** The longest sleep. @default 5000 */
  slow: number;
  /** So many transactions read within `span` are busy. @default 12 */
  busy: number;
  /** @default 100 */
  span: number;
}

/** The defaults. */
export const DOORBELL: DoorbellOptions = { poll: 5, drain: 100, hold: 250, slow: 5_000, busy: 12, span: 100 };

/** What to do next. A pause and a sleep end early when the bell rings. */
export type DoorbellAction =
  | { do: "read" }
  | { do: "hold"; ms: number }
  | { do: "pause"; ms: number }
  | { do: "sleep"; ms: number };

/** What one read saw. */
export interface ReadReport {
  /** Whether more rows are waiting than it could take. */
  more: boolean;
  /** How many transactions its rows came from. */
  transactions: number;
  /** How long the flag is still up by the database's clock; not positive: it is down. */
  awake: number;
  /** The transactions in progress in its snapshot. */
  inProgress: readonly number[];
}

type Phase =
  /** Reading, the flag up or not yet looked at. */
  | { name: "awake" }
  /** The flag was seen down; the next read's snapshot says who may have skipped ringing. */
  | { name: "closing" }
  /** Waiting for these to end. */
  | { name: "draining"; waiting: ReadonlySet<number>; pauses: number }
  | { name: "asleep" };

/** The state machine. `now` is any monotonic clock in milliseconds. */
export class Doorbell {
  readonly #options: DoorbellOptions;
  #phase: Phase = { name: "awake" };
  /** Something asks for a read before anything else. */
  #rung = true;
  /** When the flag that the last read saw goes down, by our clock. */
  #flagUntil = -Infinity;
  /** Busy-ness: transactions read in the current span and in the one before. */
  #spanStart = -Infinity;
  #current = 0;
  #previous = 0;

  constructor(options: Partial<DoorbellOptions> = {}) {
    this.#options = { ...DOORBELL, ...options };
  }

  /** For metrics and tests. */
  get phase(): Phase["name"] {
    return this.#phase.name;
  }

  /** The bell rang, the listener came back, or the slow timer ran out. */
  ring(): void {
    this.#rung = true;
    if (this.#phase.name === "asleep") this.#phase = { name: "awake" };
  }

  /** A read came back. */
  read(report: ReadReport, now: number): void {
    this.#count(report.transactions, now);
    this.#flagUntil = now + report.awake;
    if (report.more) {
      this.#rung = true;
      return;
    }
    if (report.awake > 0) {
      this.#phase = { name: "awake" };
      return;
    }
    const phase = this.#phase;
    if (phase.name === "awake") {
      this.#phase = { name: "closing" };
      this.#rung = true;
      return;
    }
    const running = new Set(report.inProgress);
    const before = phase.name === "draining" ? phase.waiting : running;
    const waiting = new Set([...before].filter((xid) => running.has(xid)));
    const pauses = phase.name === "draining" ? phase.pauses + 1 : 0;
    this.#phase = waiting.size === 0 ? { name: "asleep" } : { name: "draining", waiting, pauses };
  }

  /** What to do now. */
  decide(now: number): DoorbellAction {
    const { poll, drain, hold, slow } = this.#options;
    if (this.#busy(now) && this.#flagUntil - now < hold / 2) {
      // Until the next read says otherwise the flag counts as up: a hold is not asked for twice.
      this.#flagUntil = now + hold;
      this.#phase = { name: "awake" };
      this.#rung = true;
      return { do: "hold", ms: hold };
    }
    if (this.#rung) {
      this.#rung = false;
      if (this.#phase.name === "asleep") this.#phase = { name: "awake" };
      return { do: "read" };
    }
    switch (this.#phase.name) {
      case "awake":
        this.#rung = true;
        return { do: "pause", ms: poll };
      case "closing":
        return { do: "read" };
      case "draining":
        this.#rung = true;
        return { do: "pause", ms: Math.min(drain, poll * 2 ** Math.min(this.#phase.pauses, 16)) };
      case "asleep":
        return { do: "sleep", ms: slow };
    }
  }

  #count(transactions: number, now: number): void {
    const { span } = this.#options;
    if (now - this.#spanStart >= span) {
      this.#previous = now - this.#spanStart < 2 * span ? this.#current : 0;
      this.#current = 0;
      this.#spanStart = now;
    }
    this.#current += transactions;
  }

  #busy(now: number): boolean {
    const { busy, span } = this.#options;
    const age = now - this.#spanStart;
    if (age >= 2 * span) return false;
    return this.#current >= busy || (age < span && this.#previous >= busy);
  }
}
