import assert from "node:assert/strict";
import fc from "fast-check";
import { z } from "@hono/zod-openapi";
import { systemClock } from "../../src/clock.ts";
import { dispatcher } from "../../src/push/dispatcher.ts";
import { guard } from "../../src/push/guard.ts";
import type { PushPayload as Payload } from "../../src/protocol.ts";
import type { Outcome, Provider } from "../../src/push/provider.ts";
import { type Claim, createPushStore, type PushStore } from "../../src/push/store.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import { webPush } from "../../src/push/webpush.ts";
import { testDatabase } from "../helpers/database.ts";
import { type ManualClock, manualClock } from "../helpers/manual_clock.ts";
import { decrypt, makeReceiver, subscriptionKeys } from "./decrypt.ts";
import { fakeService } from "./fake_service.ts";

const claimOf = (delivery: string, kind = "test", address = "https://one.example/x", attempt = 1): Claim => ({
  delivery,
  attempt,
  kind,
  target: { device: delivery, address, keys: {} },
  message: {
    kind: "notify",
    messageId: `ntf_${delivery}`,
    item: { id: delivery, topic: "a", type: "notification", createdAt: "2026-01-01T00:00:00.000Z" },
    ids: [delivery],
    read: [],
    ttl: 60,
  },
});

/** A store that gives out what is put in, and keeps what comes back. */
function memoryStore() {
  const queue: Claim[] = [];
  const settled: { claim: Claim; outcome: Outcome; retryMs: number }[] = [];
  let told = Promise.withResolvers<void>();
  const store: PushStore = {
    plan: () => Promise.resolve(0),
    fanOut: () => Promise.resolve(false),
    purge: () => Promise.resolve(0),
    claim: (max) => Promise.resolve(queue.splice(0, max)),
    settle(claim, outcome, retryMs) {
      settled.push({ claim, outcome, retryMs });
      told.resolve();
      return Promise.resolve();
    },
  };
  return {
    store,
    queue,
    settled,
    async until(count: number) {
      while (settled.length < count) {
        told = Promise.withResolvers();
        await told.promise;
      }
    },
  };
}

/** A provider that does what the test says. */
function fake(send: Provider["send"], kind = "test"): Provider {
  return {
    kind,
    silent: false,
    schema: z.object({}),
    register: () => Promise.reject(new Error("not here")),
    service: ({ address }) => new URL(address).origin,
    send,
    close: () => {},
  };
}

/** Lets the clock run until something is settled; every turn is a macrotask, so that what is under way gets on. */
async function runUntil(clock: ManualClock, done: () => boolean): Promise<void> {
  for (let turn = 0; !done(); turn++) {
    assert(turn < 10_000, "it never came");
    clock.advance(250);
    await new Promise((next) => setImmediate(next));
  }
}

Deno.test("dispatcher: a pause that a service asks for holds back all of that service, and nobody else", async () => {
  const clock = manualClock();
  const memory = memoryStore();
  const asked: string[] = [];
  const provider = fake(({ address, device }) => {
    asked.push(device);
    const busy = address.startsWith("https://busy.example") &&
      asked.filter((name) => name.startsWith("busy")).length === 1;
    return Promise.resolve(
      busy ? { kind: "retry", reason: "answered 429", after: 60_000, all: true } : { kind: "sent" },
    );
  });
  const service = dispatcher({ store: memory.store, providers: [provider], clock, chance: () => 0.5 });
  memory.queue.push(claimOf("busy1", "test", "https://busy.example/1"));
  await service.start();
  await runUntil(clock, () => memory.settled.length === 1);
  memory.queue.push(
    claimOf("busy2", "test", "https://busy.example/2"),
    claimOf("free", "test", "https://free.example/"),
  );
  await runUntil(clock, () => memory.settled.length === 3);
  assert.deepEqual(asked, ["busy1", "free"]);
  for (const { claim, outcome, retryMs } of memory.settled) {
    assert.equal(outcome.kind, claim.delivery === "free" ? "sent" : "retry");
    if (outcome.kind === "retry") assert(retryMs > 50_000 && retryMs < 80_000, `${retryMs}`);
  }
  clock.advance(61_000);
  memory.queue.push(claimOf("busy2", "test", "https://busy.example/2"));
  await runUntil(clock, () => memory.settled.length === 4);
  assert.deepEqual(asked, ["busy1", "free", "busy2"]);
  await service.stop();
});

Deno.test("dispatcher: failures come back later and later with jitter, and never before what was asked for", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 40 }),
      fc.option(fc.nat(86_400_000), { nil: undefined }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      async (attempt, after, chance) => {
        const clock = manualClock();
        const memory = memoryStore();
        const outcome: Outcome = {
          kind: "retry",
          reason: "answered 500",
          ...(after === undefined ? {} : { after }),
        };
        const service = dispatcher({
          store: memory.store,
          providers: [fake(() => Promise.resolve(outcome))],
          clock,
          chance: () => chance,
        });
        memory.queue.push(claimOf("1", "test", undefined, attempt));
        await service.start();
        await runUntil(clock, () => memory.settled.length === 1);
        await service.stop();
        const retry = memory.settled[0]?.retryMs ?? -1;
        const backoff = Math.min(5_000 * 2 ** (attempt - 1), 3_600_000);
        if (after === undefined) assert(retry >= backoff / 2 && retry <= backoff, `${attempt}: ${retry}`);
        else assert(retry >= after && retry <= after * 1.25 + 1, `${after}: ${retry}`);
      },
    ),
    { seed: 3_141_592, numRuns: 100 },
  );
});

Deno.test("dispatcher: an attempt that hangs is given up at its deadline; one that throws is tried again; a kind that is not set up fails", async () => {
  const clock = manualClock();
  const memory = memoryStore();
  const hang = fake(
    (_target, _message, signal) =>
      new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true })
      ),
    "hang",
  );
  const broken = fake(() => Promise.reject(new Error("connection refused")), "broken");
  const service = dispatcher({ store: memory.store, providers: [hang, broken], clock });
  memory.queue.push(claimOf("1", "hang"), claimOf("2", "broken"), claimOf("3", "pigeon"));
  await service.start();
  const began = clock.now();
  await runUntil(clock, () => memory.settled.length === 3);
  assert(clock.now() - began >= 30_000 && clock.now() - began < 35_000);
  assert.deepEqual(
    memory.settled.map(({ claim, outcome }) => [claim.delivery, outcome.kind, outcome.reason]).sort(),
    [
      ["1", "retry", "no answer within 30 s"],
      ["2", "retry", "connection refused"],
      ["3", "failed", "pigeon is not set up here"],
    ],
  );
  await service.stop();
});

Deno.test("dispatcher: no more under way than allowed, and stop() lets them finish, then cuts them and gives them back", async () => {
  const clock = manualClock();
  const memory = memoryStore();
  let now = 0;
  let most = 0;
  const releases: (() => void)[] = [];
  const provider = fake(async (_target, _message, signal) => {
    most = Math.max(most, ++now);
    await new Promise<void>((done, cut) => {
      releases.push(done);
      signal.addEventListener("abort", () => cut(signal.reason), { once: true });
    });
    now--;
    return { kind: "sent" };
  });
  const service = dispatcher({ store: memory.store, providers: [provider], clock, concurrency: 8 });
  memory.queue.push(...Array.from({ length: 30 }, (_, i) => claimOf(String(i))));
  await service.start();
  await runUntil(clock, () => now === 8);
  for (const release of releases.splice(0)) release();
  await runUntil(clock, () => memory.settled.length === 8 && now === 8);
  assert.equal(most, 8);
  const stopped = service.stop();
  releases.shift()?.();
  await memory.until(9);
  clock.advance(5_000);
  await stopped;
  assert.equal(memory.settled.length, 16);
  assert.deepEqual(
    memory.settled.slice(9).map(({ outcome, retryMs }) => [outcome.kind, outcome.reason, retryMs]),
    Array(7).fill(["retry", "the gateway stopped", 0]),
  );
  assert.equal(memory.queue.length, 14);
  await service.stop();
});

Deno.test("dispatcher: from tidings.send to a browser's keys, by two gateways, each device once, with its trace", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await using push = await fakeService();
  const vapid = { ...makeVapidKeys(), subject: "mailto:a@b.example" };
  const receivers = await Promise.all(Array.from({ length: 5 }, makeReceiver));
  for (const [i, receiver] of receivers.entries()) {
    await sql`select tidings.register_device(${`u${i}`}, 'browser', 'webpush', ${`${push.origin}/${i}`},
      ${JSON.stringify(subscriptionKeys(receiver))}::text::jsonb, false, null)`;
  }
  const done = Promise.withResolvers<void>();
  let sent = 0;
  const gateways = [0, 1].map(() =>
    dispatcher({
      store: createPushStore(database.connect()),
      providers: [webPush({ vapid, guard: guard({ hosts: [push.origin] }), clock: systemClock })],
      grace: 0,
      pause: 50,
      onOutcome: () => ++sent === 100 && done.resolve(),
    })
  );
  for (const gateway of gateways) await gateway.start();
  await sql`select tidings.send('all', 'n' || i, push => true) from generate_series(1, 20) i`;
  await done.promise;
  for (const gateway of gateways) await gateway.stop();
  const shown: string[] = [];
  for (const { path, body } of push.received) {
    const plain = await decrypt(body, receivers[Number(path.slice(1))]!);
    const payload: Payload = JSON.parse(new TextDecoder().decode(plain));
    shown.push(`${path} ${payload.item.title}`);
  }
  assert.equal(shown.length, 100);
  assert.equal(new Set(shown).size, 100);
  const rows = await sql`select event, count(*)::int from tidings.push_trace group by 1 order by 1`;
  assert.deepEqual([...rows], [{ event: "queued", count: 100 }, { event: "sent", count: 100 }]);
});
