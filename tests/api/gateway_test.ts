import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";
import { testCluster, testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";

Deno.test("what one gateway took over HTTP arrives at a client of another, as it was sent", async () => {
  await using database = await testDatabase();
  await using here = await startGateway(database);
  await using there = await startGateway(database);
  const token = await here.token("ann", { publish: ["**"], subscribe: ["**"] });
  const headers = { authorization: `Bearer ${token}` };
  const start = await (await fetch(`${there.url}/v1/feed?wait=0`, { headers })).json();
  const sent = await fetch(`${here.url}/v1/notifications`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify([
      {
        to: "user:ann",
        type: "match.found",
        title: "Größe ✓",
        data: { n: 1.5 },
        priority: "high",
        ttl: "1h",
      },
      { to: "all", body: "x", transient: true },
    ]),
  });
  const { ids } = await sent.json();
  assert.equal(sent.status, 201);
  const { items } = await (await fetch(`${there.url}/v1/feed?since=${start.cursor}&wait=10`, { headers }))
    .json();
  assert.equal(items.length, 2);
  const [{ createdAt, expiresAt, ...first }, { createdAt: _c, expiresAt: _e, ...second }] = items;
  assert.deepEqual(first, {
    id: ids[0],
    topic: "user:ann",
    type: "match.found",
    title: "Größe ✓",
    data: { n: 1.5 },
    sender: "ann",
    priority: "high",
  });
  assert.deepEqual(second, {
    id: ids[1],
    topic: "all",
    type: "notification",
    body: "x",
    sender: "ann",
    transient: true,
  });
  assert.ok(Math.abs(Date.parse(expiresAt) - Date.parse(createdAt) - 3_600_000) < 1_000);
});

Deno.test("publish over a WebSocket keeps to the same rules as POST /v1/notifications", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("ann", { publish: ["user:*"] });
  const socket = new WebSocket(`${gateway.url.replace("http", "ws")}/v1/feed`, {
    headers: { authorization: `Bearer ${token}` },
  });
  const frames: Record<string, unknown>[] = [];
  socket.on("message", (data) => frames.push(JSON.parse(String(data))));
  // deno-lint-ignore no-explicit-any -- frames are looked into field by field
  const answer = async (ref: string): Promise<any> => {
    for (;;) {
      const found = frames.find((frame) => frame["ref"] === ref);
      if (found !== undefined) return found;
      await once(socket, "message");
    }
  };
  await once(socket, "open");
  const publish = (ref: string, publication: object) => {
    socket.send(JSON.stringify({ op: "publish", ref, ...publication }));
    return answer(ref);
  };
  const ok = await publish("1", { to: ["user:ann", "user:bob"], title: "hi" });
  assert.equal(ok.op, "ok");
  assert.equal(ok.ids.length, 2);
  const invalid = await publish("2", { to: "user:ann", titel: "hi" });
  assert.equal(invalid.problem.code, "invalid_request");
  assert.deepEqual(invalid.problem.errors, [{ field: "titel", message: "is not a known field" }]);
  const forbidden = await publish("3", { to: "all" });
  assert.equal(forbidden.problem.code, "forbidden");
  assert.equal(forbidden.problem.errors[0].field, "to");
  const rows = await database.sql`select id, topic, sender from tidings.notification order by id`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [
    { id: ok.ids[0], topic: "user:ann", sender: "ann" },
    { id: ok.ids[1], topic: "user:bob", sender: "ann" },
  ]);
  socket.close();
  await once(socket, "close");
});

Deno.test("a gateway is ready while it reads the log, and says so when the database is gone", async () => {
  await using cluster = await testCluster();
  await using gateway = await startGateway({ url: cluster.url() });
  const token = await gateway.token("ann", { publish: ["**"] });
  const ready = async () => {
    const response = await fetch(`${gateway.url}/readyz`);
    return [response.status, (await response.json()).ok];
  };
  assert.deepEqual(await ready(), [200, true]);
  await cluster.stop();
  let state = await ready();
  while (state[0] === 200) state = await ready();
  assert.deepEqual(state, [503, false]);
  // what is sent now waits for the database to come back
  const sending = fetch(`${gateway.url}/v1/topics/user:ann`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "idempotency-key": "k" },
    body: "patience",
  });
  await cluster.start();
  while (state[0] !== 200) state = await ready();
  const sent = await sending;
  assert.equal(sent.status, 201);
  assert.equal((await sent.json()).ids.length, 1);
});
