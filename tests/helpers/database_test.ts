import assert from "node:assert/strict";
import { testCluster, testDatabase } from "./database.ts";

Deno.test("testDatabase() gives every test a migrated database of its own", async () => {
  await using one = await testDatabase();
  await using other = await testDatabase();
  await one.sql`create table public.mine (id int)`;
  const [seen] = await other
    .sql`select to_regclass('public.mine') as mine, to_regclass('tidings.migration') as known`;
  assert.deepEqual({ ...seen }, { mine: null, known: "tidings.migration" });
});

Deno.test("testDatabase() goes away with all who are connected", async () => {
  let url: string;
  {
    await using database = await testDatabase();
    url = database.url;
    await database.connect()`select 1`;
  }
  await using another = await testDatabase();
  const name = new URL(url).pathname.slice(1);
  assert.deepEqual([...await another.sql`select from pg_database where datname = ${name}`], []);
});

Deno.test("testCluster() can be stopped, crashed and started again with its data", async () => {
  await using server = await testCluster();
  await server.connect()`create table public.kept as select 7 as n`;
  await server.stop();
  await server.start();
  await server.crash();
  await server.start();
  assert.deepEqual([...await server.connect()`select n from public.kept`], [{ n: 7 }]);
});
