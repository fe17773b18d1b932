import assert from "node:assert/strict";
import postgres from "postgres";
import { assertWhole, check } from "./helpers/checker.ts";
import { type Leg, LEGS } from "./helpers/checker_client.ts";
import { Followers } from "./helpers/follow_checker.ts";
import { testDatabase } from "./helpers/database.ts";
import { startGateway } from "./helpers/gateway.ts";

const SEEDS = { whole: 20_261_121, carried: 20_261_122, naive: 255, following: 42 };

Deno.test("40 writers, two gateways, clients that come and go on every transport: each row once, in order", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database);
  await using two = await startGateway(database);
  const report = await check({ seed: SEEDS.whole, database, gateways: () => [one.url, two.url] });
  assertWhole(report);
  assert.equal(report.failures, 0);
  assert.ok(report.rows > 2_000 && report.deliveries > 5_000, JSON.stringify(report));
  for (const transport of Object.keys(LEGS)) {
    assert.ok(report.legs[transport]! > 20, `${transport} was cut often enough`);
  }
});

/** Never busy: every commit rings, and gateways sleep in between as often as they can. */
const RINGING = { doorbell: { busy: Infinity } };

Deno.test("rows that come with the bell, beside others that are read: each row once, in order, wherever clients are cut", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database, RINGING);
  await using two = await startGateway(database, RINGING);
  const report = await check({
    seed: SEEDS.carried,
    database,
    gateways: () => [one.url, two.url],
    writers: 4,
    transactions: 120,
    clients: 16,
  });
  assertWhole(report);
  assert.equal(report.failures, 0);
  const carried = await Promise.all([one, two].map((gateway) => gateway.metric("tidings_log_carried_total")));
  assert.ok(carried.every((count) => count > 50), `${carried} rows came with the bell, of ${report.rows}`);
  for (const transport of Object.keys(LEGS)) assert.ok(report.legs[transport]! > 10, `${transport} was cut`);
});

Deno.test("the same check finds what is lost when a bell carries a row that is not the first of its transaction", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, RINGING);
  await database
    .sql`create or replace function tidings.may_carry() returns boolean language sql as 'select true'`;
  const report = await check({
    seed: SEEDS.carried,
    database,
    gateways: () => [gateway.url],
    writers: 4,
    transactions: 60,
    clients: 8,
  });
  assert.ok(report.lost.length > 0, "rows were lost, and it was seen");
});

Deno.test("people follow and unfollow while others write: each receives what the log has in between, once, and so has the inbox", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database);
  await using two = await startGateway(database);
  const gateways = () => [one.url, two.url];
  const topics = ["club:1", "club:2", "club:3"];
  const followers = new Followers({
    seed: SEEDS.following,
    database,
    gateways,
    users: Array.from({ length: 8 }, (_, index) => `u${index}`),
    topics,
    changes: 16,
    token: (user) => one.token(user, { subscribe: ["club:*"] }),
  });
  const report = await check({
    seed: SEEDS.following,
    database,
    gateways,
    writers: 12,
    clients: 8,
    // Written to nearly as often as all others together.
    further: Array.from({ length: 3 }, () => topics).flat(),
    during: (progress) => followers.run(progress),
  });
  assertWhole(report);
  assert.equal(report.failures, 0);
  let judgement = await followers.judge(report);
  // What was delivered during an unfollow comes into the inbox a moment after it.
  for (const late = AbortSignal.timeout(30_000); judgement.inbox.length > 0 && !late.aborted;) {
    judgement = await followers.judge(report);
  }
  const { received, held, chance, lost, strayed, disordered, inbox } = judgement;
  assert.deepEqual({ lost, strayed, disordered, inbox }, {
    lost: [],
    strayed: [],
    disordered: [],
    inbox: [],
  });
  assert.ok(received > 1_000 && held > 1_000 && chance > 100, JSON.stringify({ received, held, chance }));
  for (const transport of Object.keys(LEGS)) assert.ok(report.legs[transport]! > 5, `${transport} was cut`);
});

Deno.test("the same check finds the rows that a reader by id > since loses", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const sql = postgres(database.url, { max: 8, onnotice: () => {} });
  const naive: Leg = async ({ since, topics, user, take, progress }) => {
    let last = since === "earliest" ? "0" : since;
    for (;;) {
      const rows = await sql<{ id: string; topic: string; title: string }[]>`
        select n.id::text, n.topic, n.title from tidings.notification n
        where n.id > ${last} and n.topic = any (string_to_array(${
        [...topics, "all", `user:${user}`].join()
      }, ',')) order by n.id limit 100`;
      last = rows.at(-1)?.id ?? last;
      const items = rows.map((row) => ({ ...row, type: "notification", createdAt: "" }));
      if (take(items, last)) return;
      if (rows.length === 0) await progress.more(1);
    }
  };
  try {
    const report = await check({
      seed: SEEDS.naive,
      database,
      gateways: () => [gateway.url],
      legs: { naive },
      clients: 8,
    });
    assert.ok(report.lost.length > 0, "rows were lost, and it was seen");
    assert.deepEqual([report.doubled, report.resets], [[], []]);
  } finally {
    await sql.end();
  }
});
