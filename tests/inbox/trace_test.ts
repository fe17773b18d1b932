import assert from "node:assert/strict";
import type postgres from "postgres";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { Listener } from "./listener.ts";

const trace = async (sql: postgres.Sql, id: string, user: string) =>
  (await sql<
    { event: string; detail: string; at: Date | null }[]
  >`select at, event, detail from tidings.trace(${id}::bigint, ${user})`)
    .map((row) => ({ ...row }));

const send = async (sql: postgres.Sql, call: string) =>
  (await sql.unsafe(`select ${call} as id`))[0]!.id as string;

/** What gateways say of deliveries comes within a second or two. */
async function when(sql: postgres.Sql, id: string, user: string, event: string) {
  for (const late = AbortSignal.timeout(15_000); !late.aborted;) {
    const rows = await trace(sql, id, user);
    if (rows.some((row) => row.event === event)) return rows;
  }
  throw new Error(`no ${event}: ${JSON.stringify(await trace(sql, id, user))}`);
}

Deno.test("trace() tells of commit, delivery with session and time, acknowledgement and mark", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const missed = await send(sql, "tidings.send('user:ada', 'while she was away')");
  await using gateway = await startGateway(database);
  const token = await gateway.token("ada");
  await using tab = await Listener.open(gateway.url, token, "?since=earliest");
  const live = await send(sql, "tidings.send('all', 'live')");
  await tab.until(() => tab.items.length === 2);
  for (const id of [missed, live]) {
    const rows = await when(sql, id, "ada", "delivered");
    assert.deepEqual(rows.map(({ event }) => event), ["committed", "delivered"]);
    assert.match(rows[1]!.detail, /^over websocket by gateway [0-9a-f]{8}$/);
    assert.ok(rows[1]!.at! >= rows[0]!.at!);
    assert.ok(Math.abs(Date.now() - rows[1]!.at!.getTime()) < 20_000);
  }
  await tab.ask({ op: "ack", cursor: tab.cursor });
  await tab.ask({ op: "mark", ids: [live], state: "read" });
  const rows = await when(sql, live, "ada", "acknowledged");
  assert.deepEqual(rows.map(({ event }) => event), ["committed", "delivered", "acknowledged", "marked"]);
  assert.equal(rows[3]!.detail, "read");
  const times = rows.map(({ at }) => at!.getTime());
  assert.deepEqual(times, times.toSorted((a, b) => a - b), "in the order of time");
  await tab[Symbol.asyncDispose]();
  const unseen = await send(sql, "tidings.send('user:ada', 'after she left')");
  const after = await trace(sql, unseen, "ada");
  assert.deepEqual(after.map(({ event }) => event), ["committed", "not delivered"]);
});

Deno.test("trace() names what a short poll was answered over, and so do the metrics", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const headers = { authorization: `Bearer ${await gateway.token("ada", { admin: true })}` };
  const id = await send(database.sql, "tidings.send('user:ada', 'x')");
  const polled = await fetch(`${gateway.url}/v1/feed?since=earliest&wait=0`, { headers });
  assert.equal((await polled.json()).items.length, 1);
  const rows = await when(database.sql, id, "ada", "delivered");
  assert.match(rows.at(-1)!.detail, /^over longpoll by gateway [0-9a-f]{8}$/);
  const metrics = await (await fetch(`${gateway.url}/metrics`, { headers })).text();
  assert.match(metrics, /^tidings_sessions\{transport="longpoll"\} 0$/m);
  assert.doesNotMatch(metrics, /transport="stomp"/);
});

Deno.test("trace() says why something did not arrive", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`select tidings.prefer('ada', 'type', 'like', false, false)`;
  const reason = async (id: string) =>
    (await trace(sql, id, "ada")).find(({ event }) => event === "not delivered")?.detail;
  const early = await send(sql, "tidings.send('climb:1', 'early')");
  await sql`select tidings.follow('ada', 'climb:1')`;
  const cases: [string, RegExp][] = [
    [await send(sql, "tidings.send('user:ada', 'x')"), /^nobody was connected; it waits in the inbox$/],
    [
      await send(sql, "tidings.send('user:ada', 'x', transient => true)"),
      /^nobody was connected, and it is transient$/,
    ],
    [await send(sql, "tidings.send('user:ada', 'x', type => 'like')"), /^muted by the person's preferences$/],
    [await send(sql, "tidings.send('user:bo', 'x')"), /^it was sent to somebody else$/],
    [await send(sql, "tidings.send('climb:2', 'x')"), /^the person did not follow climb:2/],
    [early, /^it was sent before the person followed climb:1/],
    ["424242", /^there is no such notification/],
  ];
  for (const [id, expected] of cases) assert.match(await reason(id) ?? "", expected);
  const gone = await send(sql, "tidings.send('user:ada', 'x', ttl => '1 hour')");
  await sql`update tidings.notification set expires_at = now() - interval '1 minute' where id = ${gone}`;
  assert.match(await reason(gone) ?? "", /^expired at /);
  await sql`create or replace function tidings.may_subscribe(user_id text, topic text) returns boolean
    language sql stable as $$ select may_subscribe.topic <> 'gym:9' $$`;
  assert.match(
    await reason(await send(sql, "tidings.send('gym:9', 'x')")) ?? "",
    /^no right: the policy refuses gym:9$/,
  );
});
