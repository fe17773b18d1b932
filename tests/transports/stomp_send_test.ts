import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { connectStomp, RawStomp, stompUrl } from "../helpers/stomp.ts";

const TALK = { subscribe: ["room:*"], publish: ["room:*", "user:*"] };

Deno.test("SEND publishes what the token allows: to a topic, to one person, transient, answered when committed", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const url = stompUrl(gateway.url);
  await using kim = await connectStomp(url, await gateway.token("kim", TALK));
  await using mina = await connectStomp(url, await gateway.token("mina", TALK));
  await mina.subscribe("/user/queue/call");
  await mina.subscribe("/topic/room.1");
  await kim.publish("/user/mina/queue/call", JSON.stringify({ type: "offer", sdp: "v=0" }), {
    type: "call",
    transient: "true",
  });
  await kim.publish("/publish/room/1", "hello");
  await kim.publish("/app/room.1", JSON.stringify({ title: "t", body: "b", link: "/x" }));
  const rows = await database
    .sql`select topic, body, sender from tidings.notification where topic like 'room:%' order by id`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [
    { topic: "room:1", body: "hello", sender: "kim" },
    { topic: "room:1", body: "b", sender: "kim" },
  ]);
  const [call, hello, both] = (await mina.messages.take(3)).map((message) => JSON.parse(message.body));
  assert.deepEqual([call.type, call.data, call.transient, call.sender], [
    "call",
    { type: "offer", sdp: "v=0" },
    true,
    "kim",
  ]);
  assert.equal(hello.body, "hello");
  assert.deepEqual([both.title, both.body, both.link], ["t", "b", "/x"]);
});

Deno.test("SEND where the token does not allow it, or with wrong fields, ends with an ERROR that names it", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const cases: [Record<string, string>, string, string, number][] = [
    [{ destination: "/topic/other" }, "x", "forbidden", 4503],
    [{ destination: "/user/queue/x" }, "x", "forbidden", 4503],
    [{ destination: "/topic/room.1", type: "tidings.join" }, "x", "invalid_request", 4500],
    [{ destination: "/nowhere" }, "x", "invalid_request", 4500],
  ];
  const token = await gateway.token("42", { subscribe: [], publish: ["room:*"] });
  for (const [headers, body, code, close] of cases) {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    client.send("SEND", { ...headers, receipt: "r" }, body);
    const error = await client.frames.next();
    assert.deepEqual([error.command, error.headers["code"], error.headers["receipt-id"]], [
      "ERROR",
      code,
      "r",
    ]);
    assert.equal((await client.closed.next()).code, close);
  }
  const [row] = await database.sql`select count(*)::int as n from tidings.notification`;
  assert.equal(row!["n"], 0);
});

Deno.test("COMMIT sends all of a transaction at once or nothing of it; ABORT and a lost connection send nothing", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42", TALK);
  const count = async () =>
    (await database.sql`select count(*)::int as n, count(distinct xid)::int as x from tidings.notification`)[
      0
    ]!;
  const send = (client: RawStomp, destination: string) =>
    client.confirm("SEND", { destination, transaction: "t" }, "x");
  {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    await client.confirm("BEGIN", { transaction: "t" });
    for (let i = 0; i < 3; i++) await send(client, "/topic/room.1");
    assert.equal((await count())["n"], 0);
    await client.confirm("COMMIT", { transaction: "t" });
    assert.deepEqual({ ...(await count()) }, { n: 3, x: 1 });
    await client.confirm("BEGIN", { transaction: "t" });
    await send(client, "/topic/room.1");
    await client.confirm("ABORT", { transaction: "t" });
    await client.confirm("BEGIN", { transaction: "t" });
    await send(client, "/topic/room.1");
    await send(client, "/topic/forbidden");
    client.send("COMMIT", { transaction: "t" });
    assert.equal((await client.frames.next()).headers["code"], "forbidden");
    await client.closed.next();
  }
  {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    await client.confirm("BEGIN", { transaction: "t" });
    await send(client, "/topic/room.1");
  }
  assert.equal((await count())["n"], 3);
});

Deno.test("a session that publishes too fast is slowed down, and refused when it would take too long", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42", TALK));
  for (let i = 0; i < 50; i++) await client.confirm("SEND", { destination: "/topic/room.1" }, "x");
  await client.confirm("BEGIN", { transaction: "t" });
  for (let i = 0; i < 1_000; i++) {
    client.send("SEND", { destination: "/topic/room.1", transaction: "t" }, "x");
  }
  // waits for a full bucket, two and a half seconds at most, and leaves a debt of 950
  await client.confirm("COMMIT", { transaction: "t" });
  client.send("SEND", { destination: "/topic/room.1" }, "x");
  const error = await client.frames.next();
  assert.equal(error.headers["code"], "too_many_requests");
  const wait = Number(error.headers["retry-after"]);
  assert(wait > 30 && wait <= 48, `${wait} s`);
  assert.equal((await client.closed.next()).code, 4429);
});
