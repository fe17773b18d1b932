import assert from "node:assert/strict";
import { VERSION } from "../../src/version.ts";
import { testCluster, testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { connectStomp, stompUrl } from "../helpers/stomp.ts";
import { dial } from "../helpers/websocket.ts";

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
  await using socket = await dial(gateway.url, { headers: { authorization: `Bearer ${token}` } });
  // deno-lint-ignore no-explicit-any -- frames are looked into field by field
  const publish = (publication: object): Promise<any> => socket.ask({ op: "publish", ...publication });
  const ok = await publish({ to: ["user:ann", "user:bob"], title: "hi" });
  assert.equal(ok.op, "ok");
  assert.equal(ok.ids.length, 2);
  const invalid = await publish({ to: "user:ann", titel: "hi" });
  assert.equal(invalid.problem.code, "invalid_request");
  assert.deepEqual(invalid.problem.errors, [{ field: "titel", message: "is not a known field" }]);
  const forbidden = await publish({ to: "all" });
  assert.equal(forbidden.problem.code, "forbidden");
  assert.equal(forbidden.problem.errors[0].field, "to");
  const rows = await database.sql`select id, topic, sender from tidings.notification order by id`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [
    { id: ok.ids[0], topic: "user:ann", sender: "ann" },
    { id: ok.ids[1], topic: "user:bob", sender: "ann" },
  ]);
});

Deno.test("a page of an allowed origin may read every header that an answer has for it", async () => {
  await using database = await testDatabase();
  const origin = "https://app.example.com";
  await using gateway = await startGateway(database, { env: { TIDINGS_ALLOWED_ORIGINS: origin } });
  const token = await gateway.token("ann", { publish: ["**"] });
  const call = async (path: string, init: RequestInit = {}, authorization = `Bearer ${token}`) => {
    const headers = { origin, authorization, "idempotency-key": "k", ...init.headers };
    const response = await fetch(`${gateway.url}${path}`, { ...init, headers });
    await response.body?.cancel();
    return response;
  };
  const send = () => call("/v1/topics/user:ann", { method: "POST", body: "x" });
  const answers: [() => Promise<Response>, string][] = [
    [() => send().then(send), "idempotent-replayed"],
    [send, "x-request-id"],
    [() => call("/v1/feed?wait=0"), "etag"],
    [() => call("/v1/feed", {}, "Bearer x"), "www-authenticate"],
    [() => call("/v1/feed", { method: "DELETE" }), "allow"],
    [() => call("/v1/feed", { headers: { accept: "text/event-stream" } }), "x-request-id"],
  ];
  for (const [ask, name] of answers) {
    const { headers, status } = await ask();
    assert.ok(headers.has(name), `${name} of ${status}`);
    assert.equal(headers.get("access-control-allow-origin"), origin);
    assert.ok(headers.get("access-control-expose-headers")?.toLowerCase().split(",").includes(name), name);
  }
});

Deno.test("numbers in data keep their digits on every way in and out", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("ann", { publish: ["**"] });
  const headers = { authorization: `Bearer ${token}` };
  const data = '{"n":[12345678901234567890, 1.50]}';
  const stored = '{"n": [12345678901234567890, 1.50]}';
  await using socket = await dial(gateway.url, { headers });
  await socket.next("welcome");
  let raw = "";
  const all = Promise.withResolvers<void>();
  socket.socket.on("message", (frame) => {
    raw += String(frame);
    if (raw.split(stored).length > 4) all.resolve();
  });
  await using stomp = await connectStomp(stompUrl(gateway.url), token);
  await stomp.subscribe("/user/queue/notification");
  const text = await fetch(`${gateway.url}/v1/notifications`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: `{"to":"user:ann","data":${data}}`,
  });
  assert.equal(text.status, 201, await text.text());
  socket.say(`{"op":"publish","ref":"p","to":"user:ann","data":${data}}`);
  await socket.next("ok");
  await stomp.publish("/topic/user:ann", `{"title":"t","ttl":60.0,"data":${data}}`);
  await stomp.publish("/topic/user:ann", data);
  const rows = await database.sql`select data::text from tidings.notification`;
  assert.deepEqual(rows.map((row) => row.data), [stored, stored, stored, stored]);

  for (const message of await stomp.messages.take(4)) assert.ok(message.body.includes(stored), message.body);
  await Promise.race([all.promise, socket.closed]);
  assert.equal(raw.split(stored).length, 5);
  const read = async (path: string) => await (await fetch(`${gateway.url}${path}`, { headers })).text();
  assert.equal((await read("/v1/feed?since=earliest&wait=0")).split(stored).length, 5);
  // not as the database wrote it, but with its digits
  const compact = data.replace(", ", ",");
  assert.equal((await read("/v1/inbox")).split(compact).length, 5);

  const planned = await fetch(`${gateway.url}/v1/schedules`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: `{"to":"user:ann","cron":"0 0 1 1 *","ttl":60.0,"data":${data}}`,
  });
  assert.equal(planned.status, 201);
  const [id] = (await planned.json()).ids;
  for (const path of ["/v1/schedules", `/v1/schedules/${id}`]) {
    const shown = await read(path);
    assert.ok(shown.includes(`"data":${compact}`) && shown.includes('"ttl":60,'), shown);
  }
});

Deno.test("operators see sessions by transport, what was read and sent, resets, the bell, memory and the version", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("root", { publish: ["**"], admin: true });
  const headers = { authorization: `Bearer ${token}` };
  const { metric } = gateway;
  {
    await using socket = await dial(gateway.url, { headers });
    await socket.next("welcome");
    assert.equal(await metric('tidings_sessions{transport="websocket"}'), 1);
    for (let time = 0; time < 2; time++) {
      const sent = await fetch(`${gateway.url}/v1/topics/user:root`, {
        method: "POST",
        headers: { ...headers, "idempotency-key": "k" },
        body: "x",
      });
      await sent.body?.cancel();
    }
    await socket.next("items");
  }
  const gone = await fetch(`${gateway.url}/v1/feed?since=other-1&wait=0`, { headers });
  assert.equal(gone.status, 409);
  await gone.body?.cancel();
  assert.equal(await metric("tidings_published_total"), 1);
  // with the inbox's own row
  assert.ok(await metric("tidings_log_rows_total") >= 1);
  assert.equal(await metric('tidings_resets_total{reason="history"}'), 1);
  assert.equal(await metric('tidings_resets_total{reason="retention"}'), 0);
  assert.equal(await metric("tidings_log_failures_total"), 0);
  assert.equal(await metric(`tidings_info{version="${VERSION}"}`), 1);
  assert.ok(await metric("process_resident_memory_bytes") > 1e6);
  while (await metric("tidings_bell_heard") !== 1);
  while (await metric('tidings_sessions{transport="websocket"}') !== 0);
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
