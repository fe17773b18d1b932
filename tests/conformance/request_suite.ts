/**
 * What every transport has to keep of what a client asks for: its topics, its rights, and for how long.
 * @module
 */
import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { has, Refused, type Suite, titles } from "./client.ts";
import { send } from "./rows.ts";

/** Declares the tests for a transport. */
export function requestConformance({ test, open }: Suite): void {
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
}
