/**
 * Hubs over a log in memory, and sessions whose sinks, history reads and pauses wait until the test lets them go on.
 * @module
 */
import type { LogPage } from "../../src/database/log_store.ts";
import { createHistory } from "../../src/feed/history.ts";
import { createHub, type Hub } from "../../src/feed/hub.ts";
import type { Followed } from "../../src/feed/interests.ts";
import { type Control, Session } from "../../src/feed/session.ts";
import type { Sink } from "../../src/feed/sink.ts";
import type { Batch } from "../../src/log/batch.ts";
import { type Cursor, cutAt, parseCursor, splice } from "../../src/log/cursor.ts";
import type { Row } from "../../src/log/row.ts";
import type { VirtualLog } from "../helpers/virtual_log.ts";

/** A position before everything. */
export const ORIGIN: Cursor = { epoch: "e1", xmax: 1, gaps: [] };

/** What a client got, in order. */
export type Event =
  | { got: "items"; batch: Batch }
  | { got: "reset"; reason: string; cursor: string }
  | { got: "inbox" }
  | { got: "live" }
  | { got: "close"; code: string };

/** A sink that takes everything, unless told to take no more. */
export class Recorder implements Sink {
  readonly events: Event[] = [];
  /** Batches and counts that it still takes before it says "no more". */
  room = Infinity;

  get batches(): Batch[] {
    return this.events.flatMap((event) => event.got === "items" ? [event.batch] : []);
  }

  get rows(): Row[] {
    return this.batches.flatMap((batch) => batch.rows);
  }

  get ids(): number[] {
    return this.rows.map((row) => row.id);
  }

  items(batch: Batch): boolean {
    return this.#take({ got: "items", batch });
  }

  reset(reason: string, cursor: string): void {
    this.events.push({ got: "reset", reason, cursor });
  }

  inbox(): boolean {
    return this.#take({ got: "inbox" });
  }

  live(): void {
    this.events.push({ got: "live" });
  }

  close(error: { code: string }): void {
    this.events.push({ got: "close", code: error.code });
  }

  #take(event: Event): boolean {
    if (this.room <= 0) throw new Error("It was written to although it takes no more");
    this.events.push(event);
    return --this.room > 0;
  }
}

/** Something that waits for the test. */
interface Waiting {
  what: "read" | "pause";
  go(): void;
  fail(): void;
}

/** Some hubs on one log. */
export class World {
  readonly log: VirtualLog;
  readonly hubs: Hub[];
  readonly waiting: Waiting[] = [];
  /** What retention purged, as the database has it. */
  horizon = 0;
  failures = 0;
  readonly #now = { ms: 0 };
  readonly #page: number;

  constructor(log: VirtualLog, { hubs = 1, window = {}, page = 3 } = {}) {
    this.log = log;
    this.#page = page;
    this.hubs = Array.from({ length: hubs }, () => createHub(window));
    for (const hub of this.hubs) hub.startAt(cutAt(log.snapshot(), 1), 0);
  }

  /** A hub reads on, like the tailer; returns whether there is more. */
  advance(hub: Hub = this.hubs[0]!, limit = 1_000): boolean {
    const from = hub.position;
    const found = this.log.after(from);
    const rows = found.slice(0, limit);
    const last = rows.at(-1);
    const snapshot = this.log.snapshot();
    const more = rows.length < found.length && last !== undefined;
    const to = more
      ? splice(from, snapshot, last)
      : cutAt(snapshot, Math.max(from.xmax, (last?.xid ?? 0) + 1));
    hub.advance({ rows, from, to }, this.horizon, snapshot.xmax, this.#now.ms++);
    return more;
  }

  /** A client that reads at a hub, after a written cursor or a position. */
  session(
    { hub = this.hubs[0]!, since = ORIGIN, topics = ["t"], control = () => {}, sink = new Recorder() }: {
      hub?: Hub;
      since?: Cursor | string;
      topics?: (string | Followed)[];
      control?: Control;
      sink?: Recorder;
    } = {},
  ): { session: Session; sink: Recorder } {
    const history = createHistory({
      readTopics: (wanted, after, until, limits) =>
        this.#wait("read", () => {
          const found = this.log.between(wanted, after, until);
          const rows = found.slice(0, limits.rows);
          const page: LogPage = {
            snapshot: this.log.snapshot(),
            horizon: this.horizon,
            more: rows.length < found.length,
            rows,
          };
          return page;
        }),
    }, 2);
    const session = new Session(
      {
        hub,
        history,
        control,
        page: this.#page,
        failed: () => this.failures++,
        pause: (_attempt, signal) =>
          this.#wait("pause", () => undefined, signal).catch((error) => {
            if (!signal.aborted) throw error;
          }),
      },
      sink,
      typeof since === "string" ? parseCursor(since)! : since,
      topics.map((topic) => typeof topic === "string" ? { topic } : topic),
    );
    return { session, sink };
  }

  /** Lets whatever waits go on, until nothing does. */
  async settle(): Promise<void> {
    await turn();
    while (this.waiting.length > 0) {
      this.waiting.shift()!.go();
      await turn();
    }
  }

  #wait<T>(what: "read" | "pause", run: () => T, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const entry: Waiting = { what, go: () => resolve(run()), fail: () => reject(new Error("not now")) };
      this.waiting.push(entry);
      signal?.addEventListener("abort", () => {
        const place = this.waiting.indexOf(entry);
        if (place >= 0) this.waiting.splice(place, 1);
        reject(signal.reason);
      }, { once: true });
    });
  }
}

/** Lets everything that can go on go on. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
