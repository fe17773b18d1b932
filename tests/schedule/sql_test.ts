import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { createScheduleStore } from "../../src/schedule/store.ts";
import { stepOf } from "../../src/schedule/step.ts";
import { testDatabase } from "../helpers/database.ts";

const titles = async (sql: Sql) =>
  (await sql`select title from tidings.notification order by id`).map(({ title }) => title);

Deno.test("tidings.send(deliver_at) keeps it until then, and sends what was asked", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createScheduleStore(sql);
  const [plan] =
    await sql`select tidings.send('user:1', 'Later', 'Body', type => 'reminder', link => '/x', data => '{"a":1}',
    sender => 'app', priority => 'high', collapse_key => 'c', ttl => '1 hour', push => true,
    deliver_at => now() + interval '1 hour') as id`;
  const look = await store.sendDue(10);
  assert.deepEqual([look.taken, look.sent], [0, 0]);
  assert(look.wait !== undefined && look.wait > 3_590_000 && look.wait <= 3_600_000);
  await sql`update tidings.schedule set due_at = now() - interval '1 minute'`;
  assert.deepEqual(await store.sendDue(10), { taken: 1, sent: 1 });
  assert.deepEqual(await store.sendDue(10), { taken: 0, sent: 0 });
  const [sent] =
    await sql`select id, topic, title, body, type, link, data, sender, priority, collapse_key, push, transient,
    round(extract(epoch from expires_at - now()) / 60)::int as minutes from tidings.notification`;
  const { id, ...rest } = sent ?? assert.fail("nothing was sent");
  assert(BigInt(id) > BigInt(plan?.id), "its id is of the time it was sent");
  assert.deepEqual(rest, {
    topic: "user:1",
    title: "Later",
    body: "Body",
    type: "reminder",
    link: "/x",
    data: { a: 1 },
    sender: "app",
    priority: "high",
    collapse_key: "c",
    push: true,
    transient: false,
    minutes: 59,
  });
});

Deno.test("tidings.send(deliver_at) is part of the caller's transaction, and refuses what could not be sent", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await assert.rejects(
    sql.unsafe(`select tidings.send('a', deliver_at => now()); select 1 / 0`).simple(),
    /division/,
  );
  const wrong: [string, RegExp][] = [
    ["select tidings.send('a b', 'x', deliver_at => now())", /topic: segments/],
    ["select tidings.send('a', repeat('x', 2000), deliver_at => now())", /title: at most 1000/],
    ["select tidings.send('a', type => 'tidings.x', deliver_at => now())", /reserved/],
    ["select tidings.send('a', ttl => '-1 hour', deliver_at => now())", /ttl: must be positive/],
    [
      "select tidings.send('a', deliver_at => now() + interval '11 years')",
      /deliver_at: within 10 years/,
    ],
    ["select tidings.schedule('n', '* * *', 'a')", /cron must have five fields/],
    [
      "select tidings.schedule('n', '0 8 * * *', 'a', timezone => 'Mars/Base')",
      /timezone must be an IANA name/,
    ],
    ["select tidings.schedule('n', '0 8 * * *', 'a', missed => 'maybe')", /missed: send or skip/],
    ["select tidings.schedule('', '0 8 * * *', 'a')", /name: 1 to 200/],
  ];
  for (const [text, reason] of wrong) await assert.rejects(sql.unsafe(text), reason, text);
  assert.deepEqual([...await sql`select count(*)::int from tidings.schedule`], [{ count: 0 }]);
});

Deno.test("tidings.cancel() takes back what was not sent, once", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const [plan] = await sql`select tidings.send('a', deliver_at => now() + interval '1 hour') as id`;
  const cancel = async () => (await sql`select tidings.cancel(${plan?.id}::bigint) as done`)[0]?.done;
  assert.deepEqual([await cancel(), await cancel()], [true, false]);
  await sql`select tidings.schedule('daily', '0 8 * * *', 'a', sender => 'me')`;
  const byName = async (sender: string) =>
    (await sql`select tidings.cancel('daily', ${sender}) as done`)[0]?.done;
  assert.deepEqual([await byName("you"), await byName("me"), await byName("me")], [false, true, false]);
});

Deno.test("a dedupe_key counts among what is scheduled and what was sent", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const plan = async () =>
    (await sql`select tidings.send('a', dedupe_key => 'd', deliver_at => now() + interval '1 hour') as id`)[0]
      ?.id;
  const first = await plan();
  assert.equal(await plan(), first);
  await sql`update tidings.schedule set due_at = now()`;
  await createScheduleStore(sql).sendDue(10);
  const [sent] = await sql`select id from tidings.notification`;
  assert.equal(await plan(), sent?.id);
  assert.deepEqual(await titles(sql), [null]);
});

Deno.test("a ttl counts from the time it was due: what is late and expired is not sent", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`select tidings.send('a', t, ttl => l::interval, transient => x, deliver_at => now() - interval '1 hour')
    from (values ('expired', '30 min', false), ('alive', '2 hours', false), ('plain', null, false), ('passing', null, true)) v(t, l, x)`;
  assert.deepEqual(await createScheduleStore(sql).sendDue(10), { taken: 4, sent: 2 });
  assert.deepEqual(await titles(sql), ["alive", "plain"]);
});

Deno.test("one that an application's trigger refuses is kept with the reason and holds nobody up", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql.unsafe(`create function refuse() returns trigger language plpgsql as $$ begin
      if new.title = 'bad' then raise exception 'no bad ones'; end if; return new; end $$;
    create trigger refuse before insert on tidings.notification for each row execute function refuse()`);
  await sql`select tidings.send('a', t, deliver_at => now()) from unnest(array['one', 'bad', 'two']) t`;
  const [daily] = await sql`select tidings.schedule('daily', '0 8 * * *', 'a', 'bad') as id`;
  await sql`update tidings.schedule set due_at = now() - interval '1 second' where id = ${daily?.id}`;
  const store = createScheduleStore(sql);
  assert.equal((await store.sendDue(10)).sent, 2);
  assert.equal(await store.advance((await store.dueRecurring(10)).map(stepOf)), 0);
  assert.deepEqual(await titles(sql), ["one", "two"]);
  assert.deepEqual((await sql`select failure from tidings.schedule`).map(({ failure }) => failure), [
    "no bad ones",
    "no bad ones",
  ]);
  assert.deepEqual(await store.sendDue(10), { taken: 0, sent: 0 });
});

Deno.test("tidings.schedule() again under the same name moves it; another sender's name is another schedule", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createScheduleStore(sql);
  const plan = async (cron: string, zone: string, title: string, sender = "app") =>
    (await sql`select tidings.schedule('question', ${cron}, 'user:1', ${title}, timezone => ${zone}, sender => ${sender}) as id`)[
      0
    ]?.id;
  const due = async (id: string) =>
    (await sql`select due_at from tidings.schedule where id = ${id}`)[0]?.due_at;
  const step = async () => await store.advance((await store.dueRecurring(10)).map(stepOf));
  const id = await plan("0 8 * * *", "Europe/Berlin", "Q");
  assert.notEqual(await plan("0 8 * * *", "Europe/Berlin", "Q", "other"), id);
  await step();
  const first = await due(id);
  assert(first > new Date());
  assert.equal(first.toLocaleTimeString("sv", { timeZone: "Europe/Berlin" }), "08:00:00");
  assert.equal(await plan("0 8 * * *", "Europe/Berlin", "Other words"), id);
  assert.deepEqual(await due(id), first, "what only says something else keeps its time");
  assert.equal(await plan("30 9 * * *", "Asia/Kathmandu", "Q"), id);
  assert.equal(await due(id), null);
  await step();
  assert.equal((await due(id)).toLocaleTimeString("sv", { timeZone: "Asia/Kathmandu" }), "09:30:00");
  assert.deepEqual(await titles(sql), []);
});

Deno.test("a schedule without a time zone follows the person's: moved when they move", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createScheduleStore(sql);
  const [row] = await sql`select tidings.schedule('q', '30 7 * * *', 'user:1', 'Question') as id`;
  const at = async (zone: string) => {
    await store.advance((await store.dueRecurring(10)).map(stepOf));
    const [plan] = await sql`select due_at from tidings.schedule where id = ${row?.id}`;
    return plan?.due_at.toLocaleTimeString("sv", { timeZone: zone });
  };
  const live = (zone: string) => sql`select tidings.set_quiet_hours('1', '22:00', '06:00', ${zone})`;
  assert.equal(await at("UTC"), "07:30:00");
  await live("Asia/Seoul");
  assert.equal(await at("Asia/Seoul"), "07:30:00");
  await live("America/New_York");
  assert.equal(await at("America/New_York"), "07:30:00");
  await sql`select tidings.set_time_zone('1', 'Asia/Kathmandu')`;
  assert.equal(await at("Asia/Kathmandu"), "07:30:00");
  await live("Europe/Berlin");
  assert.equal(await at("Asia/Kathmandu"), "07:30:00");
  await sql`select tidings.set_time_zone('1', 'Asia/Tokyo')`;
  assert.equal(await at("Asia/Tokyo"), "07:30:00");
  await sql`select tidings.set_time_zone('1', null)`;
  assert.equal(await at("Europe/Berlin"), "07:30:00");
  await sql`select tidings.set_quiet_hours('1', null, null, null)`;
  assert.equal(await at("UTC"), "07:30:00");
  await sql`select tidings.set_time_zone('11', 'Asia/Tokyo')`;
  assert.equal(await at("UTC"), "07:30:00");
  await assert.rejects(
    async () => await sql`select tidings.set_time_zone('1', 'Mars/Base')`,
    /Cannot set time zone: timeZone: expected a name such as Europe\/Berlin, got 'Mars\/Base'/,
  );
});

Deno.test("advance() sends what is as it was seen, once, whoever comes first", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createScheduleStore(sql);
  await sql`select tidings.schedule('s' || i, '*/5 * * * * *', 'a') from generate_series(1, 200) i`;
  await store.advance((await store.dueRecurring(1_000)).map(stepOf));
  await sql`update tidings.schedule set due_at = date_trunc('second', now()) - interval '1 second'`;
  const waiting = await store.dueRecurring(1_000);
  assert.equal(waiting.length, 200);
  const sent = await Promise.all(Array.from({ length: 6 }, () => store.advance(waiting.map(stepOf))));
  assert.equal(sent.reduce((sum, count) => sum + count), 200);
  assert.equal((await titles(sql)).length, 200);
  assert.equal(await store.advance(waiting.map(stepOf)), 0);
});

Deno.test("what was due again and again while everything was down is sent once, or skipped, and goes on at its hour", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createScheduleStore(sql);
  for (const missed of ["send", "skip"]) {
    await sql`select tidings.schedule(${missed}, '30 7 * * *', 'user:1', ${missed}, timezone => 'Asia/Seoul', missed => ${missed})`;
  }
  const look = async () => await store.advance((await store.dueRecurring(10)).map(stepOf));
  await look();
  await sql`update tidings.schedule set due_at = due_at - interval '10 days'`;
  assert.deepEqual([await look(), await look()], [1, 0]);
  assert.deepEqual(await titles(sql), ["send"]);
  for (const { due_at } of await sql`select due_at from tidings.schedule`) {
    assert(due_at > new Date());
    assert.equal(due_at.toLocaleTimeString("sv", { timeZone: "Asia/Seoul" }), "07:30:00");
  }
});

Deno.test("a cron that only a gateway sees through is kept with its failure and never looked at again", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createScheduleStore(sql);
  await sql`select tidings.schedule('bad', '61 8 * * *', 'a'), tidings.schedule('never', '0 0 31 2 *', 'a')`;
  await store.advance((await store.dueRecurring(10)).map(stepOf));
  const failures = (await sql`select failure from tidings.schedule order by name`).map(({ failure }) =>
    failure
  );
  assert.match(failures[0], /^Cannot schedule this: cron: /);
  assert.match(failures[1], /due some day/);
  assert.deepEqual(await store.dueRecurring(10), []);
});
