import assert from "node:assert/strict";
import fc from "fast-check";
import type { Sql } from "postgres";
import type { Outcome } from "../../src/push/provider.ts";
import { type Claim, createPushStore } from "../../src/push/store.ts";
import { testDatabase } from "../helpers/database.ts";

const LEASE = 60_000;

async function device(
  sql: Sql,
  user: string,
  id: string,
  { kind = "webpush", silent = false, address = `https://push.example/${user}/${id}` } = {},
) {
  const [row] =
    await sql`select tidings.register_device(${user}, ${id}, ${kind}, ${address}, '{"k":"v"}'::jsonb, ${silent}, null) as number`;
  return row?.number as string;
}

/** Everything that is due now. */
async function due(sql: Sql): Promise<Claim[]> {
  const store = createPushStore(sql);
  while (await store.plan(1_000, 0) !== 0);
  while (await store.fanOut(2, 0));
  return await store.claim(100, LEASE);
}

async function settle(
  sql: Sql,
  claims: Claim[],
  outcome: Outcome = { kind: "sent", reason: "answered 201" },
) {
  for (const claim of claims) await createPushStore(sql).settle(claim, outcome, 0);
}

const summary = (claims: Claim[]) =>
  claims.map(({ target, message }) => `${target.address.slice(21)} ${message.item.title}`).sort();
const trace = async (sql: Sql, where = "") =>
  (await sql.unsafe(
    `select user_id, device_id, event, reason from tidings.push_trace ${where} order by notification_id, device_id, at`,
  ))
    .map((row) => [row.user_id, row.device_id, row.event, row.reason].map((value) => value ?? "-").join(" "));

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

Deno.test("what was seen, read or archived in the meantime, one by one or all at once, is not pushed, and why is kept", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  const ids: Record<string, string> = {};
  for (const state of ["seen", "read", "archived", "unread", "untouched"]) {
    const [row] = await sql`select tidings.send('user:1', ${state}, push => true) as id`;
    ids[state] = row?.id;
  }
  for (const state of ["seen", "read", "archived", "unread"]) {
    await sql`select tidings.mark('1', array[${ids[state]!}]::bigint[], ${state})`;
  }
  const claims = await due(sql);
  assert.deepEqual(summary(claims), ["1/a untouched"]);
  assert.deepEqual(
    await trace(sql, "where event = 'skipped'"),
    ["seen", "read", "archived", "seen"].map((why) => `1 a skipped ${why}`),
  );
  await settle(sql, claims, { kind: "retry", reason: "busy" });
  await sql`select tidings.send('user:1', 'later', push => true)`;
  await sql`select tidings.mark_all('1', 'seen')`;
  assert.deepEqual(await due(sql), []);
});

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

Deno.test("preferences: muted and refused ones are not pushed, a rule that says push asks for what nobody asked for", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  for (const user of ["1", "2", "3"]) await device(sql, user, "a");
  await sql`select tidings.prefer('1', 'type', 'muted', in_app => false)`;
  await sql`select tidings.prefer('1', 'type', 'quietly', push => false)`;
  await sql`select tidings.prefer('1', 'type', 'eager')`;
  await sql`select tidings.send('user:1', type, type => type, push => true) from unnest(array['muted', 'quietly', 'plain']) type`;
  await sql`select tidings.send('user:1', type, type => type) from unnest(array['eager', 'plain']) type`;
  await sql`select tidings.send('user:2', 'eager', type => 'eager')`;
  await sql`select tidings.send('all', 'to all', type => 'eager'), tidings.send('all', 'unasked', type => 'plain')`;
  assert.deepEqual(summary(await due(sql)), ["1/a eager", "1/a plain", "1/a to all"]);
  assert.deepEqual(await trace(sql, "where event = 'skipped'"), [
    "1 a skipped muted",
    "1 a skipped preference",
  ]);
  await sql`select tidings.send('user:3', 'late', type => 'late', push => true)`;
  while (await createPushStore(sql).plan(10, 0) !== 0);
  await sql`select tidings.prefer('3', 'type', 'late', in_app => false)`;
  assert.deepEqual(await due(sql), []);
  assert.deepEqual(await trace(sql, "where event = 'skipped' and user_id = '3'"), ["3 a skipped muted"]);
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

Deno.test("quiet hours hold pushes back until they end, then they come unless they were read", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  const [row] =
    await sql`select tidings.send('user:1', 'hush', push => true) as id, tidings.send('user:1', 'read meanwhile', push => true) as read`;
  // an hour around now, wherever the clock stands
  await sql`select tidings.set_quiet_hours('1', ((now() at time zone 'Asia/Kathmandu') - interval '30 minutes')::time,
    ((now() at time zone 'Asia/Kathmandu') + interval '30 minutes')::time, 'Asia/Kathmandu')`;
  assert.deepEqual(await due(sql), []);
  const held =
    await sql`select notification_id, extract(epoch from due_at - now())::int as wait, state from tidings.delivery`;
  assert.equal(held.length, 2);
  assert(
    held.every(({ wait, state }) => state === "queued" && wait > 1_700 && wait <= 1_800),
    JSON.stringify(held),
  );
  await sql`select tidings.mark('1', array[${row?.read}]::bigint[], 'read')`;
  await sql`select tidings.set_quiet_hours('1', null, null, null)`;
  await sql`update tidings.delivery set due_at = now()`;
  assert.deepEqual(summary(await due(sql)), ["1/a hush"]);
  assert.deepEqual(await trace(sql, "where event = 'held'"), [
    "1 a held quiet_hours",
    "1 a held quiet_hours",
  ]);
});

Deno.test("a push tells the app's badge how many are unread", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', 'n' || i) from generate_series(1, 4) i`;
  await sql`select tidings.send('user:1', 'pushed', push => true)`;
  assert.deepEqual((await due(sql)).map(({ message }) => message.unread), [5]);
});

Deno.test("an expired one is not pushed, a purged one neither, and the reason is kept", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', t, ttl => '1 hour', push => true) from unnest(array['expired', 'purged', 'old']) t`;
  while (await createPushStore(sql).plan(10, 0) !== 0);
  await sql`update tidings.notification set expires_at = now() where title = 'expired'`;
  await sql`update tidings.notification set expires_at = null, created_at = now() - interval '4 days' where title = 'old'`;
  await sql`delete from tidings.notification where title = 'purged'`;
  assert.deepEqual(await due(sql), []);
  assert.deepEqual(await trace(sql, "where event = 'skipped'"), [
    "1 a skipped expired",
    "1 a skipped purged",
    "1 a skipped expired",
  ]);
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

Deno.test("of several with one collapse key only the newest is pushed, and a newer one follows one that was sent", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await sql`select tidings.send('user:1', t, collapse_key => 'score', push => true) from unnest(array['1:0', '2:0', '2:1']) t`;
  await sql`select tidings.send('all', 'other', collapse_key => 'score', push => true)`;
  const claims = await due(sql);
  assert.deepEqual(summary(claims), ["1/a 2:1", "1/a other"]);
  await settle(sql, claims);
  await sql`select tidings.send('user:1', '3:1', collapse_key => 'score', push => true)`;
  assert.deepEqual(summary(await due(sql)), ["1/a 3:1"]);
  assert.deepEqual(await trace(sql, "where event = 'skipped'"), [
    "1 a skipped collapsed",
    "1 a skipped collapsed",
  ]);
});

Deno.test("digest: what one person gets of one type within the window is one push, telling how many; the log keeps each", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  await device(sql, "1", "b");
  await sql`select tidings.digest(interval '10 minutes', '{count} likes on your post', type => 'liked')`;
  const like = (n: number, key: string) =>
    sql`select tidings.send('user:1', 'like ' || i, type => 'liked', collapse_key => ${key}, push => true) from generate_series(1, ${n}) i`;
  await like(12, "post:7");
  await like(1, "post:8");
  await sql`select tidings.send('user:1', 'plain', push => true)`;
  assert.deepEqual(summary(await due(sql)), ["1/a plain", "1/b plain"]);
  await like(3, "post:7");
  assert.deepEqual(await due(sql), []);
  const windows = await sql`select distinct due_at from tidings.delivery where digest like '%post:7'`;
  assert(windows.length <= 12, "later ones join the window of the first");
  await sql`update tidings.delivery set due_at = now() - interval '1 second' where state = 'queued'`;
  const [one, two] = await Promise.all([
    createPushStore(sql).claim(100, LEASE),
    createPushStore(database.connect()).claim(100, LEASE),
  ]);
  const claims = [...one, ...two];
  assert.deepEqual(summary(claims), [
    "1/a 15 likes on your post",
    "1/a like 1",
    "1/b 15 likes on your post",
    "1/b like 1",
  ]);
  const digest = claims.find(({ message }) => message.item.title?.startsWith("15"));
  assert.equal(new Set(digest?.message.ids).size, 15);
  await settle(sql, claims);
  assert.deepEqual([
    ...await sql`select state, count(*)::int from tidings.delivery where digest is not null group by 1 order by 1`,
  ], [
    { state: "sent", count: 4 },
    { state: "skipped", count: 28 },
  ]);
  assert.equal((await trace(sql, "where event = 'merged'")).length, 28);
  assert.deepEqual([...await sql`select count(*)::int from tidings.notification`], [{ count: 17 }]);
  await assert.rejects(Promise.resolve(sql`select tidings.digest(interval '1 minute', 'x')`), /at least one/);
  await assert.rejects(
    Promise.resolve(sql`select tidings.digest(interval '1 year', 'x', type => 'a')`),
    /1 second to 7 days/,
  );
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

Deno.test("the plan misses nothing and queues nothing twice, whatever overlaps, however small its pages", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  const store = createPushStore(database.connect({ max: 3 }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ rows: fc.integer({ min: 1, max: 4 }), open: fc.integer({ min: 0, max: 5 }) }), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.constantFrom(1, 2, 3, 1_000),
      async (writers, page) => {
        await sql`delete from tidings.delivery`;
        await sql`delete from tidings.notification`;
        // transactions that begin in order and commit out of order, with a plan after every commit
        const waiting: { commit: () => Promise<unknown>; left: number }[] = [];
        let expected = 0;
        const step = async () => {
          for (const writer of waiting.splice(0)) {
            if (writer.left-- <= 0) await writer.commit();
            else waiting.push(writer);
          }
          await Promise.all([store.plan(page, 0), store.plan(page, 0)]);
        };
        for (const { rows, open } of writers) {
          const connection = await sql.reserve();
          await connection`begin`;
          await connection`select tidings.send('user:1', 'x', push => true) from generate_series(1, ${rows})`;
          expected += rows;
          waiting.push({
            left: open % 4,
            commit: async () => {
              await connection`commit`;
              connection.release();
            },
          });
          if (waiting.length > 6) await step();
          await step();
        }
        while (waiting.length > 0) await step();
        let idle = 0;
        while (idle < 2) idle = await store.plan(page, 0) === 0 ? idle + 1 : 0;
        const [row] =
          await sql`select count(*)::int, count(distinct notification_id)::int as different from tidings.delivery`;
        assert.deepEqual(row, { count: expected, different: expected });
      },
    ),
    { seed: 61_803, numRuns: 60 },
  );
});

Deno.test("an idle plan writes nothing", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createPushStore(sql);
  await sql`select tidings.send('user:1', 'one', push => true)`;
  while (await store.plan(10, 0) !== 0);
  const position = async () => (await sql`select ctid::text, xmin::text from tidings.push_position`)[0];
  const before = await position();
  for (let i = 0; i < 5; i++) await store.plan(10, 0);
  assert.deepEqual(await position(), before);
});
