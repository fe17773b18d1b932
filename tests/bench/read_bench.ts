/**
 * (c) Reading a batch: 100 rows from a table of 5 million, with a write transaction left open for the whole run, against the
 * same from a table that holds nothing else, without one. Turn by turn, on the tailer's own statement.
 * @module
 */
import { systemClock } from "../../src/clock.ts";
import { createLogStore, type LogStore, READING } from "../../src/database/log_store.ts";
import { createDatabase, type Database } from "../../src/database/postgres.ts";
import type { Cursor } from "../../src/log/cursor.ts";
import { testDatabase } from "../helpers/database.ts";
import { type Benchmark, connect, median } from "./bench.ts";

const ROWS = 5_000_000;
const BATCH = 100;
const READS = 400;

export const benchmark: Benchmark = {
  name: `Reading a batch of ${BATCH} from ${ROWS.toLocaleString("en")} rows`,
  async run(report) {
    await using small = await testDatabase();
    await using large = await testDatabase();
    const open = connect(large.url, { max: 1 });
    const filler = connect(large.url, { max: 1 });
    await filler`set statement_timeout = 0`;
    await filler`set synchronous_commit = off`;
    // Before it, because adopting waits for whoever is writing.
    await filler`select tidings.adopt()`;
    // The oldest transaction of all, with a row of its own: it stays a gap of every cursor.
    await open`begin`;
    await open`insert into tidings.notification (topic, title) values ('user:slow', 'still open')`;
    for (let done = 0; done < ROWS; done += 500_000) {
      await filler`insert into tidings.notification (topic, title, body)
        select 'user:' || i % 1000, 'hello', 'a body of some length, as they are' from generate_series(1, 500000) i`;
    }
    await filler`vacuum analyze tidings.notification`;
    const [near, far] = [await prepared(small.url), await prepared(large.url)];
    const times = { near: [] as number[], far: [] as number[] };
    for (let read = 0; read < READS + 50; read++) {
      for (const [name, { store, from }] of Object.entries({ near, far })) {
        const start = performance.now();
        const { rows } = await store.read(from, { rows: 1_000, bytes: 1024 * 1024 });
        const time = performance.now() - start;
        if (rows.length !== BATCH) throw new Error(`Read ${rows.length} rows instead of ${BATCH}`);
        if (read >= 50) times[name as "near" | "far"].push(time);
      }
    }
    await open`rollback`;
    for (const pool of [open, filler]) await pool.end({ timeout: 1 });
    for (const { database } of [near, far]) await database.stop();
    const [empty, full] = [median(times.near), median(times.far)];
    report({
      name: "median, against an empty table without an open transaction",
      value: full / empty,
      unit: "times",
      limit: { most: 1.3 },
      from: `${full.toFixed(3)} ms and ${empty.toFixed(3)} ms`,
    });
  },
};

/** A cursor, and a batch after it, each row in a transaction of its own. */
async function prepared(url: string): Promise<{ database: Database; store: LogStore; from: Cursor }> {
  const database = createDatabase({ url, max: 1, prepare: true, name: "bench", settings: READING }, {
    clock: systemClock,
  });
  await database.start();
  const store = createLogStore(database);
  const { snapshot } = await store.end(await store.adopt());
  const writer = connect(url, { max: 1 });
  for (let row = 0; row < BATCH; row++) {
    await writer`insert into tidings.notification (topic, title, body) values (${`user:${row}`}, 'hello', 'a body of some length, as they are')`;
  }
  await writer.end({ timeout: 1 });
  return { database, store, from: snapshot };
}
