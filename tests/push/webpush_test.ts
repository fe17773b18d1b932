import assert from "node:assert/strict";
import { createECDH } from "node:crypto";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import ece from "http_ece";
import { decodeProtectedHeader, importJWK, jwtVerify } from "jose";
import webpush from "web-push";
import { PushApiModel } from "web-push-testing/src/PushApiModel.js";
import WebPushTestingServer from "web-push-testing/src/server.js";
import { systemClock } from "../../src/clock.ts";
import { guard } from "../../src/push/guard.ts";
import type { PushPayload as Payload } from "../../src/protocol.ts";
import type { PushMessage } from "../../src/push/provider.ts";
import { makeVapidKeys, vapidEnvironment } from "../../src/push/vapid.ts";
import { WEB_PUSH_LIMIT, webPush } from "../../src/push/webpush.ts";
import { decrypt, makeReceiver, subscriptionKeys } from "./decrypt.ts";
import { fakeService } from "./fake_service.ts";

const never = new AbortController().signal;
const vapid = { ...makeVapidKeys(), subject: "mailto:push@example.com" };
const message = (item: Partial<PushMessage["item"]> = {}): PushMessage => ({
  kind: "notify",
  messageId: "ntf_7_1",
  item: { id: "7", topic: "user:1", type: "notification", createdAt: "2026-01-01T00:00:00.000Z", ...item },
  ids: ["7"],
  read: [],
  ttl: 120,
});
const provide = (...hosts: string[]) => webPush({ vapid, guard: guard({ hosts }), clock: systemClock });
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "base64url"));

// RFC 8291, section 5 and appendix A
const RFC = {
  plaintext: "When I grow up, I want to be a watermelon",
  senderPrivate: "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
  receiverPublic: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
  receiverPrivate: "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94",
  salt: "DGv6ra1nlYgDCS1FRnbzlw",
  auth: "BTBZMqHH6r4Tts7J_aSIgg",
  body:
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
};

async function rfcReceiver() {
  const [x, y] = [bytes(RFC.receiverPublic).slice(1, 33), bytes(RFC.receiverPublic).slice(33)];
  const jwk = {
    kty: "EC",
    crv: "P-256",
    d: RFC.receiverPrivate,
    x: Buffer.from(x).toString("base64url"),
    y: Buffer.from(y).toString("base64url"),
  };
  const privateKey = await crypto.subtle.importKey("jwk", jwk, { name: "ECDH", namedCurve: "P-256" }, false, [
    "deriveBits",
  ]);
  return { privateKey, publicKey: bytes(RFC.receiverPublic), auth: bytes(RFC.auth) };
}

Deno.test("RFC 8291's own example: this suite's decryption reads it, and http_ece writes and reads it", async () => {
  const receiver = await rfcReceiver();
  assert.equal(new TextDecoder().decode(await decrypt(bytes(RFC.body), receiver)), RFC.plaintext);
  const sender = createECDH("prime256v1");
  sender.setPrivateKey(Buffer.from(RFC.senderPrivate, "base64url"));
  const written = ece.encrypt(Buffer.from(RFC.plaintext), {
    version: "aes128gcm",
    privateKey: sender,
    dh: RFC.receiverPublic,
    authSecret: RFC.auth,
    salt: RFC.salt,
  });
  assert.equal(written.toString("base64url"), RFC.body);
  const browser = createECDH("prime256v1");
  browser.setPrivateKey(Buffer.from(RFC.receiverPrivate, "base64url"));
  const options = { version: "aes128gcm", privateKey: browser, authSecret: RFC.auth };
  assert.equal(ece.decrypt(Buffer.from(RFC.body, "base64url"), options).toString(), RFC.plaintext);
});

Deno.test("web push: what is sent to RFC 8291's receiver decrypts, by http_ece and by an implementation of this suite's own", async () => {
  await using service = await fakeService();
  const provider = provide(service.origin);
  const keys = { p256dh: RFC.receiverPublic, auth: RFC.auth };
  const registered = await provider.register({
    endpoint: `${service.origin}/push/abc?x=1`,
    expirationTime: null,
    keys,
  });
  const sent = message({
    title: "Hallo",
    body: "Wörld 👩‍👩‍👧‍👦",
    link: "/a",
    priority: "high",
    collapseKey: "match",
  });
  assert.equal((await provider.send({ device: "1", ...registered }, sent, never)).kind, "sent");
  const { headers, body, path } = service.received[0] ?? assert.fail("nothing came");
  assert.equal(path, "/push/abc?x=1");
  assert.deepEqual(
    [headers.ttl, headers.urgency, headers["content-encoding"], headers["content-length"]],
    ["120", "high", "aes128gcm", String(body.length)],
  );
  assert.match(String(headers.topic), /^[A-Za-z0-9_-]{1,32}$/);
  const plain = await decrypt(body, await rfcReceiver());
  const browser = createECDH("prime256v1");
  browser.setPrivateKey(Buffer.from(RFC.receiverPrivate, "base64url"));
  const other = ece.decrypt(Buffer.from(body), {
    version: "aes128gcm",
    privateKey: browser,
    authSecret: RFC.auth,
  });
  assert.deepEqual(new Uint8Array(other), plain);
  const payload: Payload = JSON.parse(new TextDecoder().decode(plain));
  assert.deepEqual(payload, { tidings: 1, kind: "notify", item: sent.item });
  provider.close();
});

Deno.test("web push: the VAPID token is signed by the key of /v1/devices/key, for the push service's origin, for less than a day", async () => {
  await using service = await fakeService();
  const provider = provide(service.origin);
  const keys = subscriptionKeys(await makeReceiver());
  const target = { device: "1", address: `${service.origin}/x`, keys };
  await provider.send(target, message(), never);
  await provider.send(target, message(), never);
  const [first, second] = service.received.map(({ headers }) => headers.authorization ?? "");
  assert.equal(first, second, "the token is kept");
  const [, token = "", key = ""] = /^vapid t=([^,]+), k=(.+)$/.exec(first ?? "") ?? [];
  assert.equal(key, provider.facts?.applicationServerKey);
  assert.equal(decodeProtectedHeader(token).alg, "ES256");
  const raw = Buffer.from(key, "base64url");
  const [x, y] = [raw.subarray(1, 33).toString("base64url"), raw.subarray(33).toString("base64url")];
  const { payload } = await jwtVerify(token, await importJWK({ kty: "EC", crv: "P-256", x, y }, "ES256"));
  assert.deepEqual([payload.aud, payload.sub], [service.origin, vapid.subject]);
  assert((payload.exp ?? Infinity) - Date.now() / 1000 <= 86_400);
  provider.close();
});

Deno.test("web push: one collapse key gives one Topic within one topic, and another in another", async () => {
  await using service = await fakeService();
  const provider = provide(service.origin);
  const target = {
    device: "1",
    address: `${service.origin}/x`,
    keys: subscriptionKeys(await makeReceiver()),
  };
  for (
    const [topic, collapseKey] of [["a", "k"], ["a", "k"], ["b", "k"], ["a", "ö".repeat(200)], [
      "a",
      undefined,
    ]]
  ) {
    await provider.send(
      target,
      message({ topic: topic ?? "", ...(collapseKey ? { collapseKey } : {}) }),
      never,
    );
  }
  const topics = service.received.map(({ headers }) => headers.topic);
  assert.equal(topics[0], topics[1]);
  assert.equal(new Set(topics).size, 4);
  assert.equal(topics[4], undefined);
  provider.close();
});

Deno.test("web push: the longest notification stays within the 4,096 bytes of RFC 8030", async () => {
  await using service = await fakeService();
  const provider = provide(service.origin);
  const receiver = await makeReceiver();
  const target = { device: "1", address: `${service.origin}/x`, keys: subscriptionKeys(receiver) };
  const long = message({
    title: "ü".repeat(500),
    body: "👩‍👩‍👧‍👦".repeat(2_000),
    data: "x".repeat(200_000),
    link: `/${"y".repeat(2_000)}`,
  });
  assert.equal((await provider.send(target, long, never)).kind, "sent");
  const { body } = service.received[0] ?? assert.fail("nothing came");
  assert(body.length <= 4_096, `${body.length} bytes`);
  const plain = await decrypt(body, receiver);
  assert(plain.length <= WEB_PUSH_LIMIT);
  const { item, cut }: Payload = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(plain));
  assert.equal(item.id, "7");
  assert.deepEqual(cut, ["data", "body"]);
  provider.close();
});

Deno.test("web push: every answer means what RFC 8030 says", async () => {
  const replies: [number, string | undefined, string, number | undefined][] = [
    [201, undefined, "sent", undefined],
    [202, undefined, "sent", undefined],
    [404, undefined, "gone", undefined],
    [410, undefined, "gone", undefined],
    [429, "17", "retry", 17_000],
    [429, undefined, "retry", undefined],
    [500, undefined, "retry", undefined],
    [503, "999999999", "retry", 86_400_000],
    [307, undefined, "failed", undefined],
    [400, undefined, "failed", undefined],
    [403, undefined, "failed", undefined],
    [413, undefined, "failed", undefined],
  ];
  const queue = [...replies];
  await using service = await fakeService(() => {
    const [status, after] = queue.shift() ?? [599];
    return { status, body: "because", ...(after === undefined ? {} : { headers: { "retry-after": after } }) };
  });
  const provider = provide(service.origin);
  const target = {
    device: "1",
    address: `${service.origin}/x`,
    keys: subscriptionKeys(await makeReceiver()),
  };
  for (const [status, , kind, after] of replies) {
    const outcome = await provider.send(target, message(), never);
    assert.equal(outcome.kind, kind, String(status));
    if (outcome.kind === "retry") assert.equal(outcome.after, after);
    if (status >= 300) assert.match(outcome.reason ?? "", /because/);
  }
  provider.close();
});

Deno.test("web push: a network failure throws, an address that became private is refused for good", async () => {
  const keys = subscriptionKeys(await makeReceiver());
  const service = await fakeService();
  const provider = provide(service.origin);
  await service[Symbol.asyncDispose]();
  await assert.rejects(provider.send({ device: "1", address: service.origin, keys }, message(), never));
  provider.close();
  const moved = webPush({
    vapid,
    clock: systemClock,
    guard: guard({ hosts: ["fcm.googleapis.com"], resolve: () => Promise.resolve(["10.0.0.1"]) }),
  });
  const outcome = await moved.send(
    { device: "1", address: "https://fcm.googleapis.com/x", keys },
    message(),
    never,
  );
  assert.deepEqual(outcome, {
    kind: "failed",
    reason: "refused: fcm.googleapis.com resolves to an address that is not public",
  });
  moved.close();
});

Deno.test("web push: a subscription is refused by name when its keys or its endpoint are no good", async () => {
  const provider = webPush({
    vapid,
    clock: systemClock,
    guard: guard({ hosts: ["*"], resolve: () => Promise.resolve(["8.8.8.8"]) }),
  });
  const keys = subscriptionKeys(await makeReceiver());
  const offCurve = Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 7)]).toString("base64url");
  const endpoint = "https://push.example/x";
  const wrong: [unknown, string][] = [
    [{ endpoint, keys: { ...keys, p256dh: "AAAA" } }, "keys.p256dh"],
    [{ endpoint, keys: { ...keys, auth: `${keys.auth}AAAA` } }, "keys.auth"],
    [{ endpoint }, "keys"],
    [{ endpoint: "", keys }, "endpoint"],
    [{ endpoint: "x".repeat(3_000), keys }, "endpoint"],
  ];
  for (const [input, field] of wrong) {
    const checked = provider.schema.safeParse(input);
    assert.equal(checked.error?.issues[0]?.path.join("."), field);
  }
  await assert.rejects(
    provider.register({ endpoint, keys: { ...keys, p256dh: offCurve } }),
    /keys do not encrypt/,
  );
  await assert.rejects(provider.register({ endpoint: "http://push.example/x", keys }), /expected https/);
  assert.deepEqual(await provider.register({ endpoint, expirationTime: null, keys }), {
    address: endpoint,
    keys,
  });
  provider.close();
});

Deno.test("web push: web-push-testing, a push service of other people's making, takes what is sent and decrypts it", async () => {
  const model = new PushApiModel();
  const api = new WebPushTestingServer(model, 0);
  const listening = Promise.withResolvers<void>();
  const log = console.log;
  console.log = () => listening.resolve();
  api.startServer();
  await listening.promise;
  console.log = log;
  const server: Server = api._server;
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  model.notifyUrl = `${origin}/notify/`;
  const post = async (path: string, body: unknown) => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${origin}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    const text = await response.text();
    return text.startsWith("{") ? JSON.parse(text).data : text;
  };
  const provider = provide(origin);
  const subscription = await post("/subscribe", {
    userVisibleOnly: "true",
    applicationServerKey: vapid.publicKey,
  });
  const { clientHash, ...registration } = subscription;
  const registered = await provider.register(registration);
  const target = { device: "1", ...registered };
  for (const title of ["one", "two"]) {
    assert.equal((await provider.send(target, message({ title }), never)).kind, "sent");
  }
  const { messages } = await post("/get-notifications", { clientHash });
  assert.deepEqual(messages.map((text: string) => (JSON.parse(text) as Payload).item.title), ["one", "two"]);
  await post(`/expire-subscription/${clientHash}`, {});
  assert.equal((await provider.send(target, message(), never)).kind, "gone");
  provider.close();
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
});

Deno.test("VAPID: the printed environment holds a pair that fits together", () => {
  const lines = Object.fromEntries(
    vapidEnvironment("mailto:a@b.example").split("\n").map((line) => line.split("=")),
  );
  webpush.setVapidDetails(
    lines.TIDINGS_VAPID_SUBJECT,
    lines.TIDINGS_VAPID_PUBLIC_KEY,
    lines.TIDINGS_VAPID_PRIVATE_KEY,
  );
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(Buffer.from(lines.TIDINGS_VAPID_PRIVATE_KEY, "base64url"));
  assert.equal(pair.getPublicKey("base64url"), lines.TIDINGS_VAPID_PUBLIC_KEY);
});
