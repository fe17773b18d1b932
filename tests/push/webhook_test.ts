import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import { systemClock } from "../../src/clock.ts";
import { guard } from "../../src/push/guard.ts";
import type { PushMessage } from "../../src/push/provider.ts";
import { sign, webhook } from "../../src/push/webhook.ts";
import { fakeService } from "./fake_service.ts";

const never = new AbortController().signal;
const secret = `whsec_${Buffer.from("0123456789abcdef0123456789abcdef").toString("base64")}`;
const message: PushMessage = {
  kind: "notify",
  messageId: "ntf_7_1",
  item: {
    id: "7",
    topic: "build:1",
    type: "build.done",
    title: "Grün ✅",
    createdAt: "2026-01-01T00:00:00.000Z",
    data: { a: [1] },
  },
  ids: ["7"],
  read: [],
  ttl: 60,
};

Deno.test("webhook: Standard Webhooks' own library verifies what arrives, and nothing that was changed", async () => {
  await using service = await fakeService();
  const provider = webhook({ guard: guard({ hosts: [service.origin] }), clock: systemClock });
  const target = { device: "1", ...(await provider.register({ url: `${service.origin}/hook`, secret })) };
  assert.equal((await provider.send(target, message, never)).kind, "sent");
  assert.equal((await provider.send(target, { ...message, kind: "close", read: ["7"] }, never)).kind, "sent");
  const [notified, closed] = service.received.map(({ headers, body }) => {
    const text = new TextDecoder().decode(body);
    const signed = Object.fromEntries(
      ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [name, String(headers[name])]),
    );
    assert.throws(() => new Webhook(secret).verify(`${text} `, signed));
    assert.throws(() => new Webhook(secret).verify(text, { ...signed, "webhook-id": "other" }));
    assert.throws(() => new Webhook(`whsec_${btoa("another secret of enough length")}`).verify(text, signed));
    // deno-lint-ignore no-explicit-any -- the library returns any
    return { ...(new Webhook(secret).verify(text, signed) as any), id: signed["webhook-id"] };
  });
  assert.deepEqual([notified.type, notified.data, notified.id], ["notification", {
    item: message.item,
    ids: ["7"],
  }, "ntf_7_1"]);
  assert.deepEqual([closed.type, closed.data], ["notification.read", { ids: ["7"] }]);
  provider.close();
});

Deno.test("webhook: the signature is the one of the specification's library for the same moment", () => {
  const at = new Date("2026-03-01T12:00:00Z");
  const seconds = String(at.getTime() / 1000);
  assert.equal(sign(secret, "ntf_1", seconds, "{}"), new Webhook(secret).sign("ntf_1", at, "{}"));
});

Deno.test("webhook: 410 ends it, every other refusal is tried again, and Retry-After is kept", async () => {
  const statuses = [200, 204, 410, 404, 401, 302, 500, 503];
  const queue = [...statuses];
  await using service = await fakeService(() => ({
    status: queue.shift() ?? 599,
    headers: { "retry-after": "3" },
  }));
  const provider = webhook({ guard: guard({ hosts: [service.origin] }), clock: systemClock });
  const target = { device: "1", address: service.origin, keys: { secret } };
  const kinds: string[] = [];
  for (const status of statuses) {
    const outcome = await provider.send(target, message, never);
    kinds.push(outcome.kind);
    if (outcome.kind === "retry") assert.equal(outcome.after, 3_000, String(status));
  }
  assert.deepEqual(kinds, ["sent", "sent", "gone", "retry", "retry", "retry", "retry", "retry"]);
  provider.close();
});

Deno.test("webhook: only hosts that the operator listed, and never inside of the network", async () => {
  const listed = webhook({
    guard: guard({ hosts: ["hooks.example"], resolve: () => Promise.resolve(["192.168.1.1"]) }),
    clock: systemClock,
  });
  await assert.rejects(listed.register({ url: "https://evil.example/", secret }), /not on the list/);
  await assert.rejects(listed.register({ url: "https://hooks.example/", secret }), /not public/);
  assert.equal(listed.schema.safeParse({ url: "https://hooks.example/", secret: "short" }).success, false);
  const target = { device: "1", address: "https://hooks.example/", keys: { secret } };
  assert.equal((await listed.send(target, message, never)).kind, "failed");
  listed.close();
});
