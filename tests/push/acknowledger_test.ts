import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { formatCursor, fromSnapshot } from "../../src/log/cursor.ts";
import { createAcknowledger, writeAcknowledged } from "../../src/push/acknowledger.ts";
import { testDatabase } from "../helpers/database.ts";
import { manualClock } from "../helpers/manual_clock.ts";
import { due } from "./sql/ledger.ts";

/** What a client that has shown everything so far holds. */
async function cursor(sql: Sql): Promise<string> {
  const [row] = await sql`select tidings.adopt() as epoch, pg_current_snapshot()::text as snapshot`;
  return formatCursor(fromSnapshot(row?.epoch, row?.snapshot));
}

/** The titles of what is due, in the order of the claims. */
async function pushed(sql: Sql): Promise<unknown[]> {
  return (await due(sql)).map(({ message }) => message.item.title);
}

Deno.test("what a visible client acknowledged is not pushed, what came after is; the reason is kept", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`select tidings.register_device('ann', 'd', 'webpush', 'https://push.example/1', '{}'::jsonb, false, null)`;
  const clock = manualClock();
  const written = Promise.withResolvers<void>();
  const service = createAcknowledger(async (entries) => {
    await writeAcknowledged(sql)(entries);
    written.resolve();
  }, clock);
  await service.start();
  const before = await cursor(sql);
  await sql`select tidings.send('user:ann', 'seen', push => true), tidings.send('all', 'seen by all', push => true)`;
  const open = await sql.reserve();
  await open`begin`;
  await open`select tidings.send('user:ann', 'in progress', push => true)`;
  service.acknowledge("ann", await cursor(sql));
  service.acknowledge("ann", before);
  service.acknowledge("ann", "nonsense");
  service.acknowledge("bob", await cursor(sql));
  clock.advance(1_000);
  await written.promise;
  await open`commit`;
  open.release();
  await sql`select tidings.send('user:ann', 'later', push => true)`;
  assert.deepEqual(await pushed(sql), ["in progress", "later"]);
  assert.deepEqual(
    (await sql`select reason from tidings.push_trace where event = 'skipped'`).map(({ reason }) => reason),
    ["acknowledged", "acknowledged"],
  );
  assert.deepEqual((await sql`select user_id from tidings.acknowledged`).map(({ user_id }) => user_id), [
    "ann",
  ]);
  await service.stop();
});

Deno.test("an acknowledgement of another history, of the future or older than the last changes nothing", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`select tidings.register_device('ann', 'd', 'webpush', 'https://push.example/1', '{}'::jsonb, false, null)`;
  const write = writeAcknowledged(sql);
  const [row] =
    await sql`select tidings.adopt() as epoch, pg_snapshot_xmax(pg_current_snapshot())::text as xmax`;
  const xmax = Number(row?.xmax);
  await sql`select tidings.send('user:ann', 'one', push => true)`;
  await write([{ user: "ann", cursor: { epoch: "other", xmax, gaps: [] } }]);
  await write([{ user: "ann", cursor: { epoch: row?.epoch, xmax: xmax + 1_000_000, gaps: [] } }]);
  assert.deepEqual([...await sql`select * from tidings.acknowledged`], []);
  await write([{ user: "ann", cursor: { epoch: row?.epoch, xmax, gaps: [] } }]);
  await write([{ user: "ann", cursor: { epoch: row?.epoch, xmax: xmax - 1, gaps: [] } }]);
  assert.deepEqual((await sql`select (place).xmax::text from tidings.acknowledged`).map(({ xmax }) => xmax), [
    row?.xmax,
  ]);
  assert.deepEqual(await pushed(sql), ["one"]);
});
