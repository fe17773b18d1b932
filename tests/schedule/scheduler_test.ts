import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { systemClock } from "../../src/clock.ts";
import { compose } from "../../src/service.ts";
import { scheduler } from "../../src/schedule/scheduler.ts";
import { createScheduleStore } from "../../src/schedule/store.ts";
import { testCluster, testDatabase } from "../helpers/database.ts";
import { type Explained, pagesOf } from "../helpers/pages.ts";

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

/** As a notification's data: the moment it is due, in milliseconds, as exact as the database knows it. */
const DUE = "to_jsonb(extract(epoch from d) * 1000)";

/** How early and how late notifications of a topic were sent at the worst, in milliseconds, and how many different ones there are. */
async function punctuality(sql: Sql, topic: string) {
  const [row] = await sql<{ count: number; different: number; early: number; late: number }[]>`
    select count(*)::int, count(distinct data)::int as different,
      max((data #>> '{}')::numeric - extract(epoch from created_at) * 1000)::float8 as early,
      max(extract(epoch from created_at) * 1000 - (data #>> '{}')::numeric)::float8 as late
    from tidings.notification where topic = ${topic}`;
  return row!;
}

/** Somebody who only asks the database for nothing, every few milliseconds: as late as its answers are, is the machine. */
function bystander(sql: Sql): { stop(): Promise<number> } {
  const stopping = new AbortController();
  const watching = (async () => {
    let worst = 0;
    while (!stopping.signal.aborted) {
      const began = systemClock.now();
      await systemClock.sleep(10);
      await sql`select 1`;
      worst = Math.max(worst, systemClock.now() - began - 10);
    }
    return worst;
  })();
  return {
    stop() {
      stopping.abort();
      return watching;
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
  const machine = bystander(database.connect({ max: 1 }));
  await gateways.start();
  for (let i = 0; i < 20; i++) {
    await sql.unsafe(`select tidings.send('a', 'x', data => ${DUE}, deliver_at => d)
      from (select clock_timestamp() + make_interval(secs => n / 10.0) as d from generate_series(5, 15, 5) n offset 0) x`);
  }
  await count.reached;
  await gateways.stop();
  const stalled = await machine.stop();
  const { different, early, late, ...all } = await punctuality(sql, "a");
  assert.deepEqual([all.count, different], [60, 60]);
  assert(early <= 0, `${early} ms early`);
  assert(late < 1_000 + 2 * stalled, `${late} ms late on a machine that was ${stalled} ms late itself`);
  assert.deepEqual([...await sql`select from tidings.schedule`], []);
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
  const machine = bystander(database.connect({ max: 1 }));
  // 600 once, within four seconds, and ten every second
  await sql.unsafe(`select tidings.send('once', 'x', data => ${DUE}, deliver_at => d)
    from (select clock_timestamp() + make_interval(secs => 1 + n / 150.0) as d from generate_series(1, 600) n offset 0) x`);
  await sql.unsafe(`create table moved (id bigint, due timestamptz);
    create function note() returns trigger language plpgsql as $$ begin
      insert into public.moved values (old.id, old.due_at); return null; end $$;
    create trigger note after update of due_at on tidings.schedule for each row when (old.due_at is not null)
      execute function note()`);
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
  const stalled = await machine.stop();
  const { different, early, late, ...once } = await punctuality(sql, "once");
  assert.deepEqual([once.count, different], [600, 600]);
  assert(early <= 0, `${early} ms early`);
  assert(late < 1_000 + 2 * stalled, `${late} ms late on a machine that was ${stalled} ms late itself`);
  // every time that a recurring one was moved on from is one that it was sent for, and there is no other
  const [every] = await sql`
    select (select count(*)::int from tidings.notification where topic like 'every%') as sent, count(*)::int as moved,
      count(distinct (id, due))::int as different, count(distinct id)::int as schedules from moved`;
  assert.deepEqual(every, {
    sent: every?.moved,
    moved: every?.moved,
    different: every?.moved,
    schedules: 10,
  });
  assert(every?.moved >= 30);
});

Deno.test("scheduler: a look at many that wait reads a few pages, and what is due is sent once among them by two gateways", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`insert into tidings.schedule (topic, title, due_at)
    select 'user:' || n, 'later', now() + interval '1 day' + make_interval(secs => n) from generate_series(1, 90000) n`;
  await sql`insert into tidings.schedule (topic, title, cron, name, due_at)
    select 'user:' || n, 'daily', '0 8 * * *', 'daily' || n, now() + interval '1 day' + make_interval(secs => n) from generate_series(1, 10000) n`;
  await sql`analyze tidings.schedule`;
  const read = await pagesOf(() =>
    sql<Explained[]>`
      explain (analyze, buffers, format json) select * from tidings.send_due(1000), tidings.due_recurring(1000)`
  );
  assert(read < 60, `one look at those that wait reads ${read} pages`);
  await sql`insert into tidings.schedule (topic, title, due_at) select 'user:' || n, 'now', now() from generate_series(1, 8000) n`;
  await sql`update tidings.schedule set due_at = date_trunc('second', now()) where cron is not null and id in
    (select id from tidings.schedule where cron is not null limit 2000)`;
  const count = counter(10_000);
  const gateways = compose(
    "gateways",
    [0, 1].map(() => scheduler({ store: createScheduleStore(database.connect()), onSent: count.add })),
  );
  await gateways.start();
  await count.reached;
  await gateways.stop();
  const [sent] =
    await sql`select count(*)::int, count(distinct (title, topic))::int as different from tidings.notification`;
  assert.deepEqual(sent, { count: 10_000, different: 10_000 });
});

Deno.test("scheduler: a database that goes away and comes back costs time and nothing else", async () => {
  await using cluster = await testCluster();
  const count = counter(1);
  // The driver's own look at types would be cut off with nobody to catch it; the program asks for none either.
  const connection = cluster.connect({ max: 1, fetch_types: false });
  const service = scheduler({ store: createScheduleStore(connection), onSent: count.add });
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
async function until(sql: Sql, question: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { unlisten } = await sql.listen("asked", () => resolve());
  await sql.unsafe(`create function answer() returns trigger language plpgsql as $$ begin
      if (${question}) then notify asked; end if; return null; end $$;
    create trigger answer after insert on tidings.notification for each statement execute function answer()`);
  const [row] = await sql.unsafe(`select (${question}) as there`);
  if (row?.there !== true) await promise;
  await unlisten();
}
