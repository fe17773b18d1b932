import assert from "node:assert/strict";
import { createPushStore } from "../../../src/push/store.ts";
import { testDatabase } from "../../helpers/database.ts";
import { device, due, LEASE, settle, summary, trace } from "./ledger.ts";

Deno.test("digest: what one person gets of one type within the window is one push, telling how many; the log keeps each", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await device(sql, "1", "b");
  await sql`select tidings.digest(interval '10 minutes', '{count} likes on your post', type => 'liked')`;
  const like = (n: number, key: string) =>
    sql`select tidings.send('user:1', 'like ' || i, type => 'liked', collapse_key => ${key}, push => true) from generate_series(1, ${n}) i`;
  await like(12, "post:7");
  await like(1, "post:8");
  await sql`select tidings.send('user:1', 'plain', push => true)`;
  assert.deepEqual(summary(await due(sql)), ["1/a plain", "1/b plain"]);
  await like(3, "post:7");
  assert.deepEqual(await due(sql), []);
  const windows = await sql`select distinct due_at from tidings.delivery where digest like '%post:7'`;
  assert(windows.length <= 12, "later ones join the window of the first");
  await sql`update tidings.delivery set due_at = now() - interval '1 second' where state = 'queued'`;
  const [one, two] = await Promise.all([
    createPushStore(sql).claim(100, LEASE),
    createPushStore(database.connect()).claim(100, LEASE),
  ]);
  const claims = [...one, ...two];
  assert.deepEqual(summary(claims), [
    "1/a 15 likes on your post",
    "1/a like 1",
    "1/b 15 likes on your post",
    "1/b like 1",
  ]);
  const digest = claims.find(({ message }) => message.item.title?.startsWith("15"));
  assert.equal(new Set(digest?.message.ids).size, 15);
  await settle(sql, claims);
  assert.deepEqual([
    ...await sql`select state, count(*)::int from tidings.delivery where digest is not null group by 1 order by 1`,
  ], [
    { state: "sent", count: 4 },
    { state: "skipped", count: 28 },
  ]);
  assert.equal((await trace(sql, "where event = 'merged'")).length, 28);
  assert.deepEqual([...await sql`select count(*)::int from tidings.notification`], [{ count: 17 }]);
  await assert.rejects(Promise.resolve(sql`select tidings.digest(interval '1 minute', 'x')`), /at least one/);
  await assert.rejects(
    Promise.resolve(sql`select tidings.digest(interval '1 year', 'x', type => 'a')`),
    /1 second to 7 days/,
  );
});
