/**
 * What every transport of the feed has to keep, whatever the client: one suite, run once for each.
 * @module
 */
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { parseCursor } from "../../src/log/cursor.ts";
import { testDatabase } from "../helpers/database.ts";
import { brake, startGateway } from "../helpers/gateway.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { type Adapter, type Client, Refused, titles } from "./client.ts";
import { inboxConformance } from "./inbox_suite.ts";

/** Declares the suite's tests for a transport. */
export function conformance({ name, open }: Adapter): void {
  const test = (sentence: string, run: () => Promise<void>) => Deno.test(`${name}: ${sentence}`, run);

  test("from now on there comes what is sent from now on", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    await send(sql, "user:ann", ["before"]);
    const client = await open({ url: gateway.url, token: await gateway.token("ann") });
    for (const title of ["a", "b", "c"]) await send(sql, "user:ann", [title]);
    await has(client, 3);
    assert.deepEqual(titles(client), ["a", "b", "c"]);
    await client.cut();
  });

  test("earliest, a duration and a cursor say where to begin", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann");
    await sql`insert into tidings.notification (topic, title, created_at)
              values ('user:ann', 'old', now() - interval '1 hour')`;
    await send(sql, "user:ann", ["young"]);
    const from = async (since: string, count: number) => {
      const client = await open({ url: gateway.url, token, since });
      await has(client, count);
      await client.cut();
      return { titles: titles(client), cursor: client.received[0]!.cursor ?? client.cursor };
    };
    assert.deepEqual((await from("earliest", 2)).titles, ["old", "young"]);
    const { titles: young, cursor } = await from("10m", 1);
    assert.deepEqual(young, ["young"]);
    await send(sql, "user:ann", ["younger"]);
    assert.deepEqual((await from(cursor, 1)).titles, ["younger"]);
    assert.deepEqual((await from("2h", 3)).titles, ["old", "young", "younger"]);
  });

  test("a client goes on after any cursor that it was given, also in the middle of a large transaction", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann");
    const live = await open({ url: gateway.url, token });
    await send(sql, "user:ann", ["first"]);
    await many(sql, "user:ann", 2_500);
    await send(sql, "user:ann", ["last"]);
    await has(live, 2_502);
    await live.cut();
    const whole = await open({ url: gateway.url, token, since: "earliest" });
    await has(whole, 2_502);
    await whole.cut();
    const expected = titles(whole);
    assert.deepEqual(titles(live), expected);
    assert.deepEqual(expected, ["first", ...numbers(2_500), "last"]);
    const places = whole.received.flatMap(({ cursor }, index) =>
      cursor === undefined ? [] : [{ cursor, index }]
    );
    assert.ok(places.length >= 5, `only ${places.length} cursors`);
    // The ends, and some in between.
    for (const part of [0, 0.07, 0.31, 0.5, 0.83, 0.999]) {
      const { cursor, index } = places[Math.floor(part * (places.length - 1))]!;
      const rest = await open({ url: gateway.url, token, since: cursor });
      await has(rest, expected.length - 1 - index);
      assert.deepEqual(titles(rest), expected.slice(index + 1));
      await rest.cut();
    }
  });

  test("a client that is cut again and again gets everything once", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann");
    const got: (string | undefined)[] = [];
    let client = await open({ url: gateway.url, token });
    const sent = many(sql, "user:ann", 1_500).then(() => many(sql, "user:ann", 1_500, 1_500));
    for (let at = 100; got.length < 3_000; at += 277) {
      await client.until("some more", () => got.length + client.received.length >= Math.min(at, 3_000));
      await client.cut();
      got.push(...titles(client));
      if (got.length < 3_000) client = await open({ url: gateway.url, token, since: client.cursor });
    }
    await sent;
    assert.deepEqual(got, numbers(3_000));
  });

  test("rows of a transaction that was open when the cursor was given are not lost", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const token = await gateway.token("ann");
    const slow = await database.connect({ max: 1 }).reserve();
    await slow`begin`;
    await slow`select tidings.send('user:ann', 'slow')`;
    const before = await open({ url: gateway.url, token });
    await send(database.sql, "user:ann", ["quick"]);
    await has(before, 1);
    await before.cut();
    await slow`commit`;
    slow.release();
    const after = await open({ url: gateway.url, token, since: before.cursor });
    await has(after, 1);
    assert.deepEqual([titles(before), titles(after)], [["quick"], ["slow"]]);
    await after.cut();
  });

  test("a client moves to an instance that is behind, and gets nothing twice", async () => {
    await using database = await testDatabase();
    const held = brake();
    await using front = await startGateway(database);
    await using behind = await startGateway(database, { store: held.store });
    const token = await front.token("ann");
    const slow = await database.connect({ max: 1 }).reserve();
    await slow`begin`;
    await slow`select tidings.send('user:ann', 'slow')`;
    const one = await open({ url: front.url, token });
    // Both have read beyond the open transaction.
    const other = await open({ url: behind.url, token });
    await send(database.sql, "user:ann", ["quick"]);
    await has(one, 1);
    await has(other, 1);
    await held.pull();
    await slow`commit`;
    slow.release();
    await has(one, 2);
    await one.cut();
    const moved = await open({ url: behind.url, token, since: one.cursor });
    held.release();
    await send(database.sql, "user:ann", ["later"]);
    await has(moved, 1);
    await has(other, 3);
    assert.deepEqual(titles(one), ["quick", "slow"]);
    assert.deepEqual(titles(moved), ["later"]);
    assert.deepEqual(titles(other), ["quick", "slow", "later"]);
    await Promise.all([moved.cut(), other.cut()]);
  });

  test("a client that comes with a cursor from beyond what an instance has read waits for it", async () => {
    await using database = await testDatabase();
    const held = brake();
    await using front = await startGateway(database);
    await using behind = await startGateway(database, { store: held.store });
    const token = await front.token("ann");
    const one = await open({ url: front.url, token });
    await held.pull();
    await send(database.sql, "user:ann", ["a"]);
    await has(one, 1);
    await one.cut();
    const moving = open({ url: behind.url, token, since: one.cursor });
    await send(database.sql, "user:ann", ["b"]);
    held.release();
    const moved = await moving;
    await has(moved, 1);
    assert.deepEqual([titles(one), titles(moved)], [["a"], ["b"]]);
    await moved.cut();
  });

  test("a client moves to an instance that is ahead, and misses nothing", async () => {
    await using database = await testDatabase();
    const held = brake();
    await using front = await startGateway(database);
    await using behind = await startGateway(database, { store: held.store });
    const token = await front.token("ann");
    const witness = await open({ url: front.url, token });
    const one = await open({ url: behind.url, token });
    await send(database.sql, "user:ann", ["a"]);
    await has(one, 1);
    await held.pull();
    await send(database.sql, "user:ann", ["b", "c"]);
    await has(witness, 3);
    await one.cut();
    held.release();
    const moved = await open({ url: front.url, token, since: one.cursor });
    await has(moved, 2);
    assert.deepEqual([titles(one), titles(moved)], [["a"], ["b", "c"]]);
    await Promise.all([witness.cut(), moved.cut()]);
  });

  test("a cursor of another history is reset, and so is a client that is connected when the history changes", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann");
    const connected = await open({ url: gateway.url, token, since: "earliest" });
    await send(sql, "user:ann", ["a"]);
    await has(connected, 1);
    const { cursor } = connected;
    await sql`update tidings.history set origin = 'a cluster that was'`;
    await sql`select pg_notify('tidings', '')`;
    await connected.until("a reset", () => connected.told.some(({ event }) => event === "reset"));
    const late = await open({ url: gateway.url, token, since: cursor });
    await late.until("a reset", () => late.told.some(({ event }) => event === "reset"));
    await send(sql, "user:ann", ["b"]);
    await has(connected, 2);
    await has(late, 1);
    assert.deepEqual(titles(late), ["b"]);
    for (const client of [connected, late]) {
      const reset = client.told.filter(({ event }) => event === "reset");
      assert.deepEqual(reset.map((told) => "reason" in told && told.reason), ["history"]);
      assert.notEqual(client.cursor.split("-")[0], cursor.split("-")[0]);
      await client.cut();
    }
  });

  test("a cursor older than what retention purged is reset, and one that is newer is not", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann");
    const client = await open({ url: gateway.url, token });
    const old = client.cursor;
    let purged = 0;
    do {
      await send(sql, "user:ann", ["purged"]);
      await has(client, ++purged);
      // until no transaction of anybody's is open in it: one that ends later might have had rows that are purged
    } while (parseCursor(client.cursor)!.gaps.length > 0);
    const young = client.cursor;
    await purge(sql);
    await send(sql, "user:ann", ["kept"]);
    await has(client, purged + 1);
    await client.cut();
    const goneOn = await open({ url: gateway.url, token, since: young });
    await has(goneOn, 1);
    const resets = goneOn.told.filter(({ event }) => event === "reset");
    assert.deepEqual([titles(goneOn), resets], [["kept"], []]);
    const late = await open({ url: gateway.url, token, since: old });
    await late.until("a reset", () => late.told.some(({ event }) => event === "reset"));
    await send(sql, "user:ann", ["new"]);
    await has(late, 1);
    assert.deepEqual(titles(late), ["new"]);
    const reset = late.told.find((told) => told.event === "reset");
    assert.equal(reset?.reason, "retention");
    await Promise.all([late.cut(), goneOn.cut()]);
  });

  test("a cursor that no gateway can have given is reset", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const token = await gateway.token("ann");
    const client = await open({ url: gateway.url, token });
    const [epoch, xmax] = client.cursor.split("-");
    await client.cut();
    const late = await open({ url: gateway.url, token, since: `${epoch}-${Number(xmax) + 1_000_000}` });
    await late.until("a reset", () => late.told.some(({ event }) => event === "reset"));
    await send(database.sql, "user:ann", ["new"]);
    await has(late, 1);
    assert.equal(late.told.find((told) => told.event === "reset")?.reason, "unknown");
    await late.cut();
  });

  test("whoever is cut before the reset came gets it when coming back with what was there before", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const token = await gateway.token("ann");
    const since = "otherepoch-1000";
    const client = await open({ url: gateway.url, token, since });
    await client.until("a reset", () => client.told.some(({ event }) => event === "reset"));
    await client.cut();
    const welcome = client.told.find((told) => told.event === "welcome");
    const first = client.told.findIndex((told) => told.event === "reset");
    const safe = welcome?.cursor === since ||
      first < client.told.findIndex((told) => told.event === "welcome");
    assert.ok(safe, JSON.stringify(client.told));
  });

  test("several topics come in one order; those of others do not come", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann", { subscribe: ["climb:**", "news"] });
    const topics = ["climb:route:12", "news"];
    const live = await open({ url: gateway.url, token, topics });
    for (let round = 0; round < 40; round++) {
      for (const topic of ["user:ann", "all", "climb:route:12", "climb:route:13", "news", "user:bob"]) {
        await send(sql, topic, [`${topic} ${round}`]);
      }
    }
    const mine = Array.from(
      { length: 40 },
      (_, round) => ["user:ann", "all", "climb:route:12", "news"].map((topic) => `${topic} ${round}`),
    ).flat();
    await has(live, mine.length);
    assert.deepEqual(titles(live), mine);
    const late = await open({ url: gateway.url, token, topics, since: "earliest" });
    await has(late, mine.length);
    assert.deepEqual(titles(late), mine);
    await Promise.all([live.cut(), late.cut()]);
  });

  test("topics that the token does not allow are refused by name", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const token = await gateway.token("ann", { subscribe: ["climb:*"] });
    for (const topic of ["user:bob", "climb:route:12", "tidings:x"]) {
      await assert.rejects(open({ url: gateway.url, token, topics: ["climb:12", topic] }), (error) => {
        assert.ok(error instanceof Refused, String(error));
        assert.equal(error.problem.code, "forbidden");
        assert.deepEqual(error.problem.errors?.map(({ field }) => field), ["topics"]);
        assert.match(error.problem.errors?.[0]?.message ?? "", new RegExp(`"${topic}"`));
        return true;
      });
    }
  });

  test("what cannot be read is refused by name: since, topics, the token", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const token = await gateway.token("ann");
    const refused = async (request: Partial<Parameters<typeof open>[0]>) => {
      const error = await open({ url: gateway.url, token, ...request }).then(
        () => assert.fail(),
        (error) => error,
      );
      assert.ok(error instanceof Refused, String(error));
      return [error.problem.code, error.problem.errors?.[0]?.field];
    };
    assert.deepEqual(await refused({ since: "yesterday" }), ["invalid_request", "since"]);
    assert.deepEqual(await refused({ topics: ["a b"] }), ["invalid_request", "topics"]);
    assert.deepEqual(
      await refused({ topics: Array.from({ length: 101 }, (_, n) => `t${n}`) }),
      ["invalid_request", "topics"],
    );
    assert.deepEqual(await refused({ token: "x" }), ["invalid_token", undefined]);
    assert.equal((await refused({ token: await gateway.token("ann", {}, -10) }))[0], "token_expired");
  });

  test("every field arrives as it was sent, and what was not sent is not there", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann");
    const live = await open({ url: gateway.url, token });
    const data =
      `{"n": 12345678901234567890, "f": 0.10, "e": 1e400, "s": "\\u2028 \\\\ \\" </script> \\ud83e\\udd8a", "": [null, {}]}`;
    const text = 'line\r\nline\n\ndata: x\tπ 🦊 \u2028 \\ " \u0001';
    const [sent] = await sql`
      select tidings.send(topic => 'user:ann', title => ${text}, body => ${text}, type => 'match.found', link => '/a?b=ü&c',
        data => ${data}::text::jsonb, sender => 'bob', priority => 'high', collapse_key => 'k', dedupe_key => 'd',
        ttl => '1 hour') as id`;
    await sql`select tidings.send('user:ann')`;
    await sql`select tidings.send('user:ann', data => 'null', transient => true)`;
    await sql`select tidings.send('user:ann', title => '', body => '', data => '0')`;
    await has(live, 4);
    const late = await open({ url: gateway.url, token, since: "earliest" });
    await has(late, 4);
    for (const client of [live, late]) {
      const [full, bare, passing, empty] = client.received.map(({ item }) => item);
      const { createdAt, expiresAt, data: _, ...rest } = full!;
      assert.deepEqual(rest, {
        id: sent!.id,
        topic: "user:ann",
        type: "match.found",
        title: text,
        body: text,
        link: "/a?b=ü&c",
        sender: "bob",
        priority: "high",
        collapseKey: "k",
      });
      const [row] = await sql`
        select data::text, to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as created,
          to_char(expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as expires
        from tidings.notification where id = ${sent!.id}`;
      assert.deepEqual([createdAt, expiresAt], [row!.created, row!.expires]);
      assert.ok(client.raw.join("\n").includes(`"data":${row!.data},`), "the digits of data");
      assert.deepEqual(Object.keys(bare!).sort(), ["createdAt", "id", "topic", "type"]);
      assert.equal(bare!.type, "notification");
      assert.deepEqual(Object.keys(passing!).sort(), [
        "createdAt",
        "data",
        "expiresAt",
        "id",
        "topic",
        "transient",
        "type",
      ]);
      assert.deepEqual([passing!.data, passing!.transient], [null, true]);
      assert.deepEqual([empty!.title, empty!.body, empty!.data], ["", "", 0]);
      await client.cut();
    }
  });

  test("a session ends with its token, and a fresh token goes on from its cursor", async () => {
    await using database = await testDatabase();
    const clock = jumpClock();
    await using gateway = await startGateway(database, { clock });
    const { sql } = database;
    const client = await open({ url: gateway.url, token: await gateway.token("ann", {}, 20) });
    const lasting = await open({ url: gateway.url, token: await gateway.token("ann", {}, 6_000) });
    await send(sql, "user:ann", ["a"]);
    await has(client, 1);
    await clock.jump(21_000);
    await client.until("an error", () => client.told.some(({ event }) => event === "error"));
    const error = client.told.find((told) => told.event === "error");
    assert.equal(error?.problem.code, "token_expired");
    await client.cut();
    await send(sql, "user:ann", ["b"]);
    await has(lasting, 2);
    assert.deepEqual(titles(client), ["a"]);
    const token = await gateway.token("ann", {}, 20);
    const fresh = await open({ url: gateway.url, token, since: client.cursor });
    await has(fresh, 1);
    assert.deepEqual(titles(fresh), ["b"]);
    await Promise.all([fresh.cut(), lasting.cut()]);
  });

  inboxConformance({ name, open });

  test("100,000 missed notifications come in pages, in order, each once", async () => {
    await using database = await testDatabase();
    const { sql } = database;
    await many(sql, "user:ann", 60_000);
    await many(sql, "user:bob", 1_000);
    await many(sql, "user:ann", 40_000, 60_000);
    // begun after it all, the gateway has nothing of it in memory
    let largest = 0;
    await using gateway = await startGateway(database, {
      store: (store) => ({
        ...store,
        async readTopics(...request) {
          const page = await store.readTopics(...request);
          largest = Math.max(largest, page.rows.length);
          return page;
        },
      }),
    });
    const token = await gateway.token("ann");
    const client = await open({ url: gateway.url, token, since: "earliest" });
    await has(client, 100_000);
    await client.cut();
    assert.deepEqual(titles(client), numbers(100_000));
    assert.equal(new Set(client.received.map(({ item }) => item.id)).size, 100_000);
    assert.ok(largest > 0 && largest <= 500, `a page of ${largest}`);
  });
}

/** Sends, in one statement each. */
export async function send(sql: Sql, topic: string, all: readonly string[]): Promise<void> {
  for (const title of all) await sql`select tidings.send(${topic}, ${title})`;
}

/** Inserts rows whose titles count up from `from`, in one transaction. */
export async function many(sql: Sql, topic: string, count: number, from = 0): Promise<void> {
  await sql`insert into tidings.notification (topic, title)
            select ${topic}, n::text from generate_series(${from}::int, ${from + count - 1}::int) n`;
}

/** What {@link many} writes into titles. */
export function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, n) => String(n));
}

/** What retention does: everything there is goes. */
async function purge(sql: Sql): Promise<void> {
  await sql`with gone as (delete from tidings.notification returning xid)
            update tidings.history set horizon = (select max(xid::text::bigint)::text::xid8 from gone)`;
}

/** Waits for so many items. */
export function has(client: Client, count: number): Promise<void> {
  return client.until(`${count} items`, () => client.received.length >= count);
}
