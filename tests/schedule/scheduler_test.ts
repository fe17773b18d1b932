import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { compose } from "../../src/service.ts";
import { scheduler } from "../../src/schedule/scheduler.ts";
import { createScheduleStore } from "../../src/schedule/store.ts";
import { testCluster, testDatabase } from "../helpers/database.ts";

/** Counts up, and says when it got there. */
function counter(target: number) {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  return {
    reached: promise,
    add(more: number) {
      count += more;
      if (count >= target) resolve();
    },
  };
}

Deno.test("scheduler: what is added while it sleeps is sent within a second of its time, once, by two gateways", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const count = counter(60);
  const gateways = compose(
    "gateways",
    [0, 1].map(() => scheduler({ store: createScheduleStore(database.connect()), onSent: count.add })),
  );
  await gateways.start();
  for (let i = 0; i < 20; i++) {
    await sql`select tidings.send('a', 'x', deliver_at => clock_timestamp() + make_interval(secs => n / 10.0))
      from generate_series(5, 15, 5) n`;
  }
  const dues = await sql`select id, due_at from tidings.schedule`;
  await count.reached;
  await gateways.stop();
  assert(dues.length > 0, "some were still waiting");
  const [row] =
    await sql`select count(*)::int, (select count(*)::int from tidings.schedule) as waiting from tidings.notification`;
  assert.deepEqual(row, { count: 60, waiting: 0 });
});

Deno.test("scheduler: three gateways, one killed in the middle: each is sent once, within a second of its time", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const start = async () => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", new URL("./gateway.ts", import.meta.url).pathname, database.url],
      stdout: "piped",
    }).spawn();
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    assert.match((await lines.read()).value ?? "", /^ready/);
    return { child, lines };
  };
  const gateways = await Promise.all([start(), start(), start()]);
  // 600 once, within four seconds, and ten every second
  await sql`select tidings.send('once', 'x', data => to_jsonb((extract(epoch from d) * 1000)::bigint), deliver_at => d)
    from (select date_trunc('milliseconds', clock_timestamp()) + make_interval(secs => 1 + n / 150.0) as d from generate_series(1, 600) n) x`;
  await sql`select tidings.schedule('every' || n, '* * * * * *', 'every' || n, 'x') from generate_series(1, 10) n`;
  const [victim, ...others] = gateways;
  // it has sent something: it is in the middle
  await victim?.lines.read();
  victim?.child.kill("SIGKILL");
  await victim?.child.status;
  await victim?.lines.cancel();
  const drained = others.map(async ({ lines }) => {
    while (!(await lines.read()).done);
  });
  await until(sql, "select count(*) = 600 from tidings.notification where topic = 'once'");
  for (const { child } of others) child.kill("SIGTERM");
  await Promise.all(others.map(({ child }) => child.status));
  await Promise.all(drained);
  const [once] = await sql`select count(*)::int, count(distinct data)::int as different,
    max(extract(epoch from created_at) * 1000 - (data #>> '{}')::bigint)::float8 as late,
    min(extract(epoch from created_at) * 1000 - (data #>> '{}')::bigint)::float8 as early from tidings.notification where topic = 'once'`;
  assert.deepEqual([once?.count, once?.different], [600, 600]);
  assert(once?.early >= 0, `${once?.early} ms early`);
  assert(once?.late < 1_000, `${once?.late} ms late`);
  const [every] =
    await sql`select count(*)::int, count(distinct (topic, date_trunc('second', created_at)))::int as different
    from tidings.notification where topic like 'every%'`;
  assert(every?.count >= 30);
  // late by less than a second each, so two in one second would be one sent twice
  const gaps =
    await sql`select topic from (select topic, created_at - lag(created_at) over (partition by topic order by id) as gap
    from tidings.notification where topic like 'every%') g where gap < interval '50 milliseconds'`;
  assert.deepEqual([...gaps], []);
});

Deno.test("scheduler: 50,000 due in the same minute are sent within it, while a million others wait", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const pages = async () => {
    const [row] =
      await sql`explain (analyze, buffers, format json) select * from tidings.send_due(1000), tidings.due_recurring(1000)`;
    const plan = row?.["QUERY PLAN"][0].Plan;
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
  };
  await sql`insert into tidings.schedule (topic, title, due_at)
    select 'user:' || n, 'later', now() + interval '1 day' + make_interval(secs => n) from generate_series(1, 900000) n`;
  await sql`insert into tidings.schedule (topic, title, cron, name, due_at)
    select 'user:' || n, 'daily', '0 8 * * *', 'daily' || n, now() + interval '1 day' + make_interval(secs => n) from generate_series(1, 100000) n`;
  await sql`analyze tidings.schedule`;
  await pages();
  const read = await pages();
  assert(read < 60, `one look at a million waiting ones reads ${read} pages`);
  await sql`insert into tidings.schedule (topic, title, due_at) select 'user:' || n, 'now', now() from generate_series(1, 40000) n`;
  await sql`update tidings.schedule set due_at = date_trunc('second', now()) where cron is not null and id in
    (select id from tidings.schedule where cron is not null limit 10000)`;
  const count = counter(50_000);
  const gateways = compose(
    "gateways",
    [0, 1].map(() => scheduler({ store: createScheduleStore(database.connect()), onSent: count.add })),
  );
  const began = systemClock.now();
  await gateways.start();
  await count.reached;
  const took = systemClock.now() - began;
  await gateways.stop();
  assert(took < 60_000, `${took} ms`);
  const [sent] =
    await sql`select count(*)::int, count(distinct (title, topic))::int as different from tidings.notification`;
  assert.deepEqual(sent, { count: 50_000, different: 50_000 });
});

Deno.test("scheduler: a database that goes away and comes back costs time and nothing else", async () => {
  await using cluster = await testCluster();
  const count = counter(1);
  const service = scheduler({ store: createScheduleStore(cluster.connect({ max: 1 })), onSent: count.add });
  await service.start();
  await cluster
    .connect()`select tidings.send('a', 'x', deliver_at => clock_timestamp() + interval '300 milliseconds')`;
  await cluster.stop();
  await cluster.start();
  await count.reached;
  await service.stop();
  await service.stop();
  assert.deepEqual([...await cluster.connect()`select count(*)::int from tidings.notification`], [{
    count: 1,
  }]);
});

/** Waits until a question about the log is answered with yes. */
async function until(sql: Awaited<ReturnType<typeof testDatabase>>["sql"], question: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { unlisten } = await sql.listen("asked", () => resolve());
  await sql.unsafe(`create function answer() returns trigger language plpgsql as $$ begin
      if (${question}) then notify asked; end if; return null; end $$;
    create trigger answer after insert on tidings.notification for each statement execute function answer()`);
  const [row] = await sql.unsafe(`select (${question}) as there`);
  if (row?.there !== true) await promise;
  await unlisten();
}
