import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { testDatabase } from "./helpers/database.ts";

Deno.test("every statement of docs/operations.md runs", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`select tidings.adopt()`;
  await sql`select tidings.send('user:ada', 'a title')`;
  await sql`select tidings.send('gym:closed')`;
  const page = await readFile(new URL("../docs/operations.md", import.meta.url), "utf8");
  const statements = [...page.matchAll(/```sql\n(.*?)```/gs)].map(([, text]) => text!);
  const rows = [];
  for (const statement of statements) rows.push(await sql.unsafe(statement));
  assert.deepEqual(rows.map(({ count }) => count > 0), statements.map(() => true), "each finds something");
  assert.deepEqual(rows[0]!.map(({ event }) => event), ["not delivered"]);
  assert.equal(rows[1]![0]!.title, "a title");
  assert.equal(rows[2]![0]!.too_old, "0");
});
