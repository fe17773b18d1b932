import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { Beat } from "../../src/feed/presence_store.ts";
import { testDatabase } from "../helpers/database.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { connect, Gateway, gateway, here, TIMES, told } from "./presence_world.ts";

Deno.test("a person joins a topic with the first session and leaves it a grace after the last, one event each", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  const watcher = connect(a, "watcher");
  watcher.join("room:1", true);
  await a.presence.settled();
  const first = connect(a, "kim");
  const second = connect(a, "kim");
  first.join("room:1");
  second.join("room:1");
  await a.presence.settled();
  assert.deepEqual(await here(a, "room:1"), ["kim", "watcher"]);
  first.close();
  first.close();
  await a.presence.settled();
  assert.deepEqual(await told(database.sql, "room:1"), ["join watcher", "join kim"]);
  const gone = a.beat((result) => result.gone > 0);
  second.close();
  await gone;
  assert.deepEqual(await here(a, "room:1"), ["watcher"]);
  assert.deepEqual(await told(database.sql, "room:1"), ["join watcher", "join kim", "leave kim"]);
});

Deno.test("everybody connected is in all and in their own topic", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  connect(a, "kim");
  connect(a, "mina");
  await a.presence.settled();
  assert.deepEqual(await here(a, "all"), ["kim", "mina"]);
  assert.deepEqual(await here(a, "user:kim"), ["kim"]);
  assert.deepEqual(await here(a, "user:nobody"), []);
});

Deno.test("a reconnect within the grace, on another gateway too, is news to nobody", async () => {
  await using database = await testDatabase();
  const times = { ...TIMES, grace: 60_000 };
  await using a = await gateway(database.sql, "a", times);
  await using b = await gateway(database.sql, "b", times);
  connect(b, "watcher").join("all", true);
  await b.presence.settled();
  const kim = connect(a, "kim");
  await a.presence.settled();
  kim.close();
  await a.presence.settled();
  connect(b, "kim");
  await b.presence.settled();
  assert.deepEqual(await told(database.sql, "all"), ["join watcher", "join kim"]);
  const [row] = await database
    .sql`select gone_at from tidings.presence where topic = 'all' and user_id = 'kim'`;
  assert.equal(row?.["gone_at"], null);
});

Deno.test("nothing is told where nobody watches", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  connect(a, "kim").join("room:1");
  await a.presence.settled();
  const [row] = await database.sql`select count(*)::int as n from tidings.notification`;
  assert.equal(row?.["n"], 0);
});

Deno.test("while nobody is leaving, a gateway waits for its next beat, and rings nobody's bell with it", async () => {
  await using database = await testDatabase();
  const waits: number[] = [];
  const clock: Clock = {
    ...systemClock,
    after(ms, run) {
      waits.push(ms);
      return systemClock.after(ms, run);
    },
  };
  const times = { ...TIMES, beat: 60_000, lease: 180_000 };
  await using a = new Gateway(database.sql, "a", times, clock);
  await a.presence.start();
  assert.equal(waits.length, 1);
  assert(waits[0]! >= 30_000, `it waits ${waits[0]} ms`);
  const heard: string[] = [];
  const fence = Promise.withResolvers<void>();
  const listening = await database.sql.listen("tidings", (payload) => {
    if (payload === "fence") fence.resolve();
    else heard.push(payload);
  });
  const kim = connect(a, "kim");
  await a.presence.settled();
  const nobodyLeaves: Beat = {
    instance: "a",
    lease: times.lease,
    grace: times.grace,
    fresh: false,
    put: [],
    drop: [],
    active: {},
  };
  assert.equal((await a.store.beat(nobodyLeaves)).pending, undefined);
  const gone = a.beat((result) => result.gone > 0);
  kim.close();
  await gone;
  await database.sql.notify("tidings", "fence");
  await fence.promise;
  await listening.unlisten();
  assert.deepEqual(heard, []);
});

Deno.test("joins and leaves are told for a minute after the last watcher went, and none of it outlives the telling", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await using a = await gateway(sql, "a");
  await using b = await gateway(sql, "b");
  const until = async () =>
    (await sql`select until::text from tidings.watched where topic = 'room:1'`)[0]?.["until"];
  const watcher = connect(a, "watcher");
  watcher.join("room:1", true);
  await watcher.told();
  assert.equal(await until(), "infinity");
  watcher.close();
  await a.presence.settled();
  assert.match(await until(), /^\d{4}-/);
  connect(b, "kim").join("room:1");
  await b.presence.settled();
  const [row] = await sql`
    select n.expires_at <= w.until as inside from tidings.notification n, tidings.watched w
    where n.data->>'user' = 'kim' and n.type = 'tidings.join' and w.topic = 'room:1'`;
  assert.equal(row?.["inside"], true);
  // who comes back makes it last
  const again = connect(b, "watcher");
  again.join("room:1", true);
  await again.told();
  assert.equal(await until(), "infinity");
  again.join("room:1", false);
  await b.presence.settled();
  await sql`update tidings.watched set until = clock_timestamp()`;
  connect(a, "mina").join("room:1");
  await a.presence.settled();
  assert.equal(await until(), undefined);
  const lines = (await told(sql, "room:1")).filter((line) => !line.endsWith("watcher"));
  assert.deepEqual(lines, ["join kim"]);
});

Deno.test("whoever comes while the tables are being written again, after a crash, is told to those who watched before it", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a", { ...TIMES, grace: 60_000 });
  await using b = await gateway(database.sql, "b", { ...TIMES, grace: 60_000 });
  const watcher = connect(a, "watcher");
  watcher.join("room:1", true);
  await watcher.told();
  a.cut = true;
  await database.sql`truncate tidings.instance, tidings.session, tidings.session_topic`;
  connect(b, "kim").join("room:1");
  await b.presence.settled();
  a.cut = false;
  await a.presence.settled();
  assert.deepEqual(await told(database.sql, "room:1"), ["join watcher", "join kim"]);
  const [row] = await database.sql`select until::text from tidings.watched where topic = 'room:1'`;
  assert.equal(row?.["until"], "infinity");
});

Deno.test("told() says so when the database does not learn of it in time, and resolves when the service stops", async () => {
  await using database = await testDatabase();
  const clock = jumpClock();
  const a = new Gateway(database.sql, "a", { ...TIMES, beat: 600_000, lease: 900_000 }, clock);
  await a.presence.start();
  a.cut = true;
  const kim = connect(a, "kim");
  kim.join("room:1", true);
  const refused = assert.rejects(kim.told(), (error: { code?: string }) => error.code === "unavailable");
  await clock.jump(5_100);
  await refused;
  const waiting = kim.told();
  a.cut = false;
  await a.presence.stop();
  await waiting;
});

Deno.test("told() does not wait for those who go on coming", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  let flowing = true;
  let count = 0;
  a.each = () => {
    // with every statement somebody else comes: there is always something to tell
    if (flowing) connect(a, `u${count++}`);
  };
  const kim = connect(a, "kim");
  kim.join("room:1", true);
  await kim.told();
  flowing = false;
  assert.deepEqual(await here(a, "room:1"), ["kim"]);
});

Deno.test("a topic that is parted from is left, but not all and not one's own", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  const kim = connect(a, "kim");
  kim.join("room:1");
  await a.presence.settled();
  assert.deepEqual(await here(a, "room:1"), ["kim"]);
  const gone = a.beat((result) => result.gone > 0);
  kim.part("room:1");
  kim.part("all");
  kim.part("user:kim");
  await gone;
  assert.deepEqual(await here(a, "room:1"), []);
  assert.deepEqual(await here(a, "all"), ["kim"]);
});

Deno.test("what a dead gateway leaves is swept by another, and told", async () => {
  await using database = await testDatabase();
  await using b = await gateway(database.sql, "b");
  connect(b, "watcher").join("all", true);
  await b.presence.settled();
  const a = await gateway(database.sql, "a");
  connect(a, "kim");
  await a.presence.settled();
  a.cut = true;
  await b.beat((result) => result.gone > 0);
  assert.deepEqual(await here(b, "all"), ["watcher"]);
  assert.deepEqual(await told(database.sql, "all"), ["join watcher", "join kim", "leave kim"]);
  const left = await database.sql`select id from tidings.instance`;
  assert.deepEqual(left.map((row) => row["id"]), ["b"]);
  await a[Symbol.asyncDispose]();
});

Deno.test("a gateway that was taken for dead and lives says everything again", async () => {
  await using database = await testDatabase();
  await using b = await gateway(database.sql, "b");
  await using a = await gateway(database.sql, "a");
  connect(a, "kim");
  await a.presence.settled();
  a.cut = true;
  await b.beat((result) => result.gone > 0);
  assert.deepEqual(await here(b, "all"), []);
  a.cut = false;
  await a.presence.settled();
  assert.deepEqual(await here(b, "all"), ["kim"]);
  assert(a.errors.length > 0);
});

Deno.test("after the unlogged tables were emptied, as a crash of the database does, everything is said again", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a", { ...TIMES, grace: 60_000 });
  connect(a, "watcher").join("all", true);
  connect(a, "kim");
  await a.presence.settled();
  const before = await told(database.sql, "all");
  const unknown = a.beat((result) => !result.known);
  await database.sql`truncate tidings.instance, tidings.session, tidings.session_topic`;
  await unknown;
  await a.presence.settled();
  assert.deepEqual(await here(a, "all"), ["kim", "watcher"]);
  assert.deepEqual(await told(database.sql, "all"), before);
  const [row] = await database.sql`select count(*)::int as n from tidings.session`;
  assert.equal(row?.["n"], 2);
});

Deno.test("sessions opened while the database is away are told when it is back, in batches", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a", { ...TIMES, lease: 60_000 });
  a.cut = true;
  const holds = Array.from({ length: 1_234 }, (_, i) => connect(a, `u${i}`));
  holds[7]?.close();
  a.cut = false;
  await a.presence.settled();
  assert.equal((await a.store.present("all", 10)).count, 1_233);
  assert.equal((await a.store.present("all", 10)).people.length, 10);
});

Deno.test("a session is written with who, where, by what, since when and when last active", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  const kim = connect(a, "kim");
  await a.presence.settled();
  kim.active();
  await a.presence.settled();
  const [row] = await database.sql`select *, active_at >= since as sane from tidings.session`;
  assert.deepEqual([
    row?.["user_id"],
    row?.["instance"],
    row?.["transport"],
    row?.["user_agent"],
    row?.["sane"],
  ], [
    "kim",
    "a",
    "websocket",
    "test",
    true,
  ]);
});

Deno.test("stop() ends this gateway's sessions at once; stopping twice or unstarted is allowed", async () => {
  await using database = await testDatabase();
  const a = await gateway(database.sql, "a");
  connect(a, "kim");
  await a.presence.settled();
  await a.presence.stop();
  await a.presence.stop();
  const [row] = await database.sql`select count(*)::int as n from tidings.session`;
  assert.equal(row?.["n"], 0);
  await new Gateway(database.sql, "b").presence.stop();
});
