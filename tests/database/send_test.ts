import assert from "node:assert/strict";
import type postgres from "postgres";
import { LIMITS } from "../../src/notification.ts";
import { testDatabase } from "../helpers/database.ts";
import { waitFor } from "../helpers/wait.ts";

Deno.test("tidings.send() does what each of its parameters says, in the caller's transaction", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const [full] = await sql`
    select tidings.send('user:ann', title => 't', body => 'b', type => 'match.found', link => '/l', data => '{"a": 1.0}',
      sender => 'bob', priority => 'very-low', collapse_key => 'c', dedupe_key => 'd', ttl => '90 s', push => false) as id`;
  const [stored] = await sql`
    select *, data::text as data, extract(epoch from expires_at - created_at)::float8 as lives, id::text as id
    from tidings.notification`;
  const { xid, created_at, expires_at, lives, ...rest } = stored!;
  assert.ok(Number(xid) > 0 && created_at < expires_at);
  assert.ok(Math.abs(lives - 90) < 1, `it lives for ${lives} s`);
  assert.deepEqual(rest, {
    id: full!.id,
    topic: "user:ann",
    type: "match.found",
    title: "t",
    body: "b",
    link: "/l",
    data: '{"a": 1.0}',
    sender: "bob",
    priority: "very-low",
    collapse_key: "c",
    dedupe_key: "d",
    transient: false,
    push: false,
  });
  await sql`select tidings.send('all', transient => true), tidings.send('all', transient => true, ttl => '5 s')`;
  const lived = await sql`
    select round(extract(epoch from expires_at - created_at))::int as lives from tidings.notification
    where transient order by id`;
  assert.deepEqual(lived.map((row) => row.lives), [60, 5]);
  await assert.rejects(
    sql.begin(async (sql) => {
      await sql`select tidings.send('all', 'rolled back')`;
      throw new Error("undone");
    }),
    /undone/,
  );
  assert.equal((await sql`select from tidings.notification where title = 'rolled back'`).length, 0);
});

Deno.test("a repeat of a dedupe_key returns the first id, by topic, also while the first is not committed", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const once = async (sql: postgres.Sql, topic: string) =>
    (await sql`select tidings.send(${topic}, dedupe_key => 'k') as id`)[0]!.id;
  const first = await once(sql, "a");
  assert.equal(await once(sql, "a"), first);
  const other = await once(sql, "b");
  assert.notEqual(other, first);
  const ids = async () =>
    (await sql`select tidings.send(array['b', 'c', 'a'], dedupe_key => 'k')::text[] as ids`)[0]!.ids;
  const [b, c, a] = await ids();
  assert.deepEqual([b, a], [other, first]);
  assert.deepEqual(await ids(), [b, c, a]);
  const watch = database.connect({ max: 1 });
  // two at once, the second waits: for a commit, and for a rollback
  for (const end of ["commit", "rollback"]) {
    const topic = `d:${end}`;
    const one = await database.connect({ max: 1 }).reserve();
    await one`begin`;
    const [mine] = await one`select tidings.send(${topic}, dedupe_key => 'k') as id`;
    const waiting = once(sql, topic);
    for (let blocked = 0; blocked === 0;) {
      const [row] = await watch`
        select count(*)::int as blocked from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      blocked = row!.blocked;
    }
    await one.unsafe(end);
    assert.equal(await waiting === mine!.id, end === "commit");
    one.release();
    assert.equal((await sql`select from tidings.notification where topic = ${topic}`).length, 1);
  }
});

Deno.test("an array of topics is one row each, in its order; a null among them is refused", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const [{ ids } = assert.fail()] = await sql`select tidings.send(array['z', 'a', 'm'], 'n')::text[] as ids`;
  const rows = await sql`select id::text, topic from tidings.notification`;
  assert.deepEqual(ids.map((id: string) => rows.find((row) => row.id === id)!.topic), ["z", "a", "m"]);
  assert.deepEqual((await sql`select tidings.send('{}'::text[]) as ids`)[0]!.ids, []);
  await assert.rejects(
    sql`select tidings.send(array['a', null])`,
    /^PostgresError: Cannot send: topics holds a null/,
  );
});

Deno.test("every limit is refused by a name that reads as a message, by tidings.send and by INSERT", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const fits = {
    topic: "é".repeat(LIMITS.topic),
    type: "x".repeat(LIMITS.type),
    title: "é".repeat(LIMITS.title),
    body: "x".repeat(LIMITS.body),
    link: "/" + "é".repeat(LIMITS.link - 1),
    data: JSON.stringify("x".repeat(LIMITS.data - 2)),
    sender: "é".repeat(LIMITS.sender),
    collapse_key: "é".repeat(LIMITS.collapseKey),
    dedupe_key: "é".repeat(LIMITS.dedupeKey),
  };
  const wrong: [Partial<Record<keyof typeof fits, string>>, RegExp][] = [
    [{ topic: fits.topic + "x" }, /"topic: at most 200 characters"/],
    ...["", ":a", "a:", "a::b", "a b", "a,b", "a*", "a\u0007"].map((topic): typeof wrong[number] => [
      { topic },
      /"topic: segments joined by a colon, no white space, comma, \*"/,
    ]),
    [{ type: fits.type + "x" }, /"type: at most 100 characters"/],
    [{ type: "a b" }, /"type: letters, digits, dots, dashes and underscores"/],
    [{ title: fits.title + "x" }, /title: at most 1000 characters|character varying\(1000\)/],
    [{ body: fits.body + "x" }, /"body: at most 65536 bytes"/],
    [{ link: fits.link + "x" }, /link: at most 2048 characters|character varying\(2048\)/],
    [{ data: JSON.stringify("x".repeat(LIMITS.data - 1)) }, /"data: at most 262144 bytes as text"/],
    [{ sender: fits.sender + "x" }, /sender: at most 200 characters|character varying\(200\)/],
    [{ collapse_key: fits.collapse_key + "x" }, /collapse_key: 1 to 200 characters|character varying\(200\)/],
    [{ dedupe_key: fits.dedupe_key + "x" }, /dedupe_key: 1 to 200 characters|character varying\(200\)/],
  ];
  const ways = {
    send: (row: typeof fits) =>
      sql`select tidings.send(${row.topic}, type => ${row.type}, title => ${row.title}, body => ${row.body},
        link => ${row.link}, data => ${row.data}::text::jsonb, sender => ${row.sender},
        collapse_key => ${row.collapse_key}, dedupe_key => ${row.dedupe_key})`,
    insert: (row: typeof fits) =>
      sql`insert into tidings.notification
          (topic, type, title, body, link, data, sender, collapse_key, dedupe_key)
        values (${row.topic}, ${row.type}, ${row.title}, ${row.body}, ${row.link}, ${row.data}::text::jsonb, ${row.sender},
          ${row.collapse_key}, ${row.dedupe_key})`,
  };
  for (const [way, run] of Object.entries(ways)) {
    await run(fits);
    await sql`delete from tidings.notification`;
    for (const [change, message] of wrong) {
      await assert.rejects(run({ ...fits, ...change }), message, `${way} ${Object.keys(change)}`);
    }
  }
  for (
    const [call, message] of [
      ["type => 'tidings.inbox'", /Cannot send: type: tidings\.\* is reserved/],
      ["priority => 'urgent'", /Cannot send: priority: one of very-low, low, normal, high/],
      ["ttl => '0'", /Cannot send: ttl must be positive/],
      ["link => ' JavaScript:alert(1)'", /Cannot send: link: an address without script/],
      ["dedupe_key => ''", /Cannot send: dedupe_key: 1 to 200 characters/],
    ] as const
  ) {
    await assert.rejects(sql.unsafe(`select tidings.send('a', ${call})`), message);
  }
});

Deno.test("INSERT of one row or 100,000 rings once, and not at all while gateways are awake; nothing is too long for the bell", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const heard: string[] = [];
  const ear = database.connect({ max: 1 });
  await ear.listen("tidings", (payload) => heard.push(payload));
  await ear.listen("end", (payload) => heard.push(payload));
  /** What rang, up to here. */
  const rung = async () => {
    await sql`select pg_notify('end', 'end')`;
    await waitFor(() => heard.at(-1) === "end");
    return heard.splice(0).slice(0, -1);
  };
  await sql`insert into tidings.notification (topic, body) values ('a', ${"x".repeat(LIMITS.body)})`;
  assert.deepEqual(await rung(), [""]);
  await sql`insert into tidings.notification (topic, data)
            select 'a', to_jsonb(n) from generate_series(1, 100000) n`;
  assert.deepEqual(await rung(), [""]);
  await sql`select tidings.send('a', data => to_jsonb(repeat('x', 200000)))`;
  assert.deepEqual(await rung(), [""]);
  const awake = await sql.begin(async (sql) => {
    await sql`select tidings.stay_awake(2000)`;
    // an hour: however slow this machine is
    await sql`select setval('tidings.awake', tidings.clock_ms() + 3600000)`;
    return "raised";
  });
  assert.equal(awake, "raised");
  assert.deepEqual(await rung(), [""], "raising rings");
  await sql`insert into tidings.notification (topic) select 'a' from generate_series(1, 10)`;
  await sql`select tidings.send('a')`;
  assert.deepEqual(await rung(), []);
});

Deno.test("a role that has the right to insert and no other rings as well, by INSERT and by COPY, and cannot raise the flag", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const role = `writer_${crypto.randomUUID().replaceAll("-", "")}`;
  await sql.unsafe(`create role ${role}`);
  try {
    await sql.unsafe(`grant usage on schema tidings to ${role}`);
    await sql.unsafe(`grant insert on tidings.notification to ${role}`);
    let heard = 0;
    await database.connect({ max: 1 }).listen("tidings", () => heard++);
    const own = database.connect({ max: 1 });
    await own.unsafe(`set role ${role}`);
    await own`insert into tidings.notification (topic) values ('a')`;
    await waitFor(() => heard === 1);
    const copy = await own`copy tidings.notification (topic, title) from stdin`.writable();
    await new Promise((resolve, reject) => {
      copy.once("finish", resolve).once("error", reject);
      copy.end("a\tone\na\ttwo\n");
    });
    await waitFor(() => heard === 2);
    await assert.rejects(own`select setval('tidings.awake', 1)`, /permission denied/);
    const [{ rows } = assert.fail()] = await sql`select count(*)::int as rows from tidings.notification`;
    assert.equal(rows, 3);
  } finally {
    await sql.unsafe(`drop owned by ${role}`);
    await sql.unsafe(`drop role ${role}`);
  }
});

Deno.test("a role that may send calls the sending functions, and neither reads nor writes any table, nor calls another function", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const role = `sender_${crypto.randomUUID().replaceAll("-", "")}`;
  await sql.unsafe(`create role ${role}`);
  try {
    await sql`select tidings.allow_sending(${role})`;
    const own = database.connect({ max: 1 });
    await own.unsafe(`set role ${role}`);
    await own`select tidings.send('user:ann', 'one', dedupe_key => 'k'), tidings.send(array['a', 'b'], 'two')`;
    await own`select tidings.send('user:ann', 'later', deliver_at => now() + interval '1 hour')`;
    const tables = await sql<{ name: string }[]>`
      select c.relname as name from pg_class c
      where c.relnamespace = 'tidings'::regnamespace and c.relkind in ('r', 'v', 'p', 'S', 'm')`;
    assert.ok(tables.length > 10);
    for (const { name } of tables) {
      // until when gateways are awake: whoever inserts looks at it
      if (name !== "awake") {
        await assert.rejects(own.unsafe(`select * from tidings.${name}`), /permission denied/, name);
      }
      await assert.rejects(own.unsafe(`delete from tidings.${name}`), /permission denied|cannot/, name);
    }
    await assert.rejects(own`insert into tidings.notification (topic) values ('a')`, /permission denied/);
    const callable = await sql<{ name: string }[]>`
      select distinct p.proname as name from pg_proc p
      where p.pronamespace = 'tidings'::regnamespace and has_function_privilege(${role}, p.oid, 'execute')
      order by 1`;
    const [{ allowed } = assert.fail()] = await sql`select tidings.sending_functions() as allowed`;
    assert.deepEqual(callable.map(({ name }) => name), [...allowed].sort());
  } finally {
    await sql.unsafe(`drop owned by ${role}`);
    await sql.unsafe(`drop role ${role}`);
  }
});
