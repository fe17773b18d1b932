import assert from "node:assert/strict";
import fc from "fast-check";
import type { Identity } from "../../src/auth/identity.ts";
import { forgetOldKeys, publishStore } from "../../src/database/publish_store.ts";
import { TidingsError } from "../../src/errors.ts";
import { type TestApi, testApi } from "../helpers/api.ts";
import { testDatabase } from "../helpers/database.ts";

async function sendWith(api: TestApi, key: string, body: unknown, token?: string) {
  const response = await api.send(body, { "idempotency-key": key }, token);
  const answer = await response.json();
  return {
    status: response.status,
    ids: answer.ids as string[] | undefined,
    code: answer.code as string | undefined,
    replayed: response.headers.get("idempotent-replayed"),
  };
}

Deno.test("a repeat with the same Idempotency-Key sends nothing and gets the first answer, on any gateway", async () => {
  await using database = await testDatabase();
  await using here = await testApi(database);
  await using there = await testApi(database);
  const body = [{ to: ["user:1", "user:2"], title: "once" }, {
    to: "user:3",
    deliverAt: "2036-01-01T00:00:00Z",
  }];
  const first = await sendWith(here, "abc", body);
  assert.deepEqual([first.status, first.ids?.length, first.replayed], [201, 3, null]);
  for (const api of [here, there]) {
    for (const key of ["abc", '"abc"']) {
      assert.deepEqual(await sendWith(api, key, body), { ...first, replayed: "true" });
    }
  }
  assert.equal((await database.sql`select from tidings.notification`).length, 2);
  assert.equal((await database.sql`select from tidings.schedule`).length, 1);
});

Deno.test("the same Idempotency-Key with another request is refused, and another user's key is another key", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const first = await sendWith(api, "abc", { to: "user:1", title: "a" });
  assert.equal(first.status, 201);
  const other = await sendWith(api, "abc", { to: "user:1", title: "b" });
  assert.deepEqual([other.status, other.code], [422, "idempotency_key_reused"]);
  const bob = await sendWith(api, "abc", { to: "user:1", title: "b" }, await api.token("bob"));
  assert.equal(bob.status, 201);
  assert.notDeepEqual(bob.ids, first.ids);
  const malformed = await sendWith(api, "a b", { to: "user:1" });
  assert.deepEqual([malformed.status, malformed.code], [400, "invalid_request"]);
});

Deno.test("a request that was refused leaves its Idempotency-Key free", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const tooLarge = { to: "user:1", data: Array.from({ length: 100_000 }, () => 1) };
  assert.equal((await sendWith(api, "abc", tooLarge)).status, 400);
  assert.equal((await sendWith(api, "abc", { to: "user:1" })).status, 201);
});

Deno.test("an Idempotency-Key is free again after 24 hours, and forgotten in steps", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const first = await sendWith(api, "abc", { to: "user:1" });
  await database.sql`update tidings.idempotency set created_at = created_at - interval '23 hours 59 minutes'`;
  assert.deepEqual((await sendWith(api, "abc", { to: "user:1" })).ids, first.ids);
  await database.sql`update tidings.idempotency set created_at = created_at - interval '1 minute'`;
  const second = await sendWith(api, "abc", { to: "user:1", title: "another" });
  assert.equal(second.status, 201);
  assert.notDeepEqual(second.ids, first.ids);
  assert.deepEqual((await sendWith(api, "abc", { to: "user:1", title: "another" })).ids, second.ids);

  await database.sql`
    insert into tidings.idempotency (owner, key, fingerprint, created_at)
    select 'ann', n::text, 'f', clock_timestamp() - interval '25 hours' from generate_series(1, 2500) n`;
  const store = publishStore(api.database);
  assert.equal(await forgetOldKeys(store, 2), 2_000);
  assert.equal(await forgetOldKeys(store), 500);
  assert.equal(await forgetOldKeys(store), 0);
  assert.deepEqual((await sendWith(api, "abc", { to: "user:1", title: "another" })).ids, second.ids);
});

Deno.test("whatever comes at once, on two gateways: one key is one request, and nothing is sent twice or lost", async () => {
  await using database = await testDatabase();
  await using here = await testApi(database);
  await using there = await testApi(database);
  const requests = fc.array(
    fc.record({
      owner: fc.constantFrom("ann", "bob"),
      key: fc.option(fc.constantFrom("k1", "k2", "k3"), { nil: undefined }),
      title: fc.constantFrom("a", "b"),
      topics: fc.constantFrom(["user:1"], ["user:2", "user:1"]),
      dedupe: fc.option(fc.constantFrom("d1", "d2"), { nil: undefined }),
      bad: fc.integer({ min: 0, max: 7 }).map((n) => n === 0),
      gateway: fc.constantFrom(0, 1),
    }),
    { minLength: 1, maxLength: 30 },
  );
  let run = 0;
  await fc.assert(
    fc.asyncProperty(requests, async (batch) => {
      const prefix = `r${run++}-`;
      const results = await Promise.allSettled(
        batch.map(({ owner, key, title, topics, dedupe, bad, gateway }) => {
          const identity: Identity = { user: owner, subscribe: [], publish: ["**"], admin: false };
          const { sender } = [here, there][gateway]!;
          const submission = sender.read({
            to: topics,
            title: prefix + title,
            ...(dedupe === undefined ? {} : { dedupeKey: prefix + dedupe }),
            // the schema takes it, the database does not
            ...(bad ? { deliverAt: "2336-01-01T00:00:00Z" } : {}),
          });
          return sender.send(identity, submission, key === undefined ? undefined : prefix + key);
        }),
      );
      const rows = await database.sql`
        select id, topic, title, sender, dedupe_key from tidings.notification where title like ${
        prefix + "%"
      }`;
      const byId = new Map(rows.map((row) => [row["id"], row]));
      const expected = new Set<string>();
      const fresh = new Set<string>();
      const perKey = new Map<string, { said: string; ids: string[] }>();
      const perDedupe = new Map<string, string>();
      for (const [index, result] of results.entries()) {
        const { owner, key, title, topics, dedupe, bad } = batch[index]!;
        const said = JSON.stringify([title, topics, dedupe, bad]);
        if (result.status === "rejected") {
          assert.ok(result.reason instanceof TidingsError, String(result.reason));
          if (result.reason.code === "idempotency_key_reused") assert.ok(key !== undefined);
          else assert.equal(result.reason.code, "invalid_request");
          assert.ok(bad || result.reason.code === "idempotency_key_reused");
          continue;
        }
        assert.ok(!bad);
        const { ids } = result.value;
        assert.equal(ids.length, topics.length);
        if (key !== undefined) {
          const before = perKey.get(`${owner} ${key}`);
          if (before !== undefined) {
            assert.deepEqual({ said, ids }, before, "one key, one request, one answer");
          }
          perKey.set(`${owner} ${key}`, { said, ids });
        }
        for (const [place, id] of ids.entries()) {
          const row = byId.get(id);
          assert.equal(row?.["topic"], topics[place]);
          assert.equal(row?.["dedupe_key"], dedupe === undefined ? null : prefix + dedupe);
          if (dedupe === undefined) assert.equal(row?.["title"], prefix + title);
          else {
            const first = perDedupe.get(`${topics[place]} ${dedupe}`);
            if (first !== undefined) assert.equal(id, first);
            perDedupe.set(`${topics[place]} ${dedupe}`, id);
          }
          if (dedupe === undefined && !result.value.replayed) {
            assert.ok(!fresh.has(id), "two requests were answered with the same row");
            fresh.add(id);
          }
          expected.add(id);
        }
      }
      assert.deepEqual(new Set(byId.keys()), expected, "exactly what was answered is in the log");
    }),
    { seed: 6_006, numRuns: 100 },
  );
});
