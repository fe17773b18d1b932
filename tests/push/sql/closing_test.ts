import assert from "node:assert/strict";
import { createPushStore } from "../../../src/push/store.ts";
import { testDatabase } from "../../helpers/database.ts";
import { device, due, settle, trace } from "./ledger.ts";

Deno.test("everything read at once is taken back from the screens as well", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "phone", { kind: "fcm", silent: true });
  await sql`select tidings.send('user:1', 'n' || i, push => true) from generate_series(1, 5) i`;
  await sql`select tidings.send('all', 'to all', push => true)`;
  await settle(sql, await due(sql));
  await sql`select tidings.mark_all('1', 'seen')`;
  assert.deepEqual(await due(sql), [], "seen is not read");
  await sql`select tidings.mark_all('1', 'read')`;
  const closing = await due(sql);
  assert.deepEqual(closing.map(({ message }) => message.kind), Array(6).fill("close"));
  await settle(sql, closing);
  assert.deepEqual(await due(sql), []);
  assert.equal((await trace(sql, "where event = 'closed'")).length, 6);
});

Deno.test("read elsewhere: a silent device is told at once, another with its next push, each once", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "browser");
  await device(sql, "1", "phone", { kind: "fcm", silent: true });
  const [row] = await sql`select tidings.send('user:1', 'one', push => true) as id`;
  await settle(sql, await due(sql));
  await sql`select tidings.mark('1', array[${row?.id}]::bigint[], 'read')`;
  const closing = await due(sql);
  assert.deepEqual(closing.map(({ kind, message }) => [kind, message.kind, message.read]), [["fcm", "close", [
    row?.id,
  ]]]);
  await createPushStore(sql).settle(closing[0]!, { kind: "retry", reason: "busy" }, 0);
  const again = await due(sql);
  assert.equal(again.length, 1);
  await settle(sql, again);
  await sql`select tidings.send('user:1', 'two', push => true)`;
  const next = await due(sql);
  assert.deepEqual(next.map(({ kind, message }) => [kind, message.read]).sort(), [["fcm", []], ["webpush", [
    row?.id,
  ]]]);
  await settle(sql, next);
  await sql`select tidings.send('user:1', 'three', push => true)`;
  assert.deepEqual((await due(sql)).flatMap(({ message }) => message.read), []);
});
