import assert from "node:assert/strict";
import { openWebSocket } from "../conformance/websocket.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway, type TestGateway } from "../helpers/gateway.ts";
import { RawStomp, stompUrl } from "../helpers/stomp.ts";

const env = { TIDINGS_PRESENCE: "on" };
const ROOM = { subscribe: ["room:*"], publish: ["room:*"] };

async function ask(gateway: TestGateway, path: string, token: string) {
  const response = await fetch(gateway.url + path, { headers: { authorization: `Bearer ${token}` } });
  return { status: response.status, body: await response.json() };
}

Deno.test("who watches a topic hears who joins and leaves it, on another gateway and another transport too", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database, { env });
  await using other = await startGateway(database, { env });
  const watcher = await openWebSocket({
    url: one.url,
    token: await one.token("ann", ROOM),
    topics: ["room:1"],
  });
  await watcher.ask({ op: "subscribe", topics: ["room:1"], presence: true });
  const bystander = await openWebSocket({
    url: one.url,
    token: await one.token("bob", ROOM),
    topics: ["room:1"],
  });
  const kim = await RawStomp.connect(stompUrl(other.url), await other.token("kim", ROOM));
  await kim.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.1", presence: "true" });
  const told = () =>
    watcher.received.map(({ item }) => `${item.type} ${(item.data as { user: string }).user}`);
  await watcher.until("kim's join", () => told().includes("tidings.join kim"));
  const { body } = await ask(one, "/v1/topics/room:1/presence", await one.token("ann", ROOM));
  assert.deepEqual([body.count, body.people.map((person: { user: string }) => person.user)], [3, [
    "ann",
    "bob",
    "kim",
  ]]);
  await kim[Symbol.asyncDispose]();
  await watcher.until("kim's leave", () => told().includes("tidings.leave kim"));
  assert.equal(told().filter((line) => line.endsWith("kim")).length, 2);
  assert(
    watcher.received.every(({ item }) => item.transient === true && item.topic === "tidings:presence:room:1"),
  );
  assert.equal(bystander.received.length, 0);
  await watcher.cut();
  await bystander.cut();
});

Deno.test("who is here is told to whoever may subscribe, to others not; only the count where it is asked for", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, { env });
  const token = await gateway.token("ann", ROOM);
  const ann = await openWebSocket({ url: gateway.url, token, topics: ["room:1"] });
  // Whether she is told of her own coming depends on which was first; that she is counted does not.
  const count = () => ask(gateway, "/v1/topics/all/presence?count=true", token);
  const end = performance.now() + 15_000;
  let counted = await count();
  while (counted.body.count !== 1 && performance.now() < end) counted = await count();
  assert.deepEqual(counted, { status: 200, body: { topic: "all", count: 1 } });
  const { body } = await ask(gateway, "/v1/topics/user:ann/presence", token);
  assert.match(body.people[0].since, /^\d{4}-\d\d-\d\dT/);
  assert.equal((await ask(gateway, "/v1/topics/user:bob/presence", token)).status, 403);
  assert.equal((await ask(gateway, "/v1/topics/a%20b/presence", token)).status, 400);
  assert.equal((await ask(gateway, "/v1/topics/all/presence?count=x", token)).status, 400);
  await ann.cut();
});

Deno.test("a session says what it is: who, where, since when, on what", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, { env });
  const token = await gateway.token("ann", ROOM);
  const ann = await openWebSocket({ url: gateway.url, token });
  await ann.ask({ op: "subscribe", topics: ["all"], presence: true });
  await using kim = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("kim", ROOM));
  await ann.until(
    "kim's join",
    () => ann.received.some(({ item }) => (item.data as { user: string }).user === "kim"),
  );
  const rows = await database.sql`select user_id, transport from tidings.session order by user_id`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [
    { user_id: "ann", transport: "websocket" },
    { user_id: "kim", transport: "stomp" },
  ]);
  await kim.confirm("BEGIN", { transaction: "t" });
  await ann.cut();
});

Deno.test("a WebSocket publishes within its token's rights, answered when committed, and no faster than its pace", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const kim = await openWebSocket({
    url: gateway.url,
    token: await gateway.token("kim", { publish: ["user:*"] }),
  });
  const mina = await openWebSocket({ url: gateway.url, token: await gateway.token("mina") });
  const sent = await kim.ask({
    op: "publish",
    to: "user:mina",
    type: "call",
    data: { sdp: "v=0" },
    transient: true,
  });
  assert.equal(sent.op, "ok");
  await mina.until("the call", () => mina.received.length === 1);
  assert.deepEqual([mina.received[0]!.item.sender, mina.received[0]!.item.transient], ["kim", true]);
  const refused = await kim.ask({ op: "publish", to: "all", title: "x" });
  assert(refused.op === "error" && refused.problem.code === "forbidden");
  const answers = await Promise.all(
    Array.from({ length: 60 }, () => kim.ask({ op: "publish", to: "user:mina", title: "x" })),
  );
  const codes = answers.map((answer) => answer.op === "error" ? answer.problem.code : answer.op);
  assert(codes.filter((code) => code === "ok").length >= 40, "the burst is let through");
  assert(new Set(codes).isSubsetOf(new Set(["ok", "too_many_requests"])), `${codes}`);
  await kim.cut();
  await mina.cut();
});
