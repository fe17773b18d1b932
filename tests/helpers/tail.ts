/**
 * A tailer on a real database, that nothing rings but the test, and what it did.
 * @module
 */
import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../src/clock.ts";
import { createLogStore, type LogStore } from "../../src/database/log_store.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import type { Stretch } from "../../src/log/batch.ts";
import { type Cursor, isBehind } from "../../src/log/cursor.ts";
import { createTailer, type Tailer, type TailerOptions } from "../../src/log/tailer.ts";

/** What the tailer did. */
export interface Tail extends AsyncDisposable {
  tailer: Tailer;
  /** Where the log began, and began anew. */
  starts: Cursor[];
  stretches: Stretch[];
  readonly ids: number[];
  readonly titles: string[];
  failures: unknown[];
  recoveries: number;
  /** Statements of the gateway so far, by name. */
  calls: string[];
  url: string;
}

/** A tailer on a real database, that nothing rings but the test. */
export async function tail(
  url: string,
  { wrap = (store) => store, clock = systemClock, ...options }:
    & TailerOptions
    & { wrap?: (store: LogStore) => LogStore; clock?: Clock } = {},
): Promise<Tail> {
  const database = createDatabase({ url, max: 2, prepare: true, name: "tail" }, { clock: systemClock });
  await database.start();
  const starts: Cursor[] = [];
  const stretches: Stretch[] = [];
  const failures: unknown[] = [];
  const calls: string[] = [];
  const counts = { recoveries: 0 };
  const bare = wrap(createLogStore(database));
  const noted = <A extends unknown[], T>(name: string, call: (...args: A) => T) => (...args: A) => {
    calls.push(name);
    return call(...args);
  };
  const store: LogStore = {
    ...bare,
    read: noted("read", bare.read),
    drawLine: noted("drawLine", bare.drawLine),
    stayAwake: noted("stayAwake", bare.stayAwake),
    adopt: noted("adopt", bare.adopt),
  };
  const tailer = createTailer({ ...options, doorbell: { slow: 3_600_000, ...options.doorbell } }, {
    store,
    clock,
    chance: () => 0,
    consumer: {
      startAt: (position) => starts.push(position),
      advance: (stretch) => stretches.push(stretch),
    },
    events: {
      failed: (error) => failures.push(error),
      recovered: () => counts.recoveries++,
      carried: () => {},
      waits: (message) => {
        throw new Error(message);
      },
    },
  });
  await tailer.start();
  const rows = () => stretches.flatMap((stretch) => stretch.rows);
  return {
    tailer,
    starts,
    stretches,
    failures,
    calls,
    url,
    get recoveries() {
      return counts.recoveries;
    },
    get ids() {
      return rows().map((row) => row.id);
    },
    get titles() {
      return rows().map((row) => JSON.parse(row.json).title);
    },
    async [Symbol.asyncDispose]() {
      await tailer.stop();
      await database.stop();
    },
  };
}

/** Rings, and resolves when it was read. */
export const rung = (tail: Tail) => {
  tail.tailer.ring();
  return tail.tailer.refresh(AbortSignal.timeout(10_000));
};

/** That stretches follow each other from a position on, and each holds its rows. */
export function checkChain(stretches: Stretch[], start: Cursor): void {
  let at = start;
  for (const { rows, from, to } of stretches) {
    assert.equal(from, at);
    for (const row of rows) assert.ok(!isBehind(from, row) && isBehind(to, row));
    at = to;
  }
}
