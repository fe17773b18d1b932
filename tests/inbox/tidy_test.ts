import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";

/** Each table that grows with what happens: an old row and a young one. The young one stays. */
const GROWS: Record<string, string> = {
  notification: `select 1`, // those that the receipts below are of
  receipt: `
    insert into tidings.notification (topic, created_at) values ('user:ada', now() - interval '2 days');
    select tidings.mark('ada', array(select id from tidings.notification where not transient), 'read')`,
  inbox: `
    select tidings.mark_all('ada', 'read');
    update tidings.inbox set seen_at = now() - interval '3 days' where user_id = 'ada'`,
  subscription: `
    insert into tidings.subscription (user_id, topic, since, until, ended_at)
    select 'bob', 'gym:' || days, tidings.here(), tidings.here(), now() - days * interval '1 day' from unnest(array[0, 3]) days`,
  acknowledged: `
    insert into tidings.acknowledged (user_id, epoch, place, at) values
    ('ada', 'e', tidings.here(), now() - interval '3 days'), ('bob', 'e', tidings.here(), now())`,
  attach_failure: `
    insert into tidings.attach_failure (attachment, on_table, event, reason, sqlstate, failed_at)
    select 'a', 't', 'insert', 'r', 'XX000', now() - days * interval '1 day' from unnest(array[0, 2]) days`,
  stomp_subscription: `
    insert into tidings.stomp_subscription (user_id, client, name, destination, cursor, kept_at)
    select 'bob', 'c', days, 'd', 'e-1', now() - days * interval '1 day' from unnest(array[0, 3]) days`,
  schedule: `
    insert into tidings.schedule (topic, due_at, failure)
    select 'user:bob', now() - days * interval '1 day', 'no' from unnest(array[0, 2]) days`,
  reading: `
    insert into tidings.reading (session_id, instance, user_id, transport, topics, opened_at, since)
    select days, 'i', 'bob', 'sse', '{}', now() - days * interval '1 day', tidings.here() from unnest(array[0, 8]) days`,
  passage: `
    insert into tidings.passage (instance, at, place)
    select 'i', now() - days * interval '1 day', tidings.here() from unnest(array[0, 2]) days`,
  idempotency: `
    insert into tidings.idempotency (owner, key, fingerprint, created_at)
    select 'bob', days, 'f', now() - days * interval '1 day' from unnest(array[0, 2]) days`,
  delivery: `
    insert into tidings.delivery (notification_id, user_id, state, created_at)
    select 1, 'bob', 'sent', now() - days * interval '1 day' from unnest(array[0, 2]) days`,
  ticket: `
    insert into tidings.ticket (hash, user_id, claims, expires_at)
    select sha256(days::text::bytea), 'bob', '{}', now() - days * interval '1 day' from unnest(array[2]) days`,
  instance: `insert into tidings.instance (id, expires_at) values ('dead', now() - interval '1 minute')`,
  session: `
    insert into tidings.session (id, instance, user_id, transport, since, active_at) values ('s', 'dead', 'bob', 'sse', now(), now())`,
  session_topic:
    `insert into tidings.session_topic (session_id, topic, user_id, watches) values ('s', 'gym:1', 'bob', false)`,
  watched: `insert into tidings.watched (topic, until) values ('gym:1', now() - interval '1 hour')`,
  presence:
    `insert into tidings.presence (topic, user_id, gone_at) values ('gym:1', 'bob', now() - interval '1 hour')`,
};

/** What presence leaves: nothing of a gateway that is dead; of the one that says so, itself. A ticket is made while clearing. */
const LEFT: Record<string, number> = { session: 0, session_topic: 0, presence: 0, watched: 0 };

/** What does not grow with time, and why. */
const BOUNDED: Record<string, string> = {
  history: "one row",
  carrier: "one row",
  retention: "one row",
  push_position: "one row",
  migration: "a row for each file of sql/",
  attachment: "a row for each trigger",
  digest: "a row for each rule",
  preference: "what a person chose",
  quiet_hours: "what a person chose",
  time_zone: "what a person chose",
  signed_out: "a row for each person: tokens from before it are refused for as long as they may live",
  device: "50 for each person, and those that are gone go",
  fan_out: "work under way",
};

Deno.test("every table that grows is emptied of what is old, and of nothing else", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const tables = await sql<{ name: string }[]>`
    select relname as name from pg_class
    where relnamespace = 'tidings'::regnamespace and relkind in ('r', 'p') order by relname`;
  assert.deepEqual(
    tables.map(({ name }) => name),
    [...Object.keys(GROWS), ...Object.keys(BOUNDED)].sort(),
    "a new table says here what keeps it small",
  );
  for (const rows of Object.values(GROWS)) await sql.unsafe(rows);
  // What the marks told is transient, and as old as the rest; something old that came after ada's last mark; then what is young.
  await sql.unsafe(`
    select set_config('tidings.purging', 'on', false);
    update tidings.notification set expires_at = now() - interval '2 minutes' where transient;
    update tidings.notification set created_at = now() - interval '2 days';
    select set_config('tidings.purging', '', false);
    insert into tidings.notification (topic, created_at) values ('user:ada', now() - interval '2 days')`);
  const [young] = await sql<{ id: string }[]>`select tidings.send('user:bob') as id`;
  await sql`select tidings.mark('bob', array[${young!.id}::bigint], 'read')`;

  const steps = async (step: () => Promise<boolean>) => {
    for (let most = 0; await step(); most++) assert.ok(most < 100, "it comes to an end");
  };
  await steps(async () => (await sql`select more from tidings.purge('1 day', 1, true)`)[0]!.more);
  await steps(async () => (await sql`select tidings.tidy('1 day', 1) as more`)[0]!.more);
  // people are walked through round and round
  for (let round = 0; round < 4; round++) await sql`select tidings.tidy('1 day', 1)`;
  await sql`select tidings.purge_idempotency(10)`;
  await sql`select tidings.push_purge('1 day', 10)`;
  await sql`select tidings.create_ticket(sha256('new'), '{"user": "bob"}', '30 s', 5)`;
  await sql`select tidings.beat('alive', '1 minute', '1 minute', true, '{}')`;

  const counts: Record<string, number> = {};
  for (const name of Object.keys(GROWS)) {
    counts[name] =
      (await sql`select from ${sql(`tidings.${name}`)} where not (to_jsonb(${
        sql(name)
      }) @> '{"transient": true}')`).length;
  }
  assert.deepEqual(counts, Object.fromEntries(Object.keys(GROWS).map((name) => [name, LEFT[name] ?? 1])));
  assert.deepEqual((await sql`select user_id from tidings.inbox`).map((row) => row.user_id), ["bob"]);
  const [bob] = await sql`select unread from tidings.inbox_count('bob')`;
  assert.equal(bob!.unread, 0, "what is kept still counts");
});

Deno.test("whoever was away for longer than the retention finds only what came since, all of it unseen", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`insert into tidings.notification (topic, created_at) values ('user:ada', now() - interval '5 days')`;
  await sql`select tidings.mark_all('ada', 'archived')`;
  await sql`update tidings.inbox set seen_at = now() - interval '4 days'`;
  await sql`update tidings.notification set created_at = now() - interval '4 days' where transient`;
  const [{ version } = { version: undefined }] = await sql`select version from tidings.inbox`;
  await sql`insert into tidings.notification (topic, created_at) values ('user:ada', now() - interval '3 days')`;
  await sql`insert into tidings.notification (topic) select 'user:ada' from generate_series(1, 3)`;
  await sql`select tidings.tidy('1 day')`;
  assert.equal(
    (await sql`select from tidings.inbox`).length,
    1,
    "kept while something it marks may be there",
  );
  await sql`select tidings.purge('1 day')`;
  await sql`select tidings.tidy('1 day')`;
  await sql`select tidings.tidy('1 day')`;
  assert.equal((await sql`select from tidings.inbox`).length, 0);
  const [after] = await sql`select unread, unseen from tidings.inbox_count('ada')`;
  assert.deepEqual({ ...after }, { unread: 3, unseen: 3 });
  await sql`select tidings.mark_all('ada', 'read')`;
  const [again] = await sql`select version::bigint > ${version} as later from tidings.inbox`;
  assert.equal(again!.later, true);
});
