import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../src/clock.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import { testDatabase } from "../helpers/database.ts";

/** A clock on which what takes seconds takes hours. */
const patient: Clock = {
  ...systemClock,
  after: (ms, run) => systemClock.after(ms < 1_000 ? ms : ms * 10_000, run),
};

Deno.test("a statement that was given up at its deadline holds up no stop, also when the server is frozen", async () => {
  await using database = await testDatabase();
  const pool = createDatabase({ url: database.url, max: 1, prepare: true, name: "frozen" }, {
    clock: patient,
  });
  await pool.start();
  const [backend] = await pool.sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  const late = pool.query((sql) => sql`select pg_sleep(600)`, 50);
  await assert.rejects(late, /did not answer within 50 ms/);
  Deno.kill(backend!.pid, "SIGSTOP");
  try {
    await assert.rejects(pool.query((sql) => sql`select 1`, 50), /did not answer within 50 ms/);
    await pool.stop();
  } finally {
    Deno.kill(backend!.pid, "SIGCONT");
  }
});

Deno.test("hasten() gives up what is under way, and what is asked later, after so many milliseconds", async () => {
  await using database = await testDatabase();
  const pool = createDatabase({ url: database.url, max: 2, prepare: true, name: "hasty" }, {
    clock: patient,
  });
  await pool.start();
  const early = assert.rejects(pool.sql`select pg_sleep(600)`, /did not answer within 80 ms/);
  pool.hasten(80);
  await early;
  await assert.rejects(pool.sql`select pg_sleep(600)`, /did not answer within 80 ms/);
  assert.equal((await pool.sql`select 1`).length, 1);
  await pool.stop();
  await pool.start();
  await pool.sql`select pg_sleep(0.2)`;
  await pool.stop();
});
