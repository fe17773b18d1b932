/**
 * When to read, when to hold the flag up, when to sleep: the gateway's side of the doorbell as a pure state machine.
 * Nothing here waits or talks to a database; the tailer does what {@link Doorbell.decide} says and reports what came of it.
 *
 * Invariants (doorbell.pml is their model; each left out loses a row):
 * - Raising the flag rings (in SQL: set, then look), so that gateways that sleep come along.
 * - To sleep: a read sees the flag down; a line is drawn, which is a transaction id handed out and ended after that look;
 *   the snapshot of a *later* read names the transactions below it that are in progress, which may have skipped ringing; it
 *   keeps reading until all of them have ended in the snapshot of a read that took its rows and saw the same flag down.
 * - No snapshot names what is in progress without a line: it lists only what lies below the highest id that has ended.
 * - While the flag has not been raised since the last sleep, nobody skips ringing, and one read is enough to sleep again.
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

/** What to do next. A pause and a sleep end early when the bell rings; a mark is answered by {@link Doorbell.marked}. */
export type DoorbellAction =
  | { do: "read" }
  | { do: "mark" }
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
  /** Until when it is up: a number that is another one whenever the flag was raised. */
  flag: number;
  /** The transactions in progress in its snapshot. */
  inProgress: readonly number[];
}

type Phase =
  /** Reading, the flag up or not yet looked at. */
  | { name: "awake" }
  /** The flag was seen down: a line is to be drawn, and what is in progress below it may have skipped ringing. */
  | { name: "closing"; flag: number; line?: number }
  /** Waiting for these to end. */
  | { name: "draining"; flag: number; waiting: ReadonlySet<number>; pauses: number }
  | { name: "asleep" };

/** The state machine. `now` is any monotonic clock in milliseconds. */
export class Doorbell {
  readonly #options: DoorbellOptions;
  #phase: Phase = { name: "awake" };
  /** Something asks for a read before anything else. */
  #rung = true;
  /** When the flag that the last read saw goes down, by our clock. */
  #flagUntil = -Infinity;
  /** The flag that was down with nobody left who may have skipped ringing. */
  #settled: number | undefined;
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
      this.#settled = undefined;
      return;
    }
    const { flag } = report;
    if (flag === this.#settled) {
      this.#phase = { name: "asleep" };
      return;
    }
    const phase = this.#phase;
    if (phase.name === "awake" || phase.name === "asleep" || phase.flag !== flag) {
      this.#phase = { name: "closing", flag };
      return;
    }
    // A read that was rung for came before the line.
    if (phase.name === "closing" && phase.line === undefined) return;
    const waiting = phase.name === "draining"
      ? report.inProgress.filter((xid) => phase.waiting.has(xid))
      : report.inProgress.filter((xid) => xid < phase.line!);
    if (waiting.length === 0) {
      this.#phase = { name: "asleep" };
      this.#settled = flag;
    } else {
      const pauses = phase.name === "draining" ? phase.pauses + 1 : 0;
      this.#phase = { name: "draining", flag, waiting: new Set(waiting), pauses };
    }
  }

  /** A row was taken from the bell that carried it, and will not be in the next read. */
  carried(now: number): void {
    this.#count(1, now);
  }

  /** A line was drawn: a transaction id that was handed out, and has ended, since {@link decide} asked for it. */
  marked(line: number): void {
    if (this.#phase.name === "closing") this.#phase = { ...this.#phase, line };
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
        return this.#phase.line === undefined ? { do: "mark" } : { do: "read" };
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
