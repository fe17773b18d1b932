/**
 * What must not lose or double anything, each under load and with the checker: connections that die, a database that stops or
 * crashes, gateways that are killed or restarted. Short in the suite, longer in `deno task chaos`.
 * @module
 */
import assert from "node:assert/strict";
import { assertWhole, check, type CheckOptions, type CheckReport } from "../helpers/checker.ts";
import { testCluster, testDatabase } from "../helpers/database.ts";
import { Fleet } from "../helpers/fleet.ts";
import { startGateway } from "../helpers/gateway.ts";

/** How much of it. */
export interface Size extends Pick<CheckOptions, "seed" | "writers" | "transactions" | "clients"> {
  /** How often the trouble happens. */
  rounds: number;
}

/** Transactions between two troubles. */
const BETWEEN = 40;

/** Every connection of every gateway is terminated, again and again: the pool's, and the listener's. */
export async function terminateConnections(size: Size): Promise<CheckReport> {
  await using database = await testDatabase();
  await using one = await startGateway(database);
  await using two = await startGateway(database);
  let terminated = 0;
  const report = await troubled(size, database, () => [one.url, two.url], async () => {
    const ended = await database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'tidings%'`;
    assert.ok(ended.some((row) => row.pg_terminate_backend), "there were connections to terminate");
    terminated += ended.length;
  });
  assert.ok(terminated >= 4 * size.rounds, "the pools and the listeners were hit");
  return report;
}

/** PostgreSQL is stopped, or crashes, and is started again. */
export async function restartDatabase(size: Size): Promise<CheckReport> {
  await using server = await testCluster();
  const database = { url: server.url() };
  await using one = await startGateway(database);
  await using two = await startGateway(database);
  const report = await troubled(size, database, () => [one.url, two.url], async (round) => {
    if (round % 2 === 0) await server.crash();
    else await server.stop();
    await server.start();
  });
  assert.ok(report.failures > 0, "the writers noticed");
  return report;
}

/** Gateways are killed; others take their place. */
export async function killGateways(size: Size): Promise<CheckReport> {
  const report = await replaceInTurn(size, async (fleet, index) => {
    fleet.signal(index, "SIGKILL");
    await fleet.replace(index);
  });
  assert.ok(report.broken > 0, "clients noticed");
  return report;
}

/** Every gateway in turn is told to stop, and one of the new version takes its place. */
export async function rollingRestart(size: Size): Promise<CheckReport> {
  return await replaceInTurn(size, async (fleet, index) => {
    const old = fleet.signal(index, "SIGTERM");
    await fleet.replace(index);
    const { code, stdout, stderr } = await old.ended;
    assert.equal(code, 0, `${stdout}\n${stderr}`);
  });
}

/** Two gateways as processes of their own, one after the other replaced. */
async function replaceInTurn(
  size: Size,
  replace: (fleet: Fleet, index: number) => Promise<void>,
): Promise<CheckReport> {
  await using database = await testDatabase();
  await using fleet = await Fleet.start(database.url, 2);
  return await troubled(size, database, () => fleet.urls, (round) => replace(fleet, round % 2));
}

/** Checks under load, with the trouble again and again; throws unless the checker is content. */
async function troubled(
  { rounds, ...size }: Size,
  database: { url: string },
  gateways: () => readonly string[],
  trouble: (round: number) => Promise<void>,
): Promise<CheckReport> {
  const report = await check({
    ...size,
    database,
    gateways,
    async during(progress) {
      for (let round = 0; round < rounds; round++) {
        await progress.more(BETWEEN);
        await trouble(round);
      }
      await progress.more(BETWEEN);
    },
  });
  assertWhole(report);
  assert.ok(report.deliveries > 500, JSON.stringify(report));
  return report;
}
