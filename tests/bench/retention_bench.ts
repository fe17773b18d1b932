/**
 * Retention: 10 million rows, all of them old, and senders that insert 5,000 new ones a second, five in a transaction,
 * on a server that flushes for real. Turn by turn without the gateway's own retention, with it, and with the vacuum beside it that
 * follows at times: how much it removes, and what readers and senders notice.
 * @module
 */
import { systemClock } from "../../src/clock.ts";
import { createInboxStore } from "../../src/database/inbox_store.ts";
import { createLogStore, type LogStore } from "../../src/database/log_store.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import { retention } from "../../src/database/retention.ts";
import { testCluster } from "../helpers/database.ts";
import { type Benchmark, connect, FLUSHING, median } from "./bench.ts";
import { pgbench } from "./pgbench.ts";

const ROWS = 10_000_000;
const RATE = 5_000;
/** Rows of a transaction. */
const TOGETHER = 5;
const CLIENTS = 32;
const SECONDS = 6;
const ROUNDS = 3;
/** Milliseconds between two reads of the log, and how long rows are kept. */
const PAUSE = 20;
const KEEP = 30 * 86_400_000;
const STATEMENT =
  `insert into tidings.notification (topic, title, body) select 'user:' || (random() * 10000)::int, 'hello', 'a body of some length, as they are' from generate_series(1, ${TOGETHER});`;

interface Phase {
  inserted: number;
  purged: number;
  sends: number[];
  reads: number[];
}

export const benchmark: Benchmark = {
  name: `Retention, with ${ROWS.toLocaleString("en")} rows and ${
    RATE.toLocaleString("en")
  } new ones a second`,
  async run(report) {
    await using cluster = await testCluster({ settings: { ...FLUSHING, shared_buffers: "1GB" } });
    const url = cluster.url();
    await fill(url);
    const database = createDatabase({ url, max: 3, prepare: true, name: "bench" }, { clock: systemClock });
    await database.start();
    const store = createLogStore(database);
    const epoch = await store.adopt();
    await store.stayAwake(2_000);
    let purged = 0;
    const purging = retention({
      store: createInboxStore(database),
      keep: KEEP,
      pause: 10,
      onPurged: (rows) => purged += rows,
    });

    async function phase(busy: boolean, cleaning = false): Promise<Phase> {
      purged = 0;
      const done = new AbortController();
      const reading = read(store, epoch, done.signal);
      if (busy) await purging.start();
      const stopVacuum = cleaning ? vacuum(url) : undefined;
      const sent = await pgbench(url, STATEMENT, {
        clients: CLIENTS,
        seconds: SECONDS,
        rate: RATE / TOGETHER,
      });
      if (busy) await purging.stop();
      await stopVacuum?.();
      done.abort();
      return {
        inserted: sent.rate * TOGETHER,
        purged: purged / SECONDS,
        sends: sent.times,
        reads: await reading,
      };
    }

    const off: Phase[] = [];
    const on: Phase[] = [];
    const cleaned: Phase[] = [];
    await phase(false);
    for (let round = 0; round < ROUNDS; round++) {
      off.push(await phase(false));
      on.push(await phase(true));
      cleaned.push(await phase(true, true));
    }
    await database.stop();

    const [inserted, removed] = [median(on.map((p) => p.inserted)), median(on.map((p) => p.purged))];
    const per = (value: number) => `${Math.round(value).toLocaleString("en")}/s`;
    report({
      name: "removed, against what was inserted at the same time",
      value: removed / inserted,
      unit: "times",
      limit: { least: 1 },
      from: `${per(removed)} and ${per(inserted)}`,
    });
    report({
      name: "inserted while removing, against without",
      value: inserted / median(off.map((p) => p.inserted)),
      unit: "times",
      limit: { least: 0.95 },
      from: `${per(inserted)} and ${per(median(off.map((p) => p.inserted)))}`,
    });
    for (const [name, times] of [["read of a batch", "reads"], ["INSERT", "sends"]] as const) {
      for (const [part, share, most] of [["median", 0.5, 1.25], ["99th percentile", 0.99, 2]] as const) {
        const without = quantile(off, times, share);
        const during = quantile(on, times, share);
        const cleaning = quantile(cleaned, times, share);
        report({
          name: `${name} while removing, against without, ${part}`,
          value: during / without,
          unit: "times",
          limit: { most },
          from: `${during.toFixed(2)} ms and ${without.toFixed(2)} ms; ${
            cleaning.toFixed(2)
          } ms while a vacuum runs as well`,
        });
      }
    }
  },
};

/** The middle one of what each phase says: a single pause of the disk is nobody's fault. */
function quantile(phases: readonly Phase[], times: "reads" | "sends", share: number): number {
  return median(phases.map((phase) => {
    const sorted = phase[times].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length * share)]!;
  }));
}

/** Old rows of 10,000 people, in transactions of 10,000, with the indexes of production: the one that is not in order is built after. */
async function fill(url: string): Promise<void> {
  const sql = connect(url, {
    max: 2,
    connection: { synchronous_commit: "off", maintenance_work_mem: "1GB" },
  });
  await sql`select tidings.adopt()`;
  // it runs when the benchmark says so
  await sql`alter table tidings.notification set (autovacuum_enabled = false)`;
  const [index] = await sql`select pg_get_indexdef('tidings.notification_topic'::regclass) as definition`;
  await sql`drop index tidings.notification_topic`;
  // values of their domains already, which are not checked again
  await sql`create table public.sample as
    select ('user:' || i)::tidings.topic as topic, 'hello'::varchar(1000) as title, 'a body of some length, as they are'::tidings.body as body
    from generate_series(1, 10000) i`;
  await Promise.all([1, 2].map(async () => {
    for (let step = 0; step < ROWS / 20_000; step++) {
      await sql`insert into tidings.notification (topic, title, body, created_at)
        select s.topic, s.title, s.body, clock_timestamp() - interval '40 days' from public.sample s`;
    }
  }));
  await sql.unsafe(index!.definition);
  await sql`drop table public.sample`;
  await sql`vacuum analyze tidings.notification`;
  await sql`checkpoint`;
  await sql.end();
}

/** What autovacuum does, at its pace, until it is told to stop. */
function vacuum(url: string): () => Promise<void> {
  const sql = connect(url, { max: 1, connection: { vacuum_cost_delay: "2ms" } });
  const running = sql`vacuum (parallel 0) tidings.notification`;
  const ended = running.then(() => undefined, (error) => {
    if (error.code !== "57014") throw error;
  });
  return async () => {
    running.cancel();
    await ended;
    await sql.end();
  };
}

/** Reads as a tailer does that comes by every now and then; returns what each read took. */
async function read(store: LogStore, epoch: string, signal: AbortSignal): Promise<number[]> {
  const times: number[] = [];
  let { snapshot } = await store.end(epoch);
  while (!signal.aborted) {
    await store.stayAwake(2_000);
    const start = performance.now();
    const page = await store.read(snapshot, { rows: 1_000, bytes: 1024 * 1024 });
    times.push(performance.now() - start);
    snapshot = page.snapshot;
    await systemClock.sleep(PAUSE, new AbortController().signal);
  }
  return times;
}
