import assert from "node:assert/strict";
import { createPushStore } from "../../../src/push/store.ts";
import { testDatabase } from "../../helpers/database.ts";
import { device, due, trace } from "./ledger.ts";

Deno.test("a device belongs to one person: registered by another login it moves, and what was queued for the first is not pushed", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const address = "https://push.example/shared";
  await device(sql, "1", "phone", { address });
  await sql`select tidings.send('user:1', 'secret', push => true)`;
  while (await createPushStore(sql).plan(10, 0) !== 0);
  await device(sql, "2", "tablet", { address });
  await sql`select tidings.send('user:2', 'mine', push => true)`;
  assert.deepEqual((await due(sql)).map(({ message }) => message.item.title), ["mine"]);
  assert.deepEqual(await trace(sql, "where event = 'skipped'"), ["1 phone skipped device_removed"]);
  assert.deepEqual(
    (await sql`select user_id, id from tidings.device`).map(({ user_id, id }) => user_id + id),
    ["2tablet"],
  );
  await Promise.all(
    Array.from({ length: 8 }, (_, i) => device(database.sql, String(i % 4), `d${i}`, { address })),
  );
  assert.equal((await sql`select 1 from tidings.device where address = ${address}`).length, 1);
});

Deno.test("a person keeps the fifty devices seen last", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  for (let i = 0; i < 53; i++) await device(sql, "1", `d${i}`);
  const ids = (await sql`select id from tidings.device order by number`).map(({ id }) => id);
  assert.deepEqual([ids.length, ids[0]], [50, "d3"]);
});
