import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type postgres from "postgres";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { Listener } from "./listener.ts";

const sent = (sql: postgres.Sql) =>
  sql<
    {
      topic: string;
      type: string;
      title: string | null;
      body: string | null;
      link: string | null;
      data: unknown;
    }[]
  >`
    select topic, type, title, body, link, data from tidings.notification order by id`;

async function posts(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(
    `create table public.post (id int primary key, author_id int, "Author Name" text, title text, draft boolean default false)`,
  );
}

Deno.test("attach() fills placeholders from the row, keeps types in data, and takes braces as they are", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  await sql.unsafe(`select tidings.attach('public.post', on_event => 'insert', topic => 'author:{author_id}',
    title => '{Author Name} posted {{{id}}}', body => '{title}', type => 'post.published', link => '/posts/{new.id}',
    data => '{"id": "{id}", "text": "no. {id}", "list": ["{draft}", 1, null], "deep": {"title": "{title}"}}')`);
  await sql`insert into public.post values (4, 7, 'Ada', 'it''s \\ "here"', true)`;
  assert.deepEqual([...await sent(sql)].map((row) => ({ ...row })), [{
    topic: "author:7",
    type: "post.published",
    title: "Ada posted {4}",
    body: `it's \\ "here"`,
    link: "/posts/4",
    data: { id: 4, text: "no. 4", list: [true, 1, null], deep: { title: `it's \\ "here"` } },
  }]);
});

Deno.test("placeholders are filled from the new and the old row in topic, title, body, link and data, of every event", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  for (const event of ["insert", "update", "delete"]) {
    const places = {
      insert: ["{id}", "{new.title}"],
      update: ["{old.title}", "{new.title}"],
      delete: ["{id}", "{old.title}"],
    };
    const [one, two] = places[event as "update"];
    await sql`select tidings.attach('public.post', ${event}, topic => ${`x:${one}:${two}`}, title => ${`t ${one} ${two}`},
      body => ${`b ${one} ${two}`}, link => ${`/${one}/${two}`}, type => ${event},
      data => ${JSON.stringify({ one, two, both: `${one} ${two}` })}::text::jsonb)`;
  }
  await sql`insert into public.post (id, title) values (1, 'a')`;
  await sql`update public.post set title = 'b'`;
  await sql`delete from public.post`;
  const filled = (one: unknown, two: string) => ({
    topic: `x:${one}:${two}`,
    title: `t ${one} ${two}`,
    body: `b ${one} ${two}`,
    link: `/${one}/${two}`,
    data: { one, two, both: `${one} ${two}` },
  });
  assert.deepEqual([...await sent(sql)].map((row) => ({ ...row })), [
    { ...filled(1, "a"), type: "insert" },
    { ...filled("a", "b"), type: "update" },
    { ...filled(1, "b"), type: "delete" },
  ]);
});

Deno.test("attach() sends on update of given columns with a condition, and on delete from the old row", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  await sql.unsafe(
    `select tidings.attach('public.post', on_event => 'update of title, draft', topic => 'user:{author_id}',
    title => '{old.title} -> {title}', "when" => 'old.draft and not new.draft')`,
  );
  await sql.unsafe(
    `select tidings.attach('public.post', on_event => 'delete', topic => 'user:{author_id}', title => '{title} is gone')`,
  );
  await sql`insert into public.post values (1, 7, 'Ada', 'one', true)`;
  await sql`update public.post set title = 'two'`;
  await sql`update public.post set author_id = 8`;
  await sql`update public.post set title = 'three', draft = false`;
  await sql`delete from public.post`;
  assert.deepEqual([...await sent(sql)].map(({ topic, title }) => [topic, title]), [
    ["user:8", "two -> three"],
    ["user:8", "three is gone"],
  ]);
});

Deno.test("a topic may be SQL that yields many, or none", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  await sql.unsafe(
    `select tidings.attach('public.post', topic => 'sql:array(select ''user:'' || g from generate_series(1, new.id) g)',
    title => 'sql:upper(new.title)')`,
  );
  await sql`insert into public.post (id, title) values (3, 'x'), (0, 'nobody')`;
  assert.deepEqual([...await sent(sql)].map(({ topic, title }) => [topic, title]), [
    ["user:1", "X"],
    ["user:2", "X"],
    ["user:3", "X"],
  ]);
});

Deno.test("what attach() cannot use is refused when attaching, by name", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  const cases: [string, RegExp][] = [
    [`topic => 'user:{owner}'`, /^Cannot attach: topic: table public\.post has no column "owner"$/],
    [
      `topic => 'user:1', title => '{id} {nme}'`,
      /^Cannot attach: title: table public\.post has no column "nme"$/,
    ],
    [
      `topic => 'user:1', data => '{"a": ["{x}"]}'`,
      /^Cannot attach: data\.a\.0: table public\.post has no column "x"$/,
    ],
    [
      `topic => 'user:1', title => '{old.id}'`,
      /^Cannot attach: title: \{old\.id\} has no old row in insert$/,
    ],
    [`topic => 'user:1', title => 'open {id'`, /^Cannot attach: title: there is a \{ without its \}/],
    [`topic => 'user:1', title => 'close }'`, /^Cannot attach: title: there is a \} without its \{/],
    [`topic => 'user 1'`, /^Cannot attach: topic: segments joined by a colon/],
    [`topic => null`, /^Cannot attach: topic: expected a template/],
    [`topic => 'sql:new.nothing'`, /^Cannot attach: topic: column new\.nothing does not exist$/],
    [
      `topic => 'sql:new.id'`,
      /^Cannot attach: topic: function tidings\.topics_of\(integer\) does not exist$/,
    ],
    [`topic => 'user:1', title => 'sql:new.title ||'`, /^Cannot attach: the templates: syntax error/],
    [
      `topic => 'user:1', link => 'sql:nothing(new.id)'`,
      /^Cannot attach: link: function nothing\(integer\) does not exist$/,
    ],
    [`topic => 'user:1', "when" => 'new.x > 1'`, /^Cannot attach: when: column new\.x does not exist$/],
    [`topic => 'user:1', on_event => 'truncate'`, /^Cannot attach: on_event: expected insert, update/],
    [
      `topic => 'user:1', on_event => 'update of x, id'`,
      /^Cannot attach: on_event: table public\.post has no column "x"$/,
    ],
    [`topic => 'user:1', type => 'tidings.inbox'`, /^Cannot attach: type: /],
    [`topic => 'user:1', priority => 'urgent'`, /^Cannot attach: priority: /],
    [`topic => 'user:1', on_failure => 'ignore'`, /^Cannot attach: on_failure: expected raise or keep$/],
  ];
  for (const [parameters, expected] of cases) {
    await assert.rejects(sql.unsafe(`select tidings.attach('public.post', ${parameters})`), {
      message: expected,
    }, parameters);
  }
  await assert.rejects(
    sql.unsafe(`select tidings.attach('public.nothing', topic => 'user:1')`),
    /"public\.nothing" does not exist/,
  );
  assert.equal((await sql`select from tidings.attachment`).length, 0);
  assert.equal((await sql`select from pg_trigger where tgrelid = 'public.post'::regclass`).length, 0);
});

Deno.test("a failing template fails the application's statement, or is kept with its reason where that was asked for", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  await sql.unsafe(`select tidings.attach('public.post', topic => 'user:{title}', name => 'strict')`);
  await assert.rejects(sql`insert into public.post (id, title) values (1, 'not a topic')`, { code: "23514" });
  assert.equal((await sql`select from public.post`).length, 0);
  await sql.unsafe(
    `select tidings.attach('public.post', topic => 'user:{title}', name => 'strict', on_failure => 'keep')`,
  );
  await sql`insert into public.post (id, title) values (1, 'not a topic'), (2, 'fine')`;
  assert.equal((await sql`select from public.post`).length, 2);
  assert.deepEqual((await sent(sql)).map(({ topic }) => topic), ["user:fine"]);
  const [failure] =
    await sql`select attachment, on_table, event, row, reason, sqlstate from tidings.attach_failure`;
  assert.equal(failure!.attachment, "strict");
  assert.equal(failure!.row.title, "not a topic");
  assert.equal(failure!.sqlstate, "23514");
  assert.match(failure!.reason, /topic: segments/);
});

Deno.test("what an attachment sends is part of the application's transaction", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  await sql.unsafe(`select tidings.attach('public.post', topic => 'user:1')`);
  await sql.begin(async (tx) => {
    await tx`insert into public.post (id) values (1)`;
    throw new Error("rolled back");
  }).catch((error) => assert.equal(error.message, "rolled back"));
  assert.equal((await sent(sql)).length, 0);
});

Deno.test("detach() removes trigger and function, by name or for a table; attaching again replaces", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await posts(sql);
  await sql.unsafe(
    `select tidings.attach('public.post', topic => 'user:1'), tidings.attach('public.post', topic => 'user:2')`,
  );
  await sql.unsafe(`select tidings.attach('public.post', on_event => 'delete', topic => 'user:3')`);
  await sql`insert into public.post (id) values (1)`;
  assert.deepEqual((await sent(sql)).map(({ topic }) => topic), ["user:2"]);
  assert.deepEqual({
    ...(await sql`select tidings.detach('public.post insert') as gone, tidings.detach('nothing'::text) as nothing`)[
      0
    ],
  }, {
    gone: true,
    nothing: false,
  });
  assert.equal((await sql`select tidings.detach('public.post'::regclass) as n`)[0]!.n, 1);
  await sql`delete from public.post`;
  assert.equal((await sent(sql)).length, 1);
  const left =
    await sql`select proname from pg_proc where pronamespace = 'tidings'::regnamespace and proname like 'attached%'`;
  assert.equal(left.length, 0);
});

Deno.test("a role that may attach and nothing else makes its own table send", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const role = `app_${crypto.randomUUID().slice(0, 8)}`;
  try {
    await sql.unsafe(
      `create role ${role}; create schema app authorization ${role}; select tidings.allow_attaching('${role}')`,
    ).simple();
    const mine = database.connect({ max: 1 });
    await mine.unsafe(`set role ${role}`);
    await mine.unsafe(`create table app.note (id int, owner text)`);
    await mine.unsafe(`select tidings.attach('app.note', topic => 'user:{owner}', title => 'Note {id}')`);
    await mine`insert into app.note values (5, 'ada')`;
    await assert.rejects(mine`select from tidings.notification`, { code: "42501" });
    assert.deepEqual((await sent(sql)).map(({ topic, title }) => [topic, title]), [["user:ada", "Note 5"]]);
    await mine.end();
  } finally {
    await sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`).simple();
  }
});

Deno.test("sql/demo/climbing.sql runs, twice, and all nine kinds arrive where they are meant to", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const demo = await readFile(new URL("../../sql/demo/climbing.sql", import.meta.url), "utf8");
  await sql.unsafe(demo).simple();
  await sql.unsafe(demo).simple();
  await using gateway = await startGateway(database);
  const tabs = new Map<string, Listener>();
  for (const user of ["1", "2", "3"]) {
    tabs.set(user, await Listener.open(gateway.url, await gateway.token(user)));
  }
  await sql`call climbing.afternoon()`;
  const types = (user: string) => tabs.get(user)!.items.map(({ type, title }) => `${type}: ${title}`).sort();
  const expected = {
    "1": [
      "match.made: Your match is on",
      "match.ready: Your opponent is ready",
      "post.liked: Bo likes your post",
      "ranking.changed: You are number 2 now",
    ],
    "2": [
      "match.cancelled: Your match was cancelled",
      "match.requested: Ada challenges you",
      "post.published: Ada posted",
      "record.broken: A new record: 70 s instead of 80 s",
    ],
    "3": [
      "route.completed: Ada completed Overhang",
      "route.completed: Bo completed Overhang",
      "route.completed: Bo completed Overhang",
    ],
  };
  for (const [user, kinds] of Object.entries(expected)) {
    const tab = tabs.get(user)!;
    await tab.until(() => tab.items.length >= kinds.length);
    assert.deepEqual(types(user), kinds, `member ${user}`);
  }
  assert.equal(new Set(Object.values(expected).flat().map((kind) => kind.split(":")[0])).size, 9);
  for (const tab of tabs.values()) await tab[Symbol.asyncDispose]();
});
