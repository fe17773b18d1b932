import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { guard } from "../../src/push/guard.ts";
import { createPushStore } from "../../src/push/store.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import { webPush } from "../../src/push/webpush.ts";
import { webhook } from "../../src/push/webhook.ts";
import { testDatabase } from "../helpers/database.ts";
import { makeReceiver, subscriptionKeys } from "../push/decrypt.ts";
import { type Ask, pushApp } from "./push_app.ts";

const vapid = { ...makeVapidKeys(), subject: "mailto:a@b.example" };
const HOST = "https://push.example";

/** Web Push to one host with a public address, webhooks to one without. */
function providers() {
  return [
    webPush({
      vapid,
      clock: systemClock,
      guard: guard({ hosts: ["push.example"], resolve: () => Promise.resolve(["8.8.8.8"]) }),
    }),
    webhook({
      clock: systemClock,
      guard: guard({ hosts: ["hooks.example"], resolve: () => Promise.resolve(["10.0.0.1"]) }),
    }),
  ];
}

async function subscription(path: string) {
  return {
    kind: "webpush",
    endpoint: `${HOST}/${path}`,
    expirationTime: null,
    keys: subscriptionKeys(await makeReceiver()),
  };
}

const listed = async (ask: Ask, as: string) =>
  (await ask("GET /v1/devices", as)).body.items.map((item: { id: string }) => item.id);

Deno.test("PUT /v1/devices/{id} registers, renews and moves; GET lists one's own; DELETE removes", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, providers());
  const first = await ask("PUT /v1/devices/laptop", "ann", await subscription("a"));
  assert.equal(first.status, 200);
  assert.deepEqual([first.body.id, first.body.kind], ["laptop", "webpush"]);
  assert.match(first.body.token, /^\d+\.[A-Za-z0-9_-]{43}$/);
  const renewed = await ask("PUT /v1/devices/laptop", "ann", await subscription("b"));
  assert.notEqual(renewed.body.token, first.body.token);
  await ask("PUT /v1/devices/phone", "ann", await subscription("c"));
  assert.deepEqual(await listed(ask, "ann"), ["phone", "laptop"]);
  assert.equal((await ask("PUT /v1/devices/mine", "bob", await subscription("c"))).status, 200);
  assert.deepEqual([await listed(ask, "ann"), await listed(ask, "bob")], [["laptop"], ["mine"]]);
  assert.equal((await ask("DELETE /v1/devices/laptop", "bob")).status, 404);
  assert.equal((await ask("DELETE /v1/devices/laptop", "ann")).status, 204);
  assert.equal((await ask("DELETE /v1/devices/laptop", "ann")).status, 404);
  assert.deepEqual(await listed(ask, "ann"), []);
});

Deno.test("GET /v1/devices/key gives what a browser subscribes with", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, providers());
  assert.deepEqual((await ask("GET /v1/devices/key")).body, {
    kinds: ["webpush", "webhook"],
    applicationServerKey: vapid.publicKey,
  });
  assert.deepEqual((await pushApp(database.sql, [])("GET /v1/devices/key")).body, { kinds: [] });
});

Deno.test("a registration that is no good is refused with the field's name", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, providers());
  const good = await subscription("a");
  const secret = `whsec_${btoa("0123456789abcdef0123456789abcdef")}`;
  const wrong: [string, unknown, string][] = [
    ["x", { ...good, kind: "pigeon" }, "kind"],
    ["x", { ...good, kind: undefined }, "kind"],
    ["x", { kind: "webpush", endpoint: good.endpoint }, "keys"],
    ["x", { ...good, keys: { ...good.keys, auth: "AA" } }, "keys.auth"],
    ["x", { ...good, surprise: 1 }, "surprise"],
    ["x", { ...good, endpoint: "http://push.example/a" }, "endpoint"],
    ["x", { ...good, endpoint: "https://127.0.0.1/a" }, "endpoint"],
    ["x", { ...good, endpoint: "https://push.example:8443/a" }, "endpoint"],
    ["x", { ...good, endpoint: "https://elsewhere.example/a" }, "endpoint"],
    ["x", { kind: "webhook", url: "https://hooks.example/a", secret }, "url"],
    ["x", { kind: "webhook", url: "https://hooks.example/a", secret: "short" }, "secret"],
    [encodeURIComponent("a/b"), good, "id"],
    ["y".repeat(101), good, "id"],
  ];
  for (const [id, body, field] of wrong) {
    const answer = await ask(`PUT /v1/devices/${id}`, "ann", body);
    assert.equal(answer.status, 400, JSON.stringify(answer.body));
    assert.equal(answer.body.errors?.[0]?.field, field, JSON.stringify(answer.body));
  }
  const long = await ask("PUT /v1/devices/x", "ann", { ...good, endpoint: "x".repeat(20_000) });
  assert.equal(long.body.code, "too_large");
  assert.deepEqual(await listed(ask, "ann"), []);
});

Deno.test("/v1/worker: a device's token fetches, marks and acknowledges what was pushed to it, and nothing else", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const ask = pushApp(sql, providers());
  const { token } = (await ask("PUT /v1/devices/laptop", "ann", await subscription("a"))).body;
  const as = { "Tidings-Device": token };
  const [row] =
    await sql`select tidings.send('user:ann', 'pushed', repeat('long ', 2000), push => true, data => '{"a":1}') as pushed,
    tidings.send('user:ann', 'kept', push => false) as kept, tidings.send('user:bob', 'his', push => true) as his`;
  const { pushed, kept, his } = row ?? {};
  const store = createPushStore(sql);
  while (await store.plan(100, 0) !== 0);
  assert.deepEqual(
    (await ask(`GET /v1/worker/notifications?ids=${pushed}`, undefined, undefined, as)).body.items,
    [],
    "not claimed yet",
  );
  const [claim] = await store.claim(10, 1_000);
  await store.settle(claim!, { kind: "sent" }, 0);
  const { items } =
    (await ask(`GET /v1/worker/notifications?ids=${pushed},${kept},${his}`, undefined, undefined, as)).body;
  assert.deepEqual(items.map((item: { title: string; body: string }) => [item.title, item.body.length]), [[
    "pushed",
    10_000,
  ]]);
  assert.match(items[0].createdAt, /^\d{4}-.*Z$/);
  assert.deepEqual(items[0].data, { a: 1 });

  assert.equal((await ask("POST /v1/worker/shown", undefined, { ids: [pushed, his] }, as)).status, 204);
  const marked = await ask(
    "POST /v1/worker/mark",
    undefined,
    { ids: [pushed, kept, his], state: "read" },
    as,
  );
  assert.deepEqual(marked, { status: 200, body: { unread: 1, unseen: 1 } });
  const shown = await sql`select notification_id from tidings.push_trace where event = 'shown'`;
  assert.deepEqual(shown.map(({ notification_id }) => notification_id), [pushed]);
  const [untouched] = await sql`select count(*)::int from tidings.receipt where user_id = 'bob'`;
  assert.equal(untouched?.count, 0);
});

Deno.test("/v1/worker/subscription renews the device, through the same guard", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const ask = pushApp(sql, providers());
  const { token } = (await ask("PUT /v1/devices/laptop", "ann", await subscription("a"))).body;
  const renew = async (path: string) => {
    const { kind: _, ...rest } = await subscription(path);
    return rest;
  };
  const as = { "Tidings-Device": token };
  assert.equal((await ask("PUT /v1/worker/subscription", undefined, await renew("new"), as)).status, 204);
  assert.deepEqual([...await sql`select user_id, id, address from tidings.device`], [{
    user_id: "ann",
    id: "laptop",
    address: `${HOST}/new`,
  }]);
  const bad = await ask("PUT /v1/worker/subscription", undefined, {
    ...await renew("x"),
    endpoint: "https://10.0.0.1/",
  }, as);
  assert.equal(bad.body.errors[0].field, "endpoint");
});

Deno.test("/v1/worker refuses without a token, with a wrong one, and with one of a device that moved", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, providers());
  const { token } = (await ask("PUT /v1/devices/laptop", "ann", await subscription("a"))).body;
  const call = async (header?: string) =>
    (await ask(
      "POST /v1/worker/shown",
      undefined,
      { ids: ["1"] },
      header === undefined ? {} : { "Tidings-Device": header },
    )).body?.code;
  assert.equal(await call(token), undefined);
  assert.equal(await call(), "token_required");
  const other = token.endsWith("A") ? "B" : "A";
  for (
    const wrong of [
      "",
      "x",
      "1",
      `${token}x`,
      token.slice(0, -1) + other,
      `999999.${token.split(".")[1]}`,
      "1.' or true --",
    ]
  ) {
    assert.equal(await call(wrong), "invalid_token", wrong);
  }
  await ask("PUT /v1/devices/his", "bob", await subscription("a"));
  assert.equal(await call(token), "invalid_token");
  const many = await ask("POST /v1/worker/shown", undefined, { ids: Array(101).fill("1") }, {
    "Tidings-Device": token,
  });
  assert.equal(many.status, 401, "who it is comes first");
});
