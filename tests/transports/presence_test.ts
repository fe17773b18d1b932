import assert from "node:assert/strict";
import type { Client } from "../conformance/client.ts";
import { longpoll } from "../conformance/longpoll.ts";
import { sse } from "../conformance/sse.ts";
import { stomp } from "../conformance/stomp.ts";
import { openWebSocket, websocket } from "../conformance/websocket.ts";
import { ask } from "../helpers/ask.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway, type TestGateway } from "../helpers/gateway.ts";
import { RawStomp, stompUrl } from "../helpers/stomp.ts";

const env = { TIDINGS_PRESENCE: "on" };
const ROOM = { subscribe: ["room:*"], publish: ["room:*"] };

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
  const { body } = await ask(one, await one.token("ann", ROOM), "GET /v1/topics/room:1/presence");
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

/** What a client was told of a person, without the words that all have in common. */
function toldOf(client: Client, user: string): string[] {
  return client.received.map(({ item }) => item)
    .filter(({ data }) => (data as { user: string } | undefined)?.user === user)
    .map(({ type }) => type.replace("tidings.", ""));
}

Deno.test("every transport watches: own coming, who joins, who leaves, each once, and what happened while it was away", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database, { env: { ...env, TIDINGS_PRESENCE_GRACE: "1s" } });
  await using other = await startGateway(database, { env: { ...env, TIDINGS_PRESENCE_GRACE: "1s" } });
  const room = { topics: ["room:1"] };
  const people = async () => {
    const { body } = await ask(one, await one.token("judge", ROOM), "GET /v1/topics/room:1/presence");
    return body.people.map((person: { user: string }) => person.user).join();
  };
  const until = async (expected: string) => {
    while (await people() !== expected) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  const adapters = [websocket, sse, longpoll, stomp];
  const watch = (since?: string[]) =>
    Promise.all(adapters.map(async ({ name, open }, index) => {
      const token = await one.token(name.toLowerCase(), ROOM);
      const from = since?.[index];
      const place = from === undefined ? {} : { since: from };
      return await open({ url: one.url, token, ...room, presence: true, ...place });
    }));
  const tab = async (gateway: TestGateway, user: string) =>
    await openWebSocket({ url: gateway.url, token: await gateway.token(user, ROOM), ...room });

  let watchers = await watch();
  for (const [index, client] of watchers.entries()) {
    const name = adapters[index]!.name.toLowerCase();
    await client.until("its own join", () => toldOf(client, name).length > 0);
    assert.deepEqual(toldOf(client, name), ["join"]);
  }
  const tabs = [await tab(other, "kim"), await tab(other, "kim"), await tab(one, "kim")];
  for (const client of watchers) await client.until("kim's join", () => toldOf(client, "kim").length > 0);
  for (const client of watchers) await client.cut();
  for (const client of watchers) assert.deepEqual(toldOf(client, "kim"), ["join"]);
  await until("kim");
  for (const each of tabs) await each.cut();
  const bob = await tab(other, "bob");
  await until("bob");
  watchers = await watch(watchers.map(({ cursor }) => cursor));
  for (const client of watchers) {
    await client.until("what happened meanwhile", () => toldOf(client, "bob").length > 0);
    await client.until("what happened meanwhile", () => toldOf(client, "kim").length > 0);
    assert.deepEqual([toldOf(client, "kim"), toldOf(client, "bob")], [["leave"], ["join"]]);
  }
  for (const client of [...watchers, bob]) await client.cut();
});

Deno.test("presence on a feed is true or false, names what to watch, and is refused where nothing can be told", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, { env });
  await using without = await startGateway(database);
  const token = await gateway.token("ann", ROOM);
  const cases: [TestGateway, string][] = [
    [gateway, "?presence=true&wait=1"],
    [gateway, "?presence=yes&topics=room:1&wait=1"],
    [gateway, "?presence=true&topics=room:1&wait=0"],
    [gateway, `?presence=true&topics=room:${"x".repeat(190)}&wait=1`],
    [without, "?presence=true&topics=room:1&wait=1"],
  ];
  for (const [asked, query] of cases) {
    const { status, body } = await ask(asked, token, `GET /v1/feed${query}`);
    assert.deepEqual([status, body.code, body.errors[0].field], [400, "invalid_request", "presence"], query);
  }
  for (const headers of [{ presence: "yes" }, { presence: "true", destination: "/user/queue/x" }]) {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    client.send("SUBSCRIBE", { id: "a", destination: "/topic/room.1", ...headers });
    assert.equal(JSON.parse((await client.frames.next()).body).errors[0].field, "presence");
  }
  const elsewhere = await ask(gateway, token, "GET /v1/feed?presence=true&topics=other&wait=1");
  assert.deepEqual([elsewhere.status, elsewhere.body.code], [403, "forbidden"]);
});

Deno.test("who may no longer read a topic is no longer in it, and hears no more of who is", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, { env: { ...env, TIDINGS_PRESENCE_GRACE: "1s" } });
  const watch = async (user: string) =>
    await openWebSocket({
      url: gateway.url,
      token: await gateway.token(user, ROOM),
      topics: ["room:1"],
      presence: true,
    });
  const ann = await watch("ann");
  const bob = await watch("bob");
  await using kim = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("kim", ROOM));
  await kim.confirm("SUBSCRIBE", {
    id: "a",
    destination: "/topic/room.1",
    presence: "true",
    durable: "false",
  });
  for (const user of ["bob", "kim"]) await database.sql`select tidings.revoke(${user}, 'room:1')`;
  for (const user of ["bob", "kim"]) {
    await ann.until(`${user}'s leave`, () => toldOf(ann, user).includes("leave"));
  }
  const heard = kim.messages.all.length;
  const dora = await watch("dora");
  await ann.until("dora's join", () => toldOf(ann, "dora").length > 0);
  await database.sql`select tidings.send('user:bob', 'last'), tidings.send('user:ann', 'last')`;
  await bob.until("the last", () => bob.received.some(({ item }) => item.title === "last"));
  await kim.confirm("BEGIN", { transaction: "t" });
  assert.deepEqual([toldOf(bob, "dora"), kim.messages.all.length], [[], heard]);
  for (const client of [ann, bob, dora]) await client.cut();
});

Deno.test("who is here is told to whoever may subscribe, to others not; only the count where it is asked for", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, { env });
  const token = await gateway.token("ann", ROOM);
  const ann = await openWebSocket({ url: gateway.url, token, topics: ["room:1"] });
  await ann.ask({ op: "subscribe", topics: ["room:2"], presence: true });
  await ann.until("her own join", () => ann.received.length > 0);
  const { item } = ann.received[0]!;
  assert.deepEqual([item.type, item.topic, item.data, item.transient], [
    "tidings.join",
    "tidings:presence:room:2",
    { topic: "room:2", user: "ann" },
    true,
  ]);
  const counted = await ask(gateway, token, "GET /v1/topics/all/presence?count=true");
  assert.deepEqual(counted, { status: 200, body: { topic: "all", count: 1 } });
  const { body } = await ask(gateway, token, "GET /v1/topics/user:ann/presence");
  assert.match(body.people[0].since, /^\d{4}-\d\d-\d\dT/);
  assert.equal((await ask(gateway, token, "GET /v1/topics/user:bob/presence")).status, 403);
  // in a topic with very many people only their number is told
  await database
    .sql`insert into tidings.presence (topic, user_id) select 'room:2', 'u' || n from generate_series(1, 1000) n`;
  assert.deepEqual((await ask(gateway, token, "GET /v1/topics/room:2/presence")).body, {
    topic: "room:2",
    count: 1_001,
  });
  assert.equal((await ask(gateway, token, "GET /v1/topics/a%20b/presence")).status, 400);
  assert.equal((await ask(gateway, token, "GET /v1/topics/all/presence?count=x")).status, 400);
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
