import assert from "node:assert/strict";
import fc from "fast-check";
import type postgres from "postgres";
import { type Carried, readBell } from "../../src/database/log_store.ts";
import { type Entry, toRow } from "../../src/log/row.ts";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";
import { waitFor } from "../helpers/wait.ts";

const SEED = 20_261_122;

/** Hears what bells carry: returns what came since it was asked last. */
async function listen({ sql, connect }: TestDatabase): Promise<() => Promise<Carried[]>> {
  const heard: string[] = [];
  const [{ channel } = assert.fail()] = await sql`select channel from tidings.carrier`;
  const ear = connect({ max: 1 });
  await ear.listen(channel, (payload) => heard.push(payload));
  await ear.listen("end", (payload) => heard.push(payload));
  return async () => {
    await sql`select pg_notify('end', 'end')`;
    await waitFor(() => heard.at(-1) === "end");
    return heard.splice(0).slice(0, -1).map(readBell);
  };
}

const titleOf = ({ row }: Carried) => JSON.parse(row.json).title;

Deno.test("a bell carries the row of who sends one, as it is read", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const [{ epoch } = assert.fail()] = await sql`select tidings.adopt() as epoch`;
  const carried = await listen(database);
  await sql`
    select tidings.send('user:ann', 'Title', 'Body ü', 'friend_request', '/requests/7', '{"n": 12345678901234567890}', 'bob', 'high',
      'requests', 'd', '1 hour', true, push => true)`;
  await sql`select tidings.send('all')`;
  const bells = await carried();
  const [page] = await sql<{ entries: Entry[]; flag: string }[]>`
    select entries, flag from tidings.read_log(${epoch}, '0', '{}', '{}', 10, 1000000)`;
  assert.deepEqual(
    bells,
    page!.entries.map((entry) => ({ epoch, flag: Number(page!.flag), row: toRow(entry) })),
  );
});

Deno.test("a bell carries the first row of a transaction, of those who send by tidings.send or over HTTP while the flag is down", async () => {
  await using database = await testDatabase();
  const carried = await listen(database);
  const insert = (title: string) =>
    `insert into tidings.notification (topic, title) values ('a', '${title}')`;
  const send = (title: string, further = "") => `select tidings.send('a', '${title}'${further})`;
  const post = (...titles: string[]) => {
    const rows = titles.map((title) => ({ request: 0, topics: ["a"], title }));
    return `select tidings.publish_batch('[{}]', '${JSON.stringify(rows)}')`;
  };
  const cases: [name: string, statements: string[], titles: string[]][] = [
    ["nobody has adopted the database", [send("1")], []],
    ["adopted", ["select tidings.adopt()", send("1"), send("2")], ["1", "2"]],
    ["INSERT", [insert("1"), send("2")], ["2"]],
    ["a transaction", ["begin", send("1"), insert("2"), send("3"), "commit", send("4")], ["1", "4"]],
    ["after an INSERT", ["begin", insert("1"), send("2"), "commit", send("3")], ["3"]],
    ["rolled back", ["begin", send("1"), "rollback", send("2"), send("3")], ["3"]],
    ["a savepoint", [
      "begin",
      "savepoint s",
      send("1"),
      "rollback to s",
      send("2"),
      "commit",
      send("3"),
    ], ["3"]],
    ["another has drawn ids", ["begin", send("1"), "savepoint s", send("2"), "release s", "commit"], ["1"]],
    ["repeated", [send("1", ", dedupe_key => 'k'"), send("2", ", dedupe_key => 'k'"), send("3"), send("4")], [
      "1",
      "4",
    ]],
    ["among the values of an INSERT, which has drawn its id before", [
      `insert into tidings.notification (topic, title) values ('a', tidings.send('a', 'inner')::text)`,
      send("1"),
    ], ["1"]],
    ["in the query of an INSERT, which draws its id after", [
      `insert into tidings.notification (topic, title) select 'a', tidings.send('a', 'inner')::text`,
      send("1"),
    ], ["inner", "1"]],
    ["several topics", [`select tidings.send(array['a', 'b'], 'both')`, send("1")], ["both", "1"]],
    ["later, which draws the id that it will have", [
      send("1", ", deliver_at => now() + interval '1 hour'"),
      send("2"),
      send("3"),
    ], ["3"]],
    ["longer than a bell", [send("1", ", body => repeat('x', 7000) || repeat(chr(252), 600)"), send("2")], [
      "2",
    ]],
    ["as long as a bell", [send("1", ", body => repeat('x', 7000)")], ["1"]],
    ["compressed", [send("1", ", data => to_jsonb(repeat('x', 200000))"), send("2")], ["2"]],
    ["posted", [post("1"), post("2", "3"), post("4")], ["1", "4"]],
    ["by a trigger of the log's own table", [
      `create function nested() returns trigger language plpgsql as $$ begin
        if new.title <> 'inner' then perform tidings.send('a', 'inner'); end if; return new; end $$`,
      "create trigger nested before insert on tidings.notification for each row execute function nested()",
      insert("1"),
      send("2"),
      "drop trigger nested on tidings.notification",
      send("3"),
    ], ["2", "3"]],
    ["the flag is up", ["select setval('tidings.awake', tidings.clock_ms() + 3600000)", send("1")], []],
  ];
  for (const [name, statements, titles] of cases) {
    // A connection that has drawn no id yet.
    const own = database.connect({ max: 1 });
    for (const statement of statements) await own.unsafe(statement);
    await own.end();
    assert.deepEqual((await carried()).map(titleOf), titles, name);
  }
});

Deno.test("serializable transactions that send do not get in each other's way", async () => {
  await using database = await testDatabase();
  await database.sql`select tidings.adopt()`;
  const [one, two] = [database.connect({ max: 1 }), database.connect({ max: 1 })];
  for (let round = 0; round < 3; round++) {
    for (const own of [one, two]) await own`begin isolation level serializable`;
    for (const own of [one, two, one, two]) await own`select tidings.send('a', 'n')`;
    await one`commit`;
    await two`commit`;
  }
});

/** What a transaction may do, one thing after the other. */
const DEEDS = {
  insert: `insert into tidings.notification (topic, title) values ('a', 'n')`,
  many: `insert into tidings.notification (topic, title) select 'a', 'n' from generate_series(1, 3)`,
  send: `select tidings.send('a', 'n')`,
  nested: `insert into tidings.notification (topic, title) values ('a', tidings.send('a', 'n')::text)`,
  repeat: `select tidings.send('a', 'n', dedupe_key => 'k')`,
  draw: `select nextval('tidings.notification_id_seq')`,
  save: "savepoint s",
  release: "release s",
  undo: "rollback to s",
};

Deno.test("whatever transactions do, what a bell carries is the first row of a committed one", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`select tidings.adopt()`;
  const carried = await listen(database);
  const deeds = Object.keys(DEEDS) as (keyof typeof DEEDS)[];
  const transactions = fc.array(
    fc.record({
      deeds: fc.array(fc.constantFrom(...deeds, "send" as const, "send" as const, "send" as const), {
        minLength: 1,
        maxLength: 5,
      }),
      commits: fc.boolean(),
    }),
    { minLength: 1, maxLength: 8 },
  );
  let count = 0;
  await fc.assert(
    fc.asyncProperty(transactions, async (history) => {
      const own = database.connect({ max: 1 });
      for (const { deeds, commits } of history) await transact(own, deeds, commits);
      await own.end();
      const bells = await carried();
      count += bells.length;
      const wrong = await sql`
        select c.id from unnest(string_to_array(${
        bells.map(({ row }) => row.id).join()
      }, ',')::bigint[]) c(id)
        where not exists (select from tidings.notification n where n.id = c.id)
          or exists (select from tidings.notification n join tidings.notification o on o.xid = n.xid and o.id < n.id where n.id = c.id)`;
      assert.deepEqual([...wrong], []);
    }),
    { seed: SEED, numRuns: 150 },
  );
  assert.ok(count > 50, `${count} rows were carried`);
});

async function transact(own: postgres.Sql, deeds: (keyof typeof DEEDS)[], commits: boolean): Promise<void> {
  let saved = false;
  await own`begin`;
  for (const deed of deeds) {
    if ((deed === "release" || deed === "undo") && !saved) continue;
    if (deed === "save") saved = true;
    if (deed === "release") saved = false;
    await own.unsafe(DEEDS[deed]);
  }
  await own.unsafe(commits ? "commit" : "rollback");
}
