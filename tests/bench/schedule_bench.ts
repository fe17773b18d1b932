/**
 * What waits costs nothing until it is due, and what is due is sent in time: a look at a million waiting schedules against a look
 * at none, sending while they wait against sending alone, and 50,000 that are due in one minute, by two gateways.
 * @module
 */
import { systemClock } from "../../src/clock.ts";
import { scheduler } from "../../src/schedule/scheduler.ts";
import { createScheduleStore } from "../../src/schedule/store.ts";
import { compose } from "../../src/service.ts";
import { testDatabase } from "../helpers/database.ts";
import { type Benchmark, connect, median } from "./bench.ts";

const WAITING = 1_000_000;
const DUE = 50_000;
const ROUNDS = 300;
const SENDS = 20;

/** The benchmark. */
export const benchmark: Benchmark = {
  name: "schedules: a million that wait, and 50,000 due in the same minute",
  async run(report) {
    await using database = await testDatabase();
    const sql = connect(database.url, { max: 1 });
    const store = createScheduleStore(sql);

    /** The medians of one look of a gateway, and of sending one that is due, in milliseconds. */
    const measure = async () => {
      const looks: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const began = performance.now();
        await store.sendDue(1_000);
        await store.dueRecurring(1_000);
        looks.push(performance.now() - began);
      }
      const sends: number[] = [];
      for (let round = 0; round < SENDS; round++) {
        await sql`select tidings.send('user:1', 'now', deliver_at => clock_timestamp()) from generate_series(1, 100)`;
        const began = performance.now();
        const { sent } = await store.sendDue(1_000);
        sends.push(performance.now() - began);
        if (sent !== 100) throw new Error(`${sent} of 100 were sent`);
      }
      return { look: median(looks), send: median(sends) };
    };

    await measure();
    const empty = await measure();
    await sql`insert into tidings.schedule (topic, title, due_at)
      select 'user:' || n, 'later', now() + interval '1 day' + make_interval(secs => n) from generate_series(1, ${
      WAITING * 0.9
    }::int) n`;
    await sql`insert into tidings.schedule (topic, title, cron, name, due_at)
      select 'user:' || n, 'daily', '0 8 * * *', 'daily' || n, now() + interval '1 day' + make_interval(secs => n)
      from generate_series(1, ${WAITING * 0.1}::int) n`;
    await sql`vacuum analyze tidings.schedule`;
    await sql`checkpoint`;
    await measure();
    const full = await measure();
    const ms = (value: number) => `${value.toFixed(2)} ms`;
    report({
      name: "one look of a gateway, a million waiting / none",
      value: full.look / empty.look,
      unit: "×",
      limit: { most: 1.3 },
      from: `${ms(full.look)} and ${ms(empty.look)}`,
    });
    report({
      name: "sending 100 that are due, a million waiting / none",
      value: full.send / empty.send,
      unit: "×",
      limit: { most: 1.5 },
      from: `${ms(full.send)} and ${ms(empty.send)}`,
    });
    const [row] = await sql`
      explain (analyze, buffers, format json) select * from tidings.send_due(1000), tidings.due_recurring(1000)`;
    const plan = row?.["QUERY PLAN"][0].Plan;
    report({
      name: "pages that one look at a million reads",
      value: plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
      unit: "pages",
      limit: { most: 60 },
    });

    // half of them at the minute's begin, as people plan, the rest spread over it
    await sql`insert into tidings.schedule (topic, title, data, due_at)
      select 'user:' || n, 'now', to_jsonb(extract(epoch from d.due) * 1000), d.due
      from (select clock_timestamp() + interval '5 seconds' as start) s, generate_series(1, ${DUE}) n,
        lateral (select s.start + case when n % 2 = 0 then interval '0' else make_interval(secs => 50.0 * n / ${DUE}) end as due) d`;
    const done = Promise.withResolvers<void>();
    let sent = 0;
    const pools = [connect(database.url, { max: 2 }), connect(database.url, { max: 2 })];
    const gateways = compose(
      "gateways",
      pools.map((pool) =>
        scheduler({
          store: createScheduleStore(pool),
          onSent: (count) => (sent += count) >= DUE && done.resolve(),
          clock: systemClock,
        })
      ),
    );
    await gateways.start();
    await done.promise;
    await gateways.stop();
    const [result] = await sql<
      { count: number; different: number; took: number; late: number; early: number }[]
    >`
      select count(*)::int, count(distinct topic)::int as different,
        extract(epoch from max(created_at) - to_timestamp(min((data #>> '{}')::numeric) / 1000))::float8 as took,
        max(extract(epoch from created_at) * 1000 - (data #>> '{}')::numeric)::float8 as late,
        min(extract(epoch from created_at) * 1000 - (data #>> '{}')::numeric)::float8 as early
      from tidings.notification where title = 'now' and data is not null`;
    const { count = 0, different = 0, took = 0, late = 0, early = 0 } = result ?? {};
    if (count !== DUE || different !== DUE) {
      throw new Error(`${count} sent, ${different} different, of ${DUE}`);
    }
    if (early < 0) throw new Error(`one was sent ${-early} ms early`);
    report({
      name: "50,000 due in the same minute, from the first due to the last sent",
      value: took,
      unit: "s",
      limit: { most: 60 },
      from: "25,000 of them at one moment, the others spread over 50 s",
    });
    report({ name: "the latest of them", value: late / 1000, unit: "s", limit: { most: 10 } });
    for (const pool of [sql, ...pools]) await pool.end();
  },
};
