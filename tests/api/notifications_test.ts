import assert from "node:assert/strict";
import { testApi } from "../helpers/api.ts";
import { testDatabase } from "../helpers/database.ts";
import { ids, problem } from "./answers.ts";

Deno.test("POST /v1/notifications stores every field of a notification, and the sender's name", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const sent = await ids(
    await api.send({
      to: "user:1",
      type: "match.found",
      title: "Größe ✓ 🧗",
      body: "line\nline",
      link: "/match/7?a=b#c",
      data: { a: [1, { b: null }], "é": "𝄞" },
      priority: "high",
      collapseKey: "match",
      dedupeKey: "match-7",
      ttl: "90m",
      push: false,
    }),
  );
  const [row] = await database.sql`
    select *, extract(epoch from expires_at - created_at)::float8 as ttl from tidings.notification`;
  assert.deepEqual(sent, [row!["id"]]);
  const {
    topic,
    type,
    title,
    body,
    link,
    data,
    sender,
    priority,
    collapse_key,
    dedupe_key,
    transient,
    push,
    ttl,
  } = row!;
  assert.deepEqual(
    { topic, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, transient, push },
    {
      topic: "user:1",
      type: "match.found",
      title: "Größe ✓ 🧗",
      body: "line\nline",
      link: "/match/7?a=b#c",
      data: { a: [1, { b: null }], "é": "𝄞" },
      sender: "ann",
      priority: "high",
      collapse_key: "match",
      dedupe_key: "match-7",
      transient: false,
      push: false,
    },
  );
  assert.ok(Math.abs(ttl - 5_400) < 1, `${ttl}`);
});

Deno.test("POST /v1/notifications takes null for absent, seconds as ttl, and a transient one without ttl", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  await ids(
    await api.send({
      to: "user:1",
      type: null,
      title: null,
      body: null,
      data: null,
      ttl: null,
      push: null,
      sender: null,
    }),
  );
  await ids(await api.send({ to: "user:1", ttl: 1.5 }));
  await ids(await api.send({ to: "user:1", transient: true }));
  const rows = await database.sql`
    select type, title, data, sender, transient, round(extract(epoch from expires_at - created_at), 1)::float8 as ttl
    from tidings.notification order by id`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [
    { type: "notification", title: null, data: null, sender: "ann", transient: false, ttl: null },
    { type: "notification", title: null, data: null, sender: "ann", transient: false, ttl: 1.5 },
    { type: "notification", title: null, data: null, sender: "ann", transient: true, ttl: 60 },
  ]);
});

Deno.test("POST /v1/notifications answers with the ids in the order of the notifications and their topics", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const sent = await ids(
    await api.send([
      { to: ["user:3", "user:1", "climb:a:b"], title: "first" },
      { to: "user:2", title: "second" },
    ]),
  );
  const rows = await database.sql`select id, topic, title, xid from tidings.notification order by id`;
  assert.deepEqual(rows.map(({ id, topic, title }) => [id, topic, title]), [
    [sent[0], "user:3", "first"],
    [sent[1], "user:1", "first"],
    [sent[2], "climb:a:b", "first"],
    [sent[3], "user:2", "second"],
  ]);
  assert.equal(new Set(rows.map(({ xid }) => xid)).size, 1, "one transaction");
});

Deno.test("POST /v1/notifications sends 1,000 at once, and all or nothing", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const many = Array.from({ length: 1_000 }, (_, i) => ({ to: `user:${i}`, title: String(i) }));
  assert.equal((await ids(await api.send(many))).length, 1_000);
  const { errors } = await problem(await api.send([...many, many[0]]), "invalid_request");
  assert.deepEqual(errors, [{ field: "", message: "expected at most 1000 notifications" }]);
  await problem(await api.send([...many.slice(1), { to: "all" }]), "forbidden");
  await problem(await api.send([...many.slice(1), { to: "user:1", title: 1 }]), "invalid_request");
  assert.equal((await database.sql`select from tidings.notification`).length, 1_000);
});

Deno.test("POST /v1/notifications with a dedupeKey that the topic has returns the first one's id", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const [first] = await ids(await api.send({ to: "user:1", dedupeKey: "d" }));
  const again = await ids(
    await api.send([{ to: ["user:2", "user:1"], dedupeKey: "d" }, { to: "user:1", dedupeKey: "d" }]),
  );
  assert.equal(again[1], first);
  assert.equal(again[2], first);
  assert.notEqual(again[0], first);
  assert.equal((await database.sql`select from tidings.notification`).length, 2);
});

Deno.test("POST /v1/notifications with deliverAt sends nothing before its time", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const sent = await ids(
    await api.send({ to: "user:1", title: "later", deliverAt: "2036-01-31T18:00:00+02:00" }),
  );
  assert.equal(sent.length, 1);
  assert.equal((await database.sql`select from tidings.notification`).length, 0);
  const [row] = await database.sql`select id, title, due_at from tidings.schedule`;
  assert.deepEqual({ ...row }, { id: sent[0], title: "later", due_at: new Date("2036-01-31T16:00:00Z") });
});
