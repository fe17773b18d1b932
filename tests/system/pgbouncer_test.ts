import assert from "node:assert/strict";
import { titles } from "../conformance/client.ts";
import { sse } from "../conformance/sse.ts";
import { testDatabase } from "../helpers/database.ts";
import { gatewayProcess, pgbouncer, tokenFor } from "../helpers/front.ts";
import { freePort } from "../helpers/port.ts";

Deno.test("behind PgBouncer in transaction mode everything works, with a direct connection to listen", async () => {
  await using database = await testDatabase({ migrated: false });
  await using pooler = await pgbouncer(database);
  const port = freePort();
  await using gateway = gatewayProcess(port, { DATABASE_URL: pooler.url, LISTEN_DATABASE_URL: database.url });
  await gateway.until(/Listening on/);
  const url = `http://127.0.0.1:${port}`;
  const token = await tokenFor("ann");
  const client = await sse.open({ url, token });
  const post = async (path: string, body: unknown) => {
    const response = await fetch(`${url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    assert.ok(response.ok, `${path}: ${response.status} ${text}`);
    return text;
  };
  const expected = [];
  for (let n = 0; n < 30; n++) {
    // many at once, over more statements than the pool has connections
    const batch = Array.from({ length: 5 }, (_, i) => `${n}.${i}`);
    expected.push(...batch);
    await Promise.all(batch.map((title) => post("/v1/notifications", { to: "user:ann", title })));
  }
  await database.sql`select tidings.send('user:ann', 'from SQL')`;
  expected.push("from SQL");
  await client.until("all", () => client.received.length === expected.length);
  assert.deepEqual(titles(client).toSorted(), expected.toSorted());
  await client.cut();
  await post("/v1/tickets", {});
  const ready = await fetch(`${url}/readyz`);
  assert.deepEqual([ready.status, (await ready.json()).ok], [200, true]);
  gateway.signal("SIGTERM");
  const { code, stdout, stderr } = await gateway.ended;
  assert.equal(code, 0);
  assert.equal(stderr, "");
  assert.doesNotMatch(stdout, /does not ring|prepared statement/);
});

Deno.test("behind PgBouncer without LISTEN_DATABASE_URL it does not start, and says which setting is missing", async () => {
  await using database = await testDatabase({ migrated: false });
  await using pooler = await pgbouncer(database);
  await using gateway = gatewayProcess(freePort(), { DATABASE_URL: pooler.url });
  const { code, stderr } = await gateway.ended;
  assert.equal(code, 1);
  assert.match(
    stderr,
    /^Cannot use the database: .* pooler in transaction mode\. Set LISTEN_DATABASE_URL .*\n$/,
  );
});

Deno.test("behind a PgBouncer that lets everything pass, the bell that does not ring is told with the setting", async () => {
  await using database = await testDatabase({ migrated: false });
  await using pooler = await pgbouncer(database, {
    ignore_startup_parameters: "statement_timeout,enable_seqscan,enable_bitmapscan,plan_cache_mode,jit",
  });
  await using gateway = gatewayProcess(freePort(), { DATABASE_URL: pooler.url });
  await gateway.until(/The bell does not ring: LISTEN_DATABASE_URL must reach the server directly/);
});
