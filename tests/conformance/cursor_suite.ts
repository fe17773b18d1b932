/**
 * What every transport has to keep of cursors: where a client begins, and that it goes on without loss or repetition.
 * @module
 */
import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { has, type Suite, titles } from "./client.ts";
import { many, numbers, send } from "./rows.ts";

/** Declares the tests for a transport. */
export function cursorConformance({ test, open }: Suite): void {
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
