import assert from "node:assert/strict";
import postgres from "postgres";
import { check, type CheckReport } from "./helpers/checker.ts";
import type { Leg } from "./helpers/checker_client.ts";
import { testDatabase } from "./helpers/database.ts";
import { startGateway } from "./helpers/gateway.ts";

const SEEDS = { whole: 20_261_121, naive: 255 };

function checkWhole(report: CheckReport): void {
  const { lost, doubled, disordered, resets } = report;
  assert.deepEqual({ lost, doubled, disordered, resets }, {
    lost: [],
    doubled: [],
    disordered: [],
    resets: [],
  });
}

Deno.test("40 writers, two gateways, clients that come and go on every transport: each row once, in order", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database);
  await using two = await startGateway(database);
  const report = await check({ seed: SEEDS.whole, database, gateways: () => [one.url, two.url] });
  checkWhole(report);
  assert.equal(report.failures, 0);
  assert.ok(report.rows > 2_000 && report.deliveries > 5_000, JSON.stringify(report));
  for (const transport of ["websocket", "sse", "long-poll"]) {
    assert.ok(report.legs[transport]! > 20, `${transport} was cut often enough`);
  }
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
