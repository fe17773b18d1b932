import assert from "node:assert/strict";
import { createPushStore } from "../../../src/push/store.ts";
import { testDatabase } from "../../helpers/database.ts";
import { device, due, settle, summary, trace } from "./ledger.ts";

Deno.test("what was seen, read or archived in the meantime, one by one or all at once, is not pushed, and why is kept", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  const ids: Record<string, string> = {};
  for (const state of ["seen", "read", "archived", "unread", "untouched"]) {
    const [row] = await sql`select tidings.send('user:1', ${state}, push => true) as id`;
    ids[state] = row?.id;
  }
  for (const state of ["seen", "read", "archived", "unread"]) {
    await sql`select tidings.mark('1', array[${ids[state]!}]::bigint[], ${state})`;
  }
  const claims = await due(sql);
  assert.deepEqual(summary(claims), ["1/a untouched"]);
  assert.deepEqual(
    await trace(sql, "where event = 'skipped'"),
    ["seen", "read", "archived", "seen"].map((why) => `1 a skipped ${why}`),
  );
  await settle(sql, claims, { kind: "retry", reason: "busy" });
  await sql`select tidings.send('user:1', 'later', push => true)`;
  await sql`select tidings.mark_all('1', 'seen')`;
  assert.deepEqual(await due(sql), []);
});

Deno.test("preferences: muted and refused ones are not pushed, a rule that says push asks for what nobody asked for", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  for (const user of ["1", "2", "3"]) await device(sql, user, "a");
  await sql`select tidings.prefer('1', 'type', 'muted', in_app => false)`;
  await sql`select tidings.prefer('1', 'type', 'quietly', push => false)`;
  await sql`select tidings.prefer('1', 'type', 'eager')`;
  await sql`select tidings.send('user:1', type, type => type, push => true) from unnest(array['muted', 'quietly', 'plain']) type`;
  await sql`select tidings.send('user:1', type, type => type) from unnest(array['eager', 'plain']) type`;
  await sql`select tidings.send('user:2', 'eager', type => 'eager')`;
  await sql`select tidings.send('all', 'to all', type => 'eager'), tidings.send('all', 'unasked', type => 'plain')`;
  assert.deepEqual(summary(await due(sql)), ["1/a eager", "1/a plain", "1/a to all"]);
  assert.deepEqual(await trace(sql, "where event = 'skipped'"), [
    "1 a skipped muted",
    "1 a skipped preference",
  ]);
  await sql`select tidings.send('user:3', 'late', type => 'late', push => true)`;
  while (await createPushStore(sql).plan(10, 0) !== 0);
  await sql`select tidings.prefer('3', 'type', 'late', in_app => false)`;
  assert.deepEqual(await due(sql), []);
  assert.deepEqual(await trace(sql, "where event = 'skipped' and user_id = '3'"), ["3 a skipped muted"]);
});

Deno.test("quiet hours hold pushes back until they end, then they come unless they were read", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  const [row] =
    await sql`select tidings.send('user:1', 'hush', push => true) as id, tidings.send('user:1', 'read meanwhile', push => true) as read`;
  // an hour around now, wherever the clock stands
  await sql`select tidings.set_quiet_hours('1', ((now() at time zone 'Asia/Kathmandu') - interval '30 minutes')::time,
    ((now() at time zone 'Asia/Kathmandu') + interval '30 minutes')::time, 'Asia/Kathmandu')`;
  assert.deepEqual(await due(sql), []);
  const held =
    await sql`select notification_id, extract(epoch from due_at - now())::int as wait, state from tidings.delivery`;
  assert.equal(held.length, 2);
  assert(
    held.every(({ wait, state }) => state === "queued" && wait > 1_700 && wait <= 1_800),
    JSON.stringify(held),
  );
  await sql`select tidings.mark('1', array[${row?.read}]::bigint[], 'read')`;
  await sql`select tidings.set_quiet_hours('1', null, null, null)`;
  await sql`update tidings.delivery set due_at = now()`;
  assert.deepEqual(summary(await due(sql)), ["1/a hush"]);
  assert.deepEqual(await trace(sql, "where event = 'held'"), [
    "1 a held quiet_hours",
    "1 a held quiet_hours",
  ]);
});

Deno.test("an expired one is not pushed, a purged one neither, and the reason is kept", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', t, ttl => '1 hour', push => true) from unnest(array['expired', 'purged', 'old']) t`;
  while (await createPushStore(sql).plan(10, 0) !== 0);
  await sql`update tidings.notification set expires_at = now() where title = 'expired'`;
  await sql`update tidings.notification set expires_at = null, created_at = now() - interval '4 days' where title = 'old'`;
  await sql`delete from tidings.notification where title = 'purged'`;
  assert.deepEqual(await due(sql), []);
  assert.deepEqual(await trace(sql, "where event = 'skipped'"), [
    "1 a skipped expired",
    "1 a skipped purged",
    "1 a skipped expired",
  ]);
});

Deno.test("of several with one collapse key only the newest is pushed, and a newer one follows one that was sent", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', t, collapse_key => 'score', push => true) from unnest(array['1:0', '2:0', '2:1']) t`;
  await sql`select tidings.send('all', 'other', collapse_key => 'score', push => true)`;
  const claims = await due(sql);
  assert.deepEqual(summary(claims), ["1/a 2:1", "1/a other"]);
  await settle(sql, claims);
  await sql`select tidings.send('user:1', '3:1', collapse_key => 'score', push => true)`;
  assert.deepEqual(summary(await due(sql)), ["1/a 3:1"]);
  assert.deepEqual(await trace(sql, "where event = 'skipped'"), [
    "1 a skipped collapsed",
    "1 a skipped collapsed",
  ]);
});
