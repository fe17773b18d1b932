import assert from "node:assert/strict";
import { decodeProtectedHeader, exportPKCS8, generateKeyPair, jwtVerify } from "jose";
import type { Clock } from "../../src/clock.ts";
import { fcm, type FcmOptions, serviceAccountSchema } from "../../src/push/fcm.ts";
import type { PushPayload as Payload } from "../../src/protocol.ts";
import type { PushMessage } from "../../src/push/provider.ts";
import { type FakeService, fakeService, type Reply } from "./fake_service.ts";

const never = new AbortController().signal;
const NOW = Date.parse("2026-05-01T12:00:00Z");
const SEND = "/v1/projects/demo-project/messages:send";
const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
const pem = await exportPKCS8(privateKey);

const message = (item: Partial<PushMessage["item"]> = {}, more: Partial<PushMessage> = {}): PushMessage => ({
  kind: "notify",
  messageId: "ntf_7_1",
  item: { id: "7", topic: "user:1", type: "match", createdAt: "2026-05-01T12:00:00.000Z", ...item },
  ids: ["7"],
  read: [],
  ttl: 3_600,
  ...more,
});

/** A Google that gives out tokens `t1`, `t2`, … and answers sends as told. */
async function google(
  answer: (token: string) => Reply = () => ({
    status: 200,
    body: '{"name":"projects/demo-project/messages/1"}',
  }),
): Promise<FakeService & { tokens: number; options: FcmOptions; clock: { now: number } }> {
  const state = { tokens: 0 };
  const clock = { now: NOW };
  const service = await fakeService(async ({ path, headers, body }) => {
    if (path === SEND) return answer(String(headers.authorization));
    assert.equal(path, "/token");
    const form = new URLSearchParams(new TextDecoder().decode(body));
    assert.equal(form.get("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    const assertion = form.get("assertion") ?? "";
    assert.deepEqual(decodeProtectedHeader(assertion), { alg: "RS256", typ: "JWT", kid: "key-1" });
    const { payload } = await jwtVerify(assertion, publicKey, {
      issuer: "push@demo-project.example",
      audience: `${service.origin}/token`,
      currentDate: new Date(clock.now),
    });
    assert.equal(payload.scope, "https://www.googleapis.com/auth/firebase.messaging");
    assert.equal((payload.exp ?? 0) - (payload.iat ?? 0), 3_600);
    return {
      status: 200,
      body: JSON.stringify({ access_token: `t${++state.tokens}`, expires_in: 3_600, token_type: "Bearer" }),
    };
  });
  const fixed: Clock = {
    now: () => clock.now,
    sleep: () => Promise.reject(new Error("fcm does not wait")),
    after: () => () => {},
  };
  const account = serviceAccountSchema.parse({
    type: "service_account",
    project_id: "demo-project",
    private_key_id: "key-1",
    private_key: pem,
    client_email: "push@demo-project.example",
    token_uri: `${service.origin}/token`,
  });
  return Object.assign(service, {
    get tokens() {
      return state.tokens;
    },
    clock,
    options: { account, clock: fixed, url: service.origin },
  });
}

const sends = (service: FakeService) =>
  service.received.filter(({ path }) => path === SEND).map(({ headers, body }) => ({
    authorization: headers.authorization,
    type: headers["content-type"],
    ...JSON.parse(new TextDecoder().decode(body)),
  }));

Deno.test("FCM: a notification message carries every field that HTTP v1 documents for it", async () => {
  await using service = await google();
  const provider = fcm(service.options);
  const target = { device: "1", ...(await provider.register({ token: "tok:en_-1" })) };
  const item = {
    title: "Match",
    body: "Ready?",
    link: "https://app.example/m/1",
    priority: "high" as const,
    collapseKey: "m1",
  };
  const outcome = await provider.send(target, message(item, { unread: 3, read: ["5"] }), never);
  assert.deepEqual(outcome, { kind: "sent", reason: "answered 200" });
  const [sent] = sends(service);
  assert.equal(sent.authorization, "Bearer t1");
  assert.equal(sent.type, "application/json");
  const { data, ...fields } = sent.message;
  const collapse = fields.android.collapse_key;
  assert.match(collapse, /^[A-Za-z0-9_-]{32}$/);
  const text = { title: "Match", body: "Ready?" };
  assert.deepEqual(fields, {
    token: "tok:en_-1",
    notification: text,
    android: { priority: "HIGH", ttl: "3600s", collapse_key: collapse, notification: { tag: collapse } },
    webpush: {
      headers: { TTL: "3600", Urgency: "high", Topic: collapse },
      notification: { ...text, tag: collapse },
      fcm_options: { link: "https://app.example/m/1" },
    },
    apns: {
      headers: {
        "apns-priority": "10",
        "apns-expiration": String(NOW / 1000 + 3_600),
        "apns-push-type": "alert",
        "apns-collapse-id": collapse,
      },
      payload: { aps: { "thread-id": "user:1", badge: 3 } },
    },
  });
  assert.deepEqual(Object.keys(data), ["tidings"]);
  const payload: Payload = JSON.parse(data.tidings);
  assert.deepEqual([payload.item.id, payload.read, payload.unread], ["7", ["5"], 3]);
});

Deno.test("FCM: a data message shows nothing by itself, and so does taking back", async () => {
  await using service = await google();
  const provider = fcm(service.options);
  const target = { device: "1", ...(await provider.register({ token: "a", format: "data" })) };
  await provider.send(target, message({ title: "T", link: "/relative" }), never);
  await provider.send(
    { ...target, keys: { format: "notification" } },
    message({ title: "T", priority: "high" }, { kind: "close", read: ["7"] }),
    never,
  );
  for (const { message: sent } of sends(service)) {
    assert.deepEqual(Object.keys(sent), ["token", "data", "android", "webpush", "apns"]);
    assert.deepEqual(sent.android, { priority: "NORMAL", ttl: "3600s" });
    assert.deepEqual(Object.keys(sent.webpush), ["headers"]);
    assert.deepEqual(sent.apns.payload, { aps: { "content-available": 1 } });
    assert.deepEqual([sent.apns.headers["apns-priority"], sent.apns.headers["apns-push-type"]], [
      "5",
      "background",
    ]);
  }
  assert.equal(JSON.parse(sends(service)[1]?.message.data.tidings).kind, "close");
});

Deno.test("FCM: the longest notification keeps notification and data within 4,096 bytes", async () => {
  await using service = await google();
  const provider = fcm(service.options);
  const long = message({ title: "ü".repeat(1_000), body: "👩‍👩‍👧‍👦".repeat(2_000), data: "x".repeat(200_000) });
  await provider.send({ device: "1", address: "a", keys: {} }, long, never);
  const { message: { notification, data } } = sends(service)[0];
  const size = [notification.title, notification.body, data.tidings, "tidings"].join("");
  assert(new TextEncoder().encode(size).length <= 4_096);
});

Deno.test("FCM: one access token serves many sends at once, and is renewed before it ends and when it is refused", async () => {
  let refused = "";
  await using service = await google((token) =>
    token === refused ? { status: 401, body: "{}" } : { status: 200, body: "{}" }
  );
  const provider = fcm(service.options);
  const target = { device: "1", address: "a", keys: {} };
  await Promise.all(Array.from({ length: 20 }, () => provider.send(target, message(), never)));
  assert.equal(service.received.filter(({ path }) => path === "/token").length, 1);
  service.clock.now += 3_539_000;
  await provider.send(target, message(), never);
  assert.equal(sends(service).at(-1)?.authorization, "Bearer t1");
  service.clock.now += 2_000;
  await provider.send(target, message(), never);
  assert.equal(sends(service).at(-1)?.authorization, "Bearer t2");
  refused = "Bearer t2";
  assert.equal((await provider.send(target, message(), never)).kind, "sent");
  assert.equal(sends(service).at(-1)?.authorization, "Bearer t3");
});

Deno.test("FCM: each documented error means what its documentation says", async () => {
  const error = (status: number, code: string, details: unknown[] = [], after?: string): Reply => ({
    status,
    ...(after === undefined ? {} : { headers: { "retry-after": after } }),
    body: JSON.stringify({
      error: {
        code: status,
        message: "no",
        status: code,
        details: [
          { "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", errorCode: code },
          ...details,
        ],
      },
    }),
  });
  const violation = (field: string) => ({
    "@type": "type.googleapis.com/google.rpc.BadRequest",
    fieldViolations: [{ field }],
  });
  const expected: [Reply, Record<string, unknown>][] = [
    [error(404, "UNREGISTERED"), { kind: "gone" }],
    [error(400, "INVALID_ARGUMENT"), { kind: "gone" }],
    [error(400, "INVALID_ARGUMENT", [violation("message.token")]), { kind: "gone" }],
    [error(400, "INVALID_ARGUMENT", [violation("message.android.ttl")]), { kind: "failed" }],
    [error(403, "SENDER_ID_MISMATCH"), { kind: "failed" }],
    [error(401, "THIRD_PARTY_AUTH_ERROR"), { kind: "failed" }],
    [error(429, "QUOTA_EXCEEDED"), { kind: "retry", after: 60_000 }],
    [error(429, "QUOTA_EXCEEDED", [], "90"), { kind: "retry", after: 90_000 }],
    [error(503, "UNAVAILABLE"), { kind: "retry", after: 10_000, all: true }],
    [error(503, "UNAVAILABLE", [], "30"), { kind: "retry", after: 30_000, all: true }],
    [error(500, "INTERNAL"), { kind: "retry", after: 10_000 }],
    [{ status: 404, body: "<html>wrong project</html>" }, { kind: "failed" }],
    [{ status: 502, body: "<html>" }, { kind: "retry" }],
  ];
  const queue: Reply[] = [];
  await using service = await google(() => queue.shift() ?? { status: 599 });
  const provider = fcm(service.options);
  for (const [reply, outcome] of expected) {
    // a refused token is tried once more
    queue.push(...(reply.status === 401 ? [reply, reply] : [reply]));
    const { reason, ...rest } = await provider.send(
      { device: "1", address: "a", keys: {} },
      message(),
      never,
    );
    assert.deepEqual(rest, outcome, reply.body ?? "");
    assert.match(reason ?? "", new RegExp(String(reply.status)));
  }
});

Deno.test("FCM: without an access token a send fails with the reason, and the next one tries again", async () => {
  let granted = false;
  await using service = await fakeService(({ path }) => {
    if (path === SEND) return { status: 200, body: "{}" };
    return granted
      ? { status: 200, body: '{"access_token":"t","expires_in":3600}' }
      : { status: 400, body: '{"error":"invalid_grant"}' };
  });
  const { options } = await google();
  const provider = fcm({
    ...options,
    url: service.origin,
    account: { ...options.account, token_uri: `${service.origin}/token` },
  });
  const target = { device: "1", address: "a", keys: {} };
  await assert.rejects(
    provider.send(target, message(), never),
    /Cannot get an access token for FCM: .* answered 400/,
  );
  granted = true;
  assert.equal((await provider.send(target, message(), never)).kind, "sent");
});
