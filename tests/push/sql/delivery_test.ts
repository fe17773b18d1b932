import assert from "node:assert/strict";
import { createPushStore } from "../../../src/push/store.ts";
import { testDatabase } from "../../helpers/database.ts";
import { device, due, settle, summary, trace } from "./ledger.ts";

Deno.test("a push is queued for each device of whoever it is for, when it was asked for", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  for (const [user, id] of [["1", "a"], ["1", "b"], ["2", "a"]] as const) await device(sql, user, id);
  await sql`select tidings.send('user:1', 'one', push => true), tidings.send('all', 'two', push => true),
    tidings.send('user:1', 'unasked'), tidings.send('user:1', 'refused', push => false),
    tidings.send('user:1', 'passing', transient => true, push => true), tidings.send('user:3', 'nowhere', push => true)`;
  const claims = await due(sql);
  assert.deepEqual(summary(claims), ["1/a one", "1/a two", "1/b one", "1/b two", "2/a two"]);
  assert.deepEqual(await due(sql), [], "nobody gets it a second time");
  await settle(sql, claims);
  assert.deepEqual(await due(sql), []);
  assert.deepEqual((await trace(sql)).filter((line) => !line.includes("queued")), [
    "1 a sent answered 201",
    "1 b sent answered 201",
    "1 a sent answered 201",
    "2 a sent answered 201",
    "1 b sent answered 201",
    "3 - skipped no_device",
  ]);
});

Deno.test("a claim carries the notification as clients know it, and everything that a provider needs", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const number = await device(sql, "1", "a");
  const [row] =
    await sql`select tidings.send('user:1', 'T', 'B', type => 'match', link => '/x', data => '{"deep":{"null":null}}',
    sender => 's', priority => 'high', collapse_key => 'c', ttl => '1 hour', push => true) as id`;
  const [claim] = await due(sql);
  const { message, target, kind } = claim ?? assert.fail("nothing was due");
  assert.deepEqual([kind, target], ["webpush", {
    device: number,
    address: "https://push.example/1/a",
    keys: { k: "v" },
  }]);
  const { createdAt, expiresAt, ...item } = message.item;
  assert.deepEqual(item, {
    id: row?.id,
    topic: "user:1",
    type: "match",
    title: "T",
    body: "B",
    link: "/x",
    data: { deep: { null: null } },
    sender: "s",
    priority: "high",
    collapseKey: "c",
  });
  assert.equal(Date.parse(expiresAt ?? "") - Date.parse(createdAt) - 3_600_000 < 1_000, true);
  assert(message.ttl > 3_590 && message.ttl <= 3_600);
  assert.deepEqual([message.kind, message.messageId, message.ids, message.read], [
    "notify",
    `ntf_${row?.id}_${number}`,
    [row?.id],
    [],
  ]);
});

Deno.test("what is not settled is due again when the lease ends, and the late one's answer does not count unless it sent", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', 'one', push => true)`;
  const [first] = await due(sql);
  await sql`update tidings.delivery set due_at = now()`;
  const [second] = await due(sql);
  assert.equal(second?.delivery, first?.delivery);
  assert.equal(second?.message.messageId, first?.message.messageId);
  await settle(sql, [first!], { kind: "failed", reason: "late" });
  assert.deepEqual([...await sql`select state from tidings.delivery`], [{ state: "sending" }]);
  await settle(sql, [first!]);
  await settle(sql, [second!], { kind: "failed", reason: "too late" });
  assert.deepEqual([...await sql`select state, attempt from tidings.delivery`], [{
    state: "sent",
    attempt: 2,
  }]);
});

Deno.test("outcomes: retry waits, failed ends it, gone removes the device unless it was renewed meanwhile", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  for (const id of ["retry", "failed", "gone", "renewed"]) await device(sql, "1", id);
  await sql`select tidings.send('user:1', 'one', push => true)`;
  const claims = Object.fromEntries((await due(sql)).map((claim) => [claim.target.address.slice(23), claim]));
  const store = createPushStore(sql);
  await store.settle(claims.retry!, { kind: "retry", reason: "busy" }, 90_000);
  await store.settle(claims.failed!, { kind: "failed", reason: "refused" }, 0);
  await store.settle(claims.gone!, { kind: "gone", reason: "answered 410" }, 0);
  await device(sql, "1", "renewed", { address: "https://push.example/1/fresh" });
  await store.settle(claims.renewed!, { kind: "gone", reason: "answered 410" }, 0);
  const rows =
    await sql`select device_id, state, extract(epoch from due_at - now())::int as wait from tidings.delivery order by 1`;
  assert.deepEqual(rows.map(({ device_id, state }) => `${device_id} ${state}`), [
    "failed failed",
    "gone failed",
    "renewed failed",
    "retry queued",
  ]);
  assert(rows[3]?.wait > 80 && rows[3]?.wait <= 90);
  assert.deepEqual((await sql`select id from tidings.device order by id`).map(({ id }) => id), [
    "failed",
    "renewed",
    "retry",
  ]);
  await sql`select tidings.send('user:1', 'two', push => true)`;
  assert.deepEqual(summary(await due(sql)), ["1/failed two", "1/fresh two", "1/retry two"]);
});

Deno.test("a topic's push goes to the devices of those who followed it when it was sent, page by page", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  for (let i = 0; i < 9; i++) {
    await device(sql, String(i), "a");
    await sql`select tidings.follow(${String(i)}, 'author:7')`;
  }
  await sql`select tidings.follow('deviceless', 'author:7')`;
  await sql`select tidings.unfollow('3', 'author:7')`;
  await sql`select tidings.send('author:7', 'post', push => true)`;
  await sql`select tidings.follow('late', 'author:7')`;
  await device(sql, "late", "a");
  assert.deepEqual(summary(await due(sql)), [0, 1, 2, 4, 5, 6, 7, 8].map((user) => `${user}/a post`));
  assert.deepEqual([...await sql`select * from tidings.fan_out`], []);
});

Deno.test("a push tells the app's badge how many are unread", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', 'n' || i) from generate_series(1, 4) i`;
  await sql`select tidings.send('user:1', 'pushed', push => true)`;
  assert.deepEqual((await due(sql)).map(({ message }) => message.unread), [5]);
});

Deno.test("a push service is asked to keep a push as long as it is worth it, and no longer than the four weeks that it may be asked for", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', t, ttl => l::interval, push => true)
    from (values ('hour', '1 hour'), ('months', '90 days'), ('plain', null)) v(t, l)`;
  const ttls = Object.fromEntries((await due(sql)).map(({ message }) => [message.item.title, message.ttl]));
  assert.equal(ttls["months"], 28 * 86_400);
  assert(ttls["hour"]! > 3_000 && ttls["hour"]! <= 3_600);
  assert(ttls["plain"]! > 2 * 86_400 && ttls["plain"]! <= 3 * 86_400);
});

Deno.test("the trace tells when the device showed it, once, and what was settled long ago is forgotten", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const number = await device(sql, "1", "a");
  const [row] = await sql`select tidings.send('user:1', 'one', push => true) as id`;
  await settle(sql, await due(sql));
  for (let i = 0; i < 2; i++) {
    await sql`select tidings.push_shown(${number}::bigint, array[${row?.id}]::bigint[])`;
  }
  assert.deepEqual(await trace(sql), ["1 a queued -", "1 a sent answered 201", "1 a shown -"]);
  const store = createPushStore(sql);
  assert.equal(await store.purge(3_600_000, 100), 0);
  assert.equal(await store.purge(0, 100), 1);
});
