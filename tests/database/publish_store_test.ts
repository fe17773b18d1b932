import assert from "node:assert/strict";
import { createPublisher } from "../../src/api/publisher.ts";
import { type Clock, systemChance, systemClock } from "../../src/clock.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import { type FailureKind, PublishFailure, publishStore } from "../../src/database/publish_store.ts";
import { testCluster, type TestDatabase, testDatabase } from "../helpers/database.ts";
import { manualClock } from "../helpers/manual_clock.ts";

const clock = systemClock;
const row = { topics: ["all"], title: "x" };
const idempotency = (key: string) => ({ owner: "ann", key, fingerprint: "f" });

function pool(url: string, time: Clock = clock) {
  return createDatabase({ url, max: 4, prepare: true, name: "publishing" }, { clock: time });
}

function failed(kind: FailureKind, code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof PublishFailure, String(error));
    assert.equal(error.kind, kind);
    assert.equal(error.error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

/** Waits until somebody waits for a lock. */
async function blocked(database: TestDatabase, count = 1): Promise<void> {
  for (;;) {
    const waiting = await database.sql`
      select pid from pg_stat_activity
      where application_name = 'publishing' and wait_event_type = 'Lock' and datname = current_database()`;
    if (waiting.length >= count) return;
  }
}

Deno.test("send() sends requests of one and several rows in one transaction", async () => {
  await using database = await testDatabase();
  const db = pool(database.url);
  await db.start();
  const store = publishStore(db);
  const outcomes = await store.send([
    { rows: [row, { topics: ["a", "b"], title: "y", data: { n: 1 }, ttl: 2.5, priority: "low" }] },
    { rows: [row], idempotency: idempotency("k") },
    { rows: [row], idempotency: idempotency("k") },
    { rows: [row], idempotency: { ...idempotency("k"), fingerprint: "g" } },
  ]);
  assert.deepEqual(outcomes.map(({ outcome }) => outcome), ["sent", "sent", "replayed", "reused"]);
  const ids = outcomes.map((outcome) => outcome.outcome === "reused" ? [] : outcome.ids);
  assert.deepEqual(ids.map(({ length }) => length), [3, 1, 1, 0]);
  assert.deepEqual(ids[1], ids[2]);
  const rows = await database.sql`select id, xid from tidings.notification order by id`;
  assert.deepEqual(rows.map(({ id }) => id), [...ids[0]!, ...ids[1]!]);
  assert.equal(new Set(rows.map(({ xid }) => xid)).size, 1);
  await db.stop();
});

Deno.test("send() says which field the database refuses, and sends nothing", async () => {
  await using database = await testDatabase();
  const db = pool(database.url);
  await db.start();
  const store = publishStore(db);
  const refusals: [object, string, string][] = [
    [{ topics: ["a b"] }, "to", "segments joined by a colon, no white space, comma, *"],
    [{ topics: ["x".repeat(201)] }, "to", "at most 200 characters"],
    [{ type: "tidings.x" }, "type", "tidings.* is reserved"],
    [{ title: "x".repeat(1_001) }, "title", "at most 1000 characters"],
    [{ body: "x".repeat(65_537) }, "body", "at most 65536 bytes"],
    [{ link: "javascript:x" }, "link", "an address without script or control characters"],
    [{ data: "x".repeat(262_144) }, "data", "at most 262144 bytes as text"],
    [{ priority: "urgent" }, "priority", "one of very-low, low, normal, high"],
    [{ collapse_key: "" }, "collapseKey", "1 to 200 characters"],
    [{ dedupe_key: "x".repeat(201) }, "dedupeKey", "1 to 200 characters"],
    [{ ttl: -1 }, "ttl", "must be positive, got -00:00:01"],
  ];
  for (const [wrong, field, message] of refusals) {
    await assert.rejects(store.send([{ rows: [row] }, { rows: [{ ...row, ...wrong }] }]), (error) => {
      failed("refused", "invalid_request", new RegExp(`^Cannot send: ${field}: `))(error);
      assert.deepEqual((error as PublishFailure).error.details.errors, [{ field, message }]);
      return true;
    });
  }
  await assert.rejects(
    store.send([{ rows: [{ ...row, deliver_at: "the 31st" }] }]),
    failed("refused", "invalid_request", /^Cannot send: the database refuses what it holds$/),
  );
  assert.equal((await database.sql`select from tidings.notification`).length, 0);
  await db.stop();
});

Deno.test("send() knows that nothing was sent when the server is not there", async () => {
  await using cluster = await testCluster();
  const db = pool(cluster.url());
  await db.start();
  await cluster.stop();
  await assert.rejects(
    publishStore(db).send([{ rows: [row] }]),
    (error) => {
      assert.ok(error instanceof PublishFailure);
      // the first statement may still find the connection that was closed
      assert.ok(error.kind === "unsent" || error.kind === "unknown");
      assert.equal(error.error.code, "unavailable");
      return true;
    },
  );
  await assert.rejects(
    publishStore(db).send([{ rows: [row] }]),
    failed("unsent", "unavailable", /the database cannot be reached; nothing was sent, try again/),
  );
  await db.stop();
});

Deno.test("send() does not know the outcome when the connection is cut or the deadline passes", async () => {
  await using database = await testDatabase();
  const holder = database.connect({ max: 1 });
  await holder.unsafe("begin; lock table tidings.notification in access exclusive mode");
  const cut = pool(database.url);
  await cut.start();
  const lost = assert.rejects(
    publishStore(cut).send([{ rows: [row] }]),
    failed(
      "unknown",
      "unavailable",
      /^Cannot tell whether it was sent: .* Idempotency-Key header, or a dedupeKey/,
    ),
  );
  await blocked(database);
  await database.sql`
    select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'publishing' and wait_event_type = 'Lock'`;
  await lost;
  await cut.stop();

  const time = manualClock();
  const late = pool(database.url, time);
  await late.start();
  const unanswered = assert.rejects(
    publishStore(late).send([{ rows: [row] }]),
    failed("unknown", "unavailable", /^Cannot tell whether it was sent/),
  );
  await blocked(database);
  time.advance(10_000);
  await unanswered;
  await holder.unsafe("rollback");
  await late.stop();
});

Deno.test("a request with a key whose connection is cut is sent exactly once, one without is told", async () => {
  await using database = await testDatabase();
  const db = pool(database.url);
  await db.start();
  const publisher = createPublisher(publishStore(db), { clock, chance: systemChance }, { inFlight: 1 });
  const holder = database.connect({ max: 1 });
  await holder.unsafe("begin; lock table tidings.notification in access exclusive mode");
  const request = { rows: [row], count: 1, bytes: 100 };
  const keyed = publisher.publish({ ...request, idempotency: idempotency("k") });
  await blocked(database);
  const plain = publisher.publish({ ...request, rows: [{ ...row, title: "plain" }] });
  await database.sql`
    select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'publishing' and wait_event_type = 'Lock'`;
  await holder.unsafe("rollback");
  const { ids } = await keyed;
  await plain;
  const rows = await database.sql`select id from tidings.notification where title = 'x'`;
  assert.deepEqual(rows.map(({ id }) => id), ids);
  await publisher.stop();
  await db.stop();
});

Deno.test("two statements with the same keys and dedupe keys in opposite order both succeed", async () => {
  await using database = await testDatabase();
  const pools = [pool(database.url), pool(database.url)];
  await Promise.all(pools.map((db) => db.start()));
  const stores = pools.map(publishStore);
  const batch = (round: number, reverse: boolean) => {
    const requests = Array.from({ length: 60 }, (_, i) => ({
      rows: [{ topics: [`t${i % 7}`, `t${(i + 3) % 7}`], title: "x", dedupe_key: `${round}-${i}` }],
      idempotency: idempotency(`${round}-${i}`),
    }));
    return reverse ? requests.toReversed() : requests;
  };
  for (let round = 0; round < 20; round++) {
    const [one, two] = await Promise.all(stores.map((store, i) => store.send(batch(round, i === 1))));
    const ids = (outcomes: typeof one) =>
      outcomes!.map((outcome) => outcome.outcome === "reused" ? [] : outcome.ids);
    assert.deepEqual(ids(one), ids(two).toReversed());
  }
  assert.equal((await database.sql`select from tidings.notification`).length, 20 * 120);
  await Promise.all(pools.map((db) => db.stop()));
});

Deno.test("a deadlock with somebody else's transaction is tried again and loses nothing", async () => {
  await using database = await testDatabase();
  const db = pool(database.url);
  await db.start();
  const publisher = createPublisher(publishStore(db), { clock, chance: systemChance });
  const other = database.connect({ max: 1 });
  await other.unsafe(
    "begin; set local deadlock_timeout = '10s'; select tidings.send('b', dedupe_key => 'd')",
  );
  const published = publisher.publish({
    rows: [{ topics: ["a", "b"], dedupe_key: "d" }],
    count: 2,
    bytes: 100,
  });
  await blocked(database);
  // now each waits for the other; the server ends the publisher's statement, whose deadlock_timeout is the shorter one
  await other.unsafe("select tidings.send('a', dedupe_key => 'd')");
  await other.unsafe("commit");
  const { ids } = await published;
  const rows = await database.sql`select id from tidings.notification order by topic`;
  assert.deepEqual(rows.map(({ id }) => id), ids);
  await publisher.stop();
  await db.stop();
});
