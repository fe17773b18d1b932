/**
 * What every transport has to keep when a cursor cannot be gone on from: the client is told, and why.
 * @module
 */
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { parseCursor } from "../../src/log/cursor.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { has, type Suite, titles } from "./client.ts";
import { send } from "./rows.ts";

/** Declares the tests for a transport. */
export function resetConformance({ test, open }: Suite): void {
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
}

/** What retention does: everything there is goes. */
async function purge(sql: Sql): Promise<void> {
  await sql`with gone as (delete from tidings.notification returning xid)
            update tidings.history set horizon = (select max(xid::text::bigint)::text::xid8 from gone)`;
}
