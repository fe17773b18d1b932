import assert from "node:assert/strict";
import { testDatabase } from "./database.ts";
import { brake, startGateway } from "./gateway.ts";

Deno.test("startGateway() serves a database, several gateways one, and a brake holds one back", async () => {
  await using database = await testDatabase();
  const held = brake();
  await using one = await startGateway(database);
  await using other = await startGateway(database, { brake: held });
  const token = await one.token("ann");
  const poll = async (url: string, query: string) => {
    const response = await fetch(`${url}/v1/feed?${query}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return await response.json() as { cursor: string; items: { title: string }[] };
  };
  const { cursor } = await poll(one.url, "wait=0");
  await held.pull();
  await database.sql`select tidings.send('user:ann', 'hello')`;
  assert.deepEqual((await poll(one.url, `since=${cursor}`)).items.map(({ title }) => title), ["hello"]);
  assert.deepEqual((await poll(other.url, `since=${cursor}&wait=0`)).items, []);
  held.release();
  assert.deepEqual((await poll(other.url, `since=${cursor}`)).items.map(({ title }) => title), ["hello"]);
});
