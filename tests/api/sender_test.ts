import assert from "node:assert/strict";
import { LIMITS } from "../../src/notification.ts";
import { testApi } from "../helpers/api.ts";
import { testDatabase } from "../helpers/database.ts";
import { ids, problem } from "./answers.ts";

Deno.test("POST /v1/notifications asks the token for every topic", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  for (
    const [body, field] of [
      [{ to: "all" }, "to"],
      [{ to: ["user:1", "climb:a", "friends"] }, "to"],
      [[{ to: "user:1" }, { to: "user:1:private" }], "1.to"],
    ] as const
  ) {
    const { errors } = await problem(await api.send(body), "forbidden");
    assert.deepEqual(errors?.map((error) => error.field), [field]);
  }
  const none = await api.token("bob", {});
  await problem(await api.send({ to: "user:bob" }, {}, none), "forbidden");
  const admin = await api.token("root", { admin: true });
  await ids(await api.send({ to: ["all", "anything:else"] }, {}, admin));
  const { errors } = await problem(await api.send({ to: "tidings:inner" }, {}, admin), "forbidden");
  assert.equal(errors?.[0]?.field, "to");
});

Deno.test("POST /v1/notifications lets only administrators name another sender", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const { errors } = await problem(await api.send([{ to: "user:1", sender: "bob" }]), "forbidden");
  assert.deepEqual(errors, [{ field: "0.sender", message: "only administrators may name another sender" }]);
  await ids(await api.send({ to: "user:1", sender: "ann" }));
  await ids(await api.send({ to: "user:1", sender: "system" }, {}, await api.token("root", { admin: true })));
  const rows = await database.sql`select sender from tidings.notification order by id`;
  assert.deepEqual(rows.map(({ sender }) => sender), ["ann", "system"]);
});

Deno.test("POST /v1/notifications refuses what would become too much in the log", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const topics = Array.from({ length: 1_000 }, (_, i) => `user:${i}`);
  const rows = await problem(await api.send(Array.from({ length: 11 }, () => ({ to: topics }))), "too_large");
  assert.match(rows.detail ?? "", /makes 11000 notifications .* one request may make 10000/);
  const bytes = await problem(await api.send({ to: topics, body: "x".repeat(LIMITS.body) }), "too_large");
  assert.match(bytes.detail ?? "", /send it in several requests/);
  assert.equal((await ids(await api.send({ to: topics }))).length, 1_000);
});

Deno.test("POST /v1/notifications slows down a user who sends too much, and nobody else", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database, { rate: { perSecond: 0.001, burst: 3 } });
  await ids(await api.send([{ to: ["user:1", "user:2"] }, { to: "user:3" }]));
  const response = await api.send({ to: "user:1" });
  const { retryAfter } = await problem(response, "too_many_requests");
  assert.equal(response.headers.get("retry-after"), String(retryAfter));
  assert.ok(retryAfter! > 900 && retryAfter! <= 1_000, `${retryAfter}`);
  await ids(await api.send({ to: "user:1" }, {}, await api.token("bob")));
  const admin = await api.token("root", { admin: true });
  await ids(await api.send(Array.from({ length: 10 }, () => ({ to: "all" })), {}, admin));
});

Deno.test("one wrong request among many that share a statement fails alone", async () => {
  await using database = await testDatabase();
  const statements: number[] = [];
  const gate = Promise.withResolvers<void>();
  await using api = await testApi(database, {
    limits: { inFlight: 1 },
    store: (store) => ({
      ...store,
      async send(requests) {
        statements.push(requests.length);
        if (statements.length === 1) await gate.promise;
        return await store.send(requests);
      },
    }),
  });
  // unchecked: only the database finds it too large
  const bad = { publications: [{ to: ["user:1"], data: "x".repeat(300_000) }], list: false };
  const submissions = Array.from(
    { length: 40 },
    (_, i) => i === 23 ? bad : api.sender.read({ to: `user:${i}`, title: String(i) }),
  );
  const identity = { user: "ann", subscribe: [], publish: ["user:*"], admin: false };
  const asked = submissions.map((submission) => api.sender.send(identity, submission));
  gate.resolve();
  const answers = await Promise.allSettled(asked);
  for (const [index, answer] of answers.entries()) {
    assert.equal(answer.status, index === 23 ? "rejected" : "fulfilled");
  }
  assert.match((answers[23] as PromiseRejectedResult).reason.message, /^Cannot send: data: at most/);
  const rows = await database.sql`select title from tidings.notification order by title::int`;
  assert.deepEqual(
    rows.map(({ title }) => Number(title)),
    submissions.keys().filter((i) => i !== 23).toArray(),
  );
  assert.deepEqual(statements.slice(0, 2), [1, 39]);
});
