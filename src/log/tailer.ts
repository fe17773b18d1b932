/**
 * Reads the log as it grows and hands each stretch to the hub. One per gateway; it alone decides, by the doorbell, when to
 * read.
 *
 * Invariants:
 * - Stretches follow each other without a gap or an overlap: each begins where the one before ended.
 * - A position ends with the last row that was read, not with the snapshot: what is behind it can survive a crash of the server.
 * - A failed read changes nothing: the next one begins at the same position.
 * - A row that a bell carries is taken only by a gateway that slept and has heard no other bell since: everything that was
 *   committed before rang, and has been read. What else its transaction has is read next, and comes next.
 * - When the database's history changed, its rows are not read as if they were ours: the history is adopted, and the
 *   consumer starts over at a new position.
 * @module
 */
import { type Chance, type Clock, jitter } from "../clock.ts";
import type { Service } from "../service.ts";
import { AdoptionWaits, HistoryChanged, type LogStore, type PageLimits } from "../database/log_store.ts";
import type { Stretch } from "./batch.ts";
import { type Cursor, cutAt, MAX_GAPS, splice, withAll, withFirst } from "./cursor.ts";
import { Doorbell, type DoorbellOptions } from "./doorbell.ts";

/** Who gets what is read; called in order, never again before it returned. */
export interface LogConsumer {
  /** The log begins, or begins anew, here. Everything before belongs to another history or to nobody. */
  startAt(position: Cursor, horizon: number): void;
  /** The next stretch, often without rows. Every cursor that anybody was given before the read has an xmax of at most `seen`. */
  advance(stretch: Stretch, horizon: number, seen: number): void;
}

/** How to read. */
export interface TailerOptions {
  limits?: PageLimits;
  doorbell?: Partial<DoorbellOptions>;
}

/** Tells of failures and recoveries; the same failure again is told once. */
export interface TailerEvents {
  failed(error: unknown): void;
  recovered(): void;
  /** A row was taken from the bell. */
  carried(): void;
  /** The database cannot be adopted yet; the message says who is in the way. */
  waits(message: string): void;
}

/** The tailer. */
export interface Tailer extends Service {
  /** The bell. */
  ring(): void;
  /** What the bell that rang last carries; told before anything is waited for. @throws {SyntaxError} */
  carry(bell: string): void;
  /** Resolves when a read that began after this call came back; rejects with the signal's reason. */
  refresh(signal: AbortSignal): Promise<void>;
  /** Whether the last read succeeded, and when (clock's ms). */
  readonly health: { ok: boolean; at: number };
  /** For metrics. */
  readonly phase: Doorbell["phase"];
}

const LIMITS: PageLimits = { rows: 1_000, bytes: 1024 * 1024 };
const RETRY = 250;
/** Milliseconds that adopting a database waits for those who write in it, and between two lines about that. */
const ADOPT_WAIT = 600_000;
const ADOPT_TELL = 30_000;
const RETRY_MOST = 5_000;

/** A tailer; `start` resolves when it has its first position. */
export function createTailer(
  options: TailerOptions,
  deps: { store: LogStore; clock: Clock; chance: Chance; consumer: LogConsumer; events: TailerEvents },
): Tailer {
  const { limits = LIMITS } = options;
  const { store, clock, chance, consumer, events } = deps;
  const doorbell = new Doorbell(options.doorbell);
  const health = { ok: false, at: 0 };
  let position: Cursor | undefined;
  let adopted = false;
  let stopping: AbortController | undefined;
  let loop: Promise<void> | undefined;
  let wake: (() => void) | undefined;
  let waiting: (() => void)[] = [];
  /** What the last read saw; with `behind`, which is what was read, and what had ended without a row. */
  let known: { flag: number; horizon: number; behind: Cursor } | undefined;
  /** While it sleeps, and has taken nothing from the bell: how often that rang. */
  let sleep: { bells: number } | undefined;
  /** The transaction whose first row was taken since the last read. */
  let begun: number | undefined;

  async function begin(): Promise<void> {
    const epoch = await adopt();
    // Another server may have answered for a moment: when the history is ours again, the log goes on where it was.
    if (position?.epoch !== epoch) {
      const { snapshot, last, horizon } = await store.end(epoch);
      position = cutAt(snapshot, Math.max(last, horizon) + 1);
      consumer.startAt(position, horizon);
    }
    adopted = true;
    doorbell.ring();
  }

  /** Adopts as soon as nobody is in the way, and says once in a while who is. */
  async function adopt(): Promise<string> {
    const since = clock.now();
    let toldAt = -Infinity;
    for (;;) {
      try {
        return await store.adopt();
      } catch (error) {
        if (!(error instanceof AdoptionWaits) || clock.now() - since >= ADOPT_WAIT) throw error;
        if (clock.now() - toldAt >= ADOPT_TELL) {
          toldAt = clock.now();
          events.waits(error.message);
        }
        await clock.sleep(jitter(RETRY, chance), stopping!.signal);
      }
    }
  }

  async function read(from: Cursor): Promise<void> {
    const answered = waiting;
    waiting = [];
    try {
      const { snapshot, rows, more, horizon, awake, flag } = await store.read(from, limits);
      known = { flag, horizon, behind: snapshot };
      const last = rows.at(-1);
      const to = more && last !== undefined
        ? splice(from, snapshot, last)
        : cutAt(snapshot, Math.max(from.xmax, (last?.xid ?? 0) + 1));
      position = to;
      for (const stretch of arrange({ rows, from, to }, more ? undefined : begun)) {
        consumer.advance(stretch, horizon, snapshot.xmax);
      }
      begun = undefined;
      const transactions = new Set(rows.map((row) => row.xid)).size;
      doorbell.read(
        { more, transactions, awake, flag, inProgress: snapshot.gaps.map((gap) => gap.xid) },
        clock.now(),
      );
      succeed();
      for (const answer of answered) answer();
    } catch (error) {
      waiting.push(...answered);
      throw error;
    }
  }

  function succeed(): void {
    if (!health.ok) events.recovered();
    health.ok = true;
    health.at = clock.now();
  }

  async function run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    let told: unknown;
    while (!signal.aborted) {
      try {
        if (!adopted) await begin();
        const action = doorbell.decide(clock.now());
        if (action.do === "read") await read(position!);
        else if (action.do === "mark") doorbell.marked(await store.drawLine());
        else if (action.do === "hold") await store.stayAwake(action.ms);
        else if (action.do === "sleep") {
          sleep = { bells: 0 };
          await rest(action.ms, signal);
          sleep = undefined;
          doorbell.ring();
        } else await rest(action.ms, signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        doorbell.ring();
        if (error instanceof HistoryChanged) {
          adopted = false;
          continue;
        }
        const reason = (error as { code?: unknown } | null)?.code;
        if (health.ok || failures === 0 || reason !== told) events.failed(error);
        told = reason;
        health.ok = false;
        await rest(jitter(Math.min(RETRY_MOST, RETRY * 2 ** Math.min(failures++, 10)), chance), signal);
      }
    }
  }

  /** Waits, unless the bell rings. */
  function rest(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        wake = undefined;
        signal.removeEventListener("abort", done);
        resolve();
      };
      const cancel = clock.after(ms, done);
      wake = done;
      signal.addEventListener("abort", done, { once: true });
    });
  }

  return {
    name: "tailer",
    health,
    get phase() {
      return doorbell.phase;
    },
    async start() {
      if (stopping !== undefined) return;
      stopping = new AbortController();
      await begin();
      succeed();
      loop = run(stopping.signal);
    },
    async stop() {
      stopping?.abort();
      await loop;
      loop = stopping = undefined;
    },
    ring() {
      if (sleep !== undefined) sleep.bells++;
      doorbell.ring();
      wake?.();
    },
    carry(bell) {
      if (sleep?.bells !== 1 || position === undefined || known === undefined) return;
      const carried = store.carried(bell);
      if (carried?.epoch !== position.epoch || carried.flag !== known.flag) return;
      const { row } = carried;
      if (row.expiresAt !== undefined && row.expiresAt <= clock.now()) return;
      const from = position;
      const to = withFirst(known.behind, row, MAX_GAPS);
      if (to === undefined) return;
      sleep = undefined;
      begun = row.xid;
      position = known.behind = to;
      consumer.advance({ rows: [row], from, to }, known.horizon, to.xmax);
      doorbell.carried(clock.now());
      events.carried();
    },
    refresh(signal) {
      return new Promise((resolve, reject) => {
        const abort = () => reject(signal.reason);
        if (signal.aborted) return abort();
        signal.addEventListener("abort", abort, { once: true });
        waiting.push(() => {
          signal.removeEventListener("abort", abort);
          resolve();
        });
        this.ring();
      });
    },
  };
}

/** What a transaction has comes before the rest; the others keep their order. */
function arrange(stretch: Stretch, first: number | undefined): Stretch[] {
  const { rows, from } = stretch;
  const next = rows.filter((row) => row.xid === first);
  if (first === undefined || next.length === 0) return [stretch];
  const to = withAll(from, first);
  return [{ rows: next, from, to }, { ...stretch, from: to, rows: rows.filter((row) => row.xid !== first) }];
}
