import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { pushApp } from "./push_app.ts";

Deno.test("PUT /v1/digests makes and replaces a rule, GET lists them, DELETE removes one, all for administrators only", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, []);
  const likes = { type: "liked", within: "10m", title: "{count} likes on your post" };
  const made = await ask("PUT /v1/digests", "!root", likes);
  assert.deepEqual(made, { status: 200, body: { ...likes, within: 600 } });
  const room = { topic: "room:1", within: 1.5, title: "{count} news", body: "In room 1" };
  await ask("PUT /v1/digests", "!root", room);
  await ask("PUT /v1/digests", "!root", { ...likes, within: "1h30m", title: "{count}" });
  const both = { type: "liked", topic: "room:1", within: 1, title: "both" };
  await ask("PUT /v1/digests", "!root", both);
  assert.deepEqual((await ask("GET /v1/digests", "!root")).body.items, [
    room,
    { type: "liked", within: 5_400, title: "{count}" },
    both,
  ]);
  assert.equal((await ask("DELETE /v1/digests?type=liked", "!root")).status, 204);
  assert.equal((await ask("DELETE /v1/digests?type=liked", "!root")).status, 404);
  assert.deepEqual((await ask("GET /v1/digests", "!root")).body.items, [room, both]);
  for (const call of ["GET /v1/digests", "DELETE /v1/digests?type=liked"]) {
    const { status, body } = await ask(call, "ann");
    assert.deepEqual([status, body.code], [403, "forbidden"]);
  }
  assert.equal((await ask("PUT /v1/digests", "ann", likes)).status, 403);
});

Deno.test("a digest rule that is no good is refused with the field's name", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, []);
  const rule = { type: "liked", within: "10m", title: "{count}" };
  const wrong: [Record<string, unknown>, string, RegExp][] = [
    [{ ...rule, type: undefined }, "type", /a type, a topic, or both/],
    [{ ...rule, type: "a b" }, "type", /letters, digits/],
    [{ ...rule, type: "tidings.inbox" }, "type", /gateway's own/],
    [{ ...rule, topic: "a b" }, "topic", /./],
    [{ ...rule, within: "soon" }, "within", /expected a duration/],
    [{ ...rule, within: "8d" }, "within", /1 second to 7 days/],
    [{ ...rule, within: "10ms" }, "within", /1 second to 7 days/],
    [{ ...rule, within: 0 }, "within", /1 second to 7 days/],
    [{ ...rule, within: undefined }, "within", /expected seconds/],
    [{ ...rule, title: "" }, "title", /1 to 1000/],
    [{ ...rule, title: "x".repeat(1_001) }, "title", /1 to 1000/],
    [{ ...rule, body: "x".repeat(4_001) }, "body", /1 to 4000/],
    [{ ...rule, window: "10m" }, "window", /not a known field/],
  ];
  for (const [input, field, reason] of wrong) {
    const { status, body } = await ask("PUT /v1/digests", "!root", input);
    assert.equal(status, 400, JSON.stringify(input));
    assert.equal(body.errors[0].field, field, JSON.stringify(body));
    assert.match(body.errors[0].message, reason);
  }
  const { status, body } = await ask("DELETE /v1/digests", "!root");
  assert.deepEqual([status, body.errors[0].field], [400, "type"]);
  assert.deepEqual((await ask("GET /v1/digests", "!root")).body.items, []);
});
