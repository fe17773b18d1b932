import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import WebSocket from "ws";
import type { PushPayload } from "../../src/protocol.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import { ask } from "../helpers/ask.ts";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";
import { startGateway, type TestGateway } from "../helpers/gateway.ts";
import { decrypt, makeReceiver, type Receiver, subscriptionKeys } from "./decrypt.ts";
import { type FakeService, fakeService, type Received } from "./fake_service.ts";

/** A gateway, the push service that it pushes to, and the first push that arrives there. */
interface Scene {
  database: TestDatabase;
  service: FakeService;
  gateway: TestGateway;
  arrived: Promise<void>;
}

/** Declares a test of a gateway that pushes to a service of the test's. */
function pushes(name: string, run: (scene: Scene) => Promise<void>): void {
  Deno.test(`gateway: ${name}`, async () => {
    await using database = await testDatabase();
    await using service = await fakeService();
    const { publicKey, privateKey } = makeVapidKeys();
    await using gateway = await startGateway(database, {
      env: {
        TIDINGS_VAPID_PUBLIC_KEY: publicKey,
        TIDINGS_VAPID_PRIVATE_KEY: privateKey,
        TIDINGS_VAPID_SUBJECT: "mailto:a@b.example",
        TIDINGS_PUSH_HOSTS: service.origin,
      },
    });
    await run({ database, service, gateway, arrived: service.next() });
  });
}

/** Registers a browser at the push service; what it will receive with, and the gateway's answer. */
async function register({ gateway, service }: Scene, token: string, path: string) {
  const receiver = await makeReceiver();
  const answer = await ask(gateway, token, "PUT /v1/devices/browser", {
    kind: "webpush",
    endpoint: `${service.origin}${path}`,
    expirationTime: null,
    keys: subscriptionKeys(receiver),
  });
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return { receiver, answer };
}

/** What a push says to whom it is for. */
async function payloadOf({ body }: Received, receiver: Receiver): Promise<PushPayload> {
  return JSON.parse(new TextDecoder().decode(await decrypt(body, receiver)));
}

pushes(
  "a browser registers, a notification is sent, its push service gets it, and the metrics tell",
  async (scene) => {
    const { service, gateway, arrived } = scene;
    const token = await gateway.token("ann", { publish: ["user:*"], admin: true });
    const { body: key } = await ask(gateway, token, "GET /v1/devices/key");
    assert.equal(key.applicationServerKey.length, 87);
    const { receiver, answer: registered } = await register(scene, token, "/1");
    const sent = await ask(gateway, token, "POST /v1/notifications", {
      to: "user:ann",
      title: "Hello",
      push: true,
    });
    assert.equal(sent.status, 201, JSON.stringify(sent.body));
    await arrived;
    assert.equal((await payloadOf(service.received[0]!, receiver)).item.title, "Hello");
    const shown = await fetch(`${gateway.url}/v1/worker/shown`, {
      method: "POST",
      headers: { "tidings-device": registered.body.token, "content-type": "application/json" },
      body: JSON.stringify({ ids: sent.body.ids }),
    });
    assert.equal(shown.status, 204, await shown.text());
    const metrics = await fetch(`${gateway.url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
    assert.match(await metrics.text(), /tidings_pushes_total\{kind="webpush",outcome="sent"\} 1/);
  },
);

pushes("what a client shows to somebody who looks is not pushed; to a hidden one it is", async (scene) => {
  const { database, service, gateway, arrived } = scene;
  const receivers: Receiver[] = [];
  const sockets: WebSocket[] = [];
  for (const [user, visible] of [["looking", true], ["hidden", false]] as const) {
    const token = await gateway.token(user);
    const { receiver } = await register(scene, token, `/${user}`);
    receivers.push(receiver);
    const socket = new WebSocket(`${gateway.url.replace("http", "ws")}/v1/feed`, "tidings.v1", {
      headers: { authorization: `Bearer ${token}` },
    });
    sockets.push(socket);
    const welcomed = Promise.withResolvers<void>();
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data));
      if (frame.op === "welcome") welcomed.resolve();
      if (frame.op === "items") socket.send(JSON.stringify({ op: "ack", cursor: frame.cursor, visible }));
    });
    await welcomed.promise;
  }
  await database.sql`select tidings.send('all', 'Look', push => true)`;
  await arrived;
  assert.deepEqual(service.received.map(({ path }) => path), ["/hidden"]);
  assert.equal((await payloadOf(service.received[0]!, receivers[1]!)).item.title, "Look");
  const trace = await database
    .sql`select user_id, event, reason from tidings.push_trace where user_id = 'looking' order by at`;
  assert.deepEqual([...trace].map(({ event, reason }) => [event, reason]), [["queued", null], [
    "skipped",
    "acknowledged",
  ]]);
  for (const socket of sockets) socket.terminate();
});

pushes("twelve likes on one's post are one push, and twelve entries of the inbox", async (scene) => {
  const { database, service, gateway, arrived } = scene;
  const root = await gateway.token("root", { admin: true });
  const ann = await gateway.token("ann");
  const { receiver } = await register(scene, ann, "/1");
  const rule = {
    type: "liked",
    within: 1,
    title: "{count} likes on your post",
    body: "The last {count} of them",
  };
  assert.equal((await ask(gateway, ann, "PUT /v1/digests", rule)).status, 403);
  assert.equal((await ask(gateway, root, "PUT /v1/digests", rule)).status, 200);
  const like = (n: number) => ({
    to: "user:ann",
    type: "liked",
    title: `User ${n} likes your post`,
    link: "/posts/7",
    collapseKey: "post:7",
    push: true,
  });
  const { body: { ids } } = await ask(
    gateway,
    root,
    "POST /v1/notifications",
    Array.from({ length: 12 }, (_, i) => like(i)),
  );
  await arrived;
  const payload = await payloadOf(service.received[0]!, receiver);
  assert.equal(payload.item.title, "12 likes on your post");
  assert.equal(payload.item.body, "The last 12 of them");
  assert.equal(payload.item.link, "/posts/7");
  assert.deepEqual(payload.ids?.toSorted(), ids.toSorted());
  const { body: inbox } = await ask(gateway, ann, "GET /v1/inbox?limit=50");
  assert.equal(inbox.items.length, 12);
  const [merged] = await database.sql`select count(*)::int from tidings.push_trace where event = 'merged'`;
  assert.deepEqual([merged?.count, service.received.length], [11, 1]);
});

pushes(
  "a backend follows a topic by a webhook, and verifies what it is told",
  async ({ service, gateway, arrived }) => {
    const backend = await gateway.token("ranking-service", { subscribe: ["climb:**"] });
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const device = { kind: "webhook", url: `${service.origin}/hook`, secret };
    assert.equal((await ask(gateway, backend, "PUT /v1/devices/hook", device)).status, 200);
    assert.equal((await ask(gateway, backend, "PUT /v1/subscriptions/climb:route:12")).status, 204);
    const setter = await gateway.token("setter", { publish: ["climb:**"] });
    await ask(gateway, setter, "POST /v1/notifications", {
      to: "climb:route:12",
      type: "route.completed",
      data: { seconds: 93 },
      push: true,
    });
    await arrived;
    const { body, headers, path } = service.received[0]!;
    assert.equal(path, "/hook");
    const told = new Webhook(secret).verify(Buffer.from(body), headers as Record<string, string>) as {
      type: string;
      data: { item: Record<string, unknown> };
    };
    const { type, topic, data } = told.data.item;
    assert.deepEqual([told.type, type, topic, data], [
      "notification",
      "route.completed",
      "climb:route:12",
      { seconds: 93 },
    ]);
  },
);

Deno.test("gateway: deliverAt over HTTP arrives at its time on the feed, and a cancelled one does not", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("ann", { publish: ["user:*", "room:*"] });
  const at = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
  const later = await ask(gateway, token, "POST /v1/notifications", {
    to: "user:ann",
    title: "later",
    deliverAt: at(60),
  });
  const never = await ask(gateway, token, "POST /v1/schedules", {
    to: "user:ann",
    title: "never",
    deliverAt: at(61),
  });
  const last = await ask(gateway, token, "POST /v1/notifications", {
    to: ["user:ann"],
    title: "last",
    deliverAt: at(62),
  });
  for (const answer of [later, never, last]) assert.equal(answer.status, 201, JSON.stringify(answer.body));
  const { body: list } = await ask(gateway, token, "GET /v1/schedules");
  assert.deepEqual(list.items.map(({ title }: { title: string }) => title), ["later", "never", "last"]);
  assert.equal((await ask(gateway, token, `DELETE /v1/schedules/${never.body.ids[0]}`)).status, 204);
  // the hour goes by
  await database.sql`update tidings.schedule set due_at = due_at - interval '1 hour 2 minutes'`;
  const titles: string[] = [];
  let cursor = "earliest";
  while (titles.length < 2) {
    const { body } = await ask(gateway, token, `GET /v1/feed?since=${cursor}&wait=10`);
    cursor = body.cursor;
    titles.push(...body.items.map(({ title }: { title: string }) => title));
  }
  assert.deepEqual(titles, ["later", "last"]);
  const [late] = await database.sql`select count(*)::int from tidings.schedule`;
  assert.equal(late?.count, 0);
});
