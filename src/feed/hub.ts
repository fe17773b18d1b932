/**
 * The hub: who is live on which topic. It takes stretches of the log in order and hands each subscriber its rows, once.
 * It knows neither SQL nor HTTP.
 *
 * Invariants:
 * - Position, window and deliveries move together, without waiting in between: whoever looks sees all three or none.
 * - Subscribers with the same topics in a stretch share one {@link Batch}, so what a transport encodes of it is made once.
 * @module
 */
import { Batch, type Stretch } from "../log/batch.ts";
import type { Cursor } from "../log/cursor.ts";
import type { Row } from "../log/row.ts";
import { Window, type WindowLimits } from "../log/window.ts";

/** Gets the rows of its topics as they come. Must neither throw nor wait. */
export interface Subscriber {
  deliver(batch: Batch): void;
  /** The log begins anew at the hub's position: another history. */
  restart(): void;
}

/** The hub. */
export interface Hub {
  /** Everything up to here has been handed out. */
  readonly position: Cursor;
  /** The highest xmax of any snapshot that this gateway has seen. */
  readonly seen: number;
  /** Everything up to this xid may have been purged. */
  readonly horizon: number;
  readonly window: Window;
  join(topic: string, subscriber: Subscriber): void;
  leave(topic: string, subscriber: Subscriber): void;
  /** Told of every restart, topic or none. */
  watch(subscriber: Subscriber): void;
  unwatch(subscriber: Subscriber): void;
  startAt(position: Cursor, horizon: number): void;
  advance(stretch: Stretch, horizon: number, seen: number, now: number): void;
  /** Topics with somebody on them, for metrics. */
  readonly topics: number;
}

/** An empty hub, at no position until `startAt`. */
export function createHub(limits: Partial<WindowLimits> = {}): Hub {
  const topics = new Map<string, Set<Subscriber>>();
  const watchers = new Set<Subscriber>();
  let position: Cursor = { epoch: "", xmax: 0, gaps: [] };
  let window = new Window(position, limits);
  let seen = 0;
  let horizon = 0;

  function publish(stretch: Stretch): void {
    const byTopic = new Map<string, Row[]>();
    for (const row of stretch.rows) {
      const rows = byTopic.get(row.topic);
      if (rows !== undefined) rows.push(row);
      else if (topics.has(row.topic)) byTopic.set(row.topic, [row]);
    }
    if (byTopic.size === 0) return;
    if (byTopic.size === 1) {
      const [[topic, rows]] = [...byTopic] as [[string, Row[]]];
      const batch = new Batch([{ ...stretch, rows }], stretch.to);
      for (const subscriber of [...topics.get(topic)!]) subscriber.deliver(batch);
      return;
    }
    // Whoever is on several of the stretch's topics gets their rows in one batch, in order.
    const keys = new Map<Subscriber, string>();
    let number = 0;
    for (const topic of byTopic.keys()) {
      const part = `${number++},`;
      for (const subscriber of topics.get(topic)!) keys.set(subscriber, (keys.get(subscriber) ?? "") + part);
    }
    const batches = new Map<string, Batch>();
    const names = [...byTopic.keys()];
    for (const [subscriber, key] of keys) {
      let batch = batches.get(key);
      if (batch === undefined) {
        batch = new Batch([{ ...stretch, rows: pick(stretch, byTopic, names, key) }], stretch.to);
        batches.set(key, batch);
      }
      subscriber.deliver(batch);
    }
  }

  return {
    get position() {
      return position;
    },
    get seen() {
      return seen;
    },
    get horizon() {
      return horizon;
    },
    get window() {
      return window;
    },
    get topics() {
      return topics.size;
    },
    join(topic, subscriber) {
      const subscribers = topics.get(topic);
      if (subscribers === undefined) topics.set(topic, new Set([subscriber]));
      else subscribers.add(subscriber);
    },
    leave(topic, subscriber) {
      const subscribers = topics.get(topic);
      if (subscribers?.delete(subscriber) && subscribers.size === 0) topics.delete(topic);
    },
    watch(subscriber) {
      watchers.add(subscriber);
    },
    unwatch(subscriber) {
      watchers.delete(subscriber);
    },
    startAt(start, purged) {
      const anew = position.epoch !== "" && position.epoch !== start.epoch;
      position = start;
      window = new Window(start, limits);
      seen = start.xmax;
      horizon = purged;
      if (anew) { for (const subscriber of [...watchers]) subscriber.restart(); }
    },
    advance(stretch, purged, xmax, now) {
      position = stretch.to;
      seen = Math.max(seen, xmax);
      horizon = purged;
      window.add(stretch, now);
      if (stretch.rows.length > 0) publish(stretch);
    },
  };
}

/** The rows of some topics of a stretch, in its order. */
function pick(stretch: Stretch, byTopic: Map<string, Row[]>, names: string[], key: string): Row[] {
  const wanted = key.split(",").slice(0, -1).map((number) => names[Number(number)]!);
  if (wanted.length === 1) return byTopic.get(wanted[0]!)!;
  const set = new Set(wanted);
  return stretch.rows.filter((row) => set.has(row.topic));
}
