import assert from "node:assert/strict";
import type { Sql } from "postgres";
import type { Outcome } from "../../src/push/provider.ts";
import { createPushStore } from "../../src/push/store.ts";
import { testDatabase } from "../helpers/database.ts";
import { device, due, settle } from "./sql/ledger.ts";

const send = async (sql: Sql, call: string) => (await sql.unsafe(`select ${call} as id`))[0]!["id"] as string;

/** Plans, claims and settles everything that is due. */
async function push(sql: Sql, outcome: Outcome): Promise<void> {
  await settle(sql, await due(sql), outcome);
}

/** What tidings.trace says of pushes: event and detail, in the order of time. */
async function story(sql: Sql, id: string, user: string): Promise<string[]> {
  const rows = await sql<{ at: Date | null; event: string; detail: string }[]>`
    select at, event, detail from tidings.trace(${id}::bigint, ${user}) where event like 'push %'`;
  const times = rows.map(({ at }) => at?.getTime() ?? 0);
  assert.deepEqual(times, times.toSorted((a, b) => a - b), "in the order of time");
  return rows.map(({ event, detail }) => `${event}: ${detail}`);
}

Deno.test("trace() tells how a push was queued, tried, answered, shown, read elsewhere and taken back", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "ann", "phone");
  const id = await send(sql, "tidings.send('user:ann', 'x', push => true)");
  assert.deepEqual(await story(sql, id, "ann"), ["push none: no gateway has come to it yet"]);
  await push(sql, { kind: "retry", reason: "answered 503" });
  await push(sql, { kind: "sent", reason: "answered 201" });
  await sql`select tidings.push_shown((select number from tidings.device), array[${id}]::bigint[])`;
  await sql`select tidings.mark('ann', array[${id}]::bigint[], 'read')`;
  await send(sql, "tidings.send('user:ann', 'next', push => true)");
  await push(sql, { kind: "sent", reason: "answered 201" });
  assert.deepEqual(await story(sql, id, "ann"), [
    "push queued: device phone",
    "push retry: device phone: answered 503",
    "push sent: device phone: answered 201",
    "push shown: device phone",
    "push read: device phone",
    "push closed: device phone: told with the next push",
  ]);
});

Deno.test("trace() tells why there was no push", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "ann", "phone");
  await sql`select tidings.prefer('ann', 'type', 'mute', false, false), tidings.prefer('ann', 'type', 'quiet', true, false)`;
  await sql`select tidings.follow('bo', 'author:7')`;
  const cases: [string, string, string[]][] = [
    ["tidings.send('user:ann', 'x', push => true, type => 'mute')", "ann", [
      "push skipped: device phone: muted",
    ]],
    [
      "tidings.send('user:ann', 'x', push => true, type => 'quiet')",
      "ann",
      ["push skipped: device phone: preference"],
    ],
    ["tidings.send('user:bo', 'x', push => true)", "bo", ["push skipped: no device"]],
    ["tidings.send('author:7', 'x', push => true)", "bo", ["push none: no device"]],
    ["tidings.send('user:ann', 'nobody asked')", "ann", []],
    ["tidings.send('user:ann', 'never', push => false)", "ann", []],
    ["tidings.send('user:ann', 'passing', push => true, transient => true)", "ann", []],
    ["tidings.send('user:bo', 'not hers', push => true)", "ann", []],
  ];
  for (const [call, user, expected] of cases) {
    const id = await send(sql, call);
    await push(sql, { kind: "sent", reason: "answered 201" });
    assert.deepEqual(await story(sql, id, user), expected, call);
  }
  const gone = await send(sql, "tidings.send('user:ann', 'x', push => true)");
  await push(sql, { kind: "gone", reason: "answered 410" });
  assert.deepEqual(await story(sql, gone, "ann"), [
    "push queued: device phone",
    "push gone: device phone: answered 410",
  ]);

  await device(sql, "ann", "phone");
  const late = await send(sql, "tidings.send('user:ann', 'x', push => true)");
  const expired = await send(sql, "tidings.send('user:ann', 'x', push => true, ttl => '1 hour')");
  const store = createPushStore(sql);
  while (await store.plan(100, 0) !== 0);
  await sql`update tidings.notification set expires_at = now() where id = ${expired}`;
  await sql`select tidings.set_quiet_hours('ann', (now() at time zone 'UTC' - interval '2 hours')::time,
    (now() at time zone 'UTC' + interval '2 hours')::time, 'UTC')`;
  await push(sql, { kind: "sent", reason: "answered 201" });
  assert.deepEqual(await story(sql, late, "ann"), [
    "push queued: device phone",
    "push held: device phone: quiet hours",
  ]);
  assert.deepEqual(await story(sql, expired, "ann"), [
    "push queued: device phone",
    "push skipped: device phone: expired",
  ]);
  await sql`select tidings.mark('ann', array[${late}]::bigint[], 'seen')`;
  await sql`update tidings.delivery set due_at = now() where state = 'queued'`;
  await push(sql, { kind: "sent", reason: "answered 201" });
  assert.equal((await story(sql, late, "ann")).at(-1), "push skipped: device phone: seen");
});
