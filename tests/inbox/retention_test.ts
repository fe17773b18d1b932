import assert from "node:assert/strict";
import { parseCursor } from "../../src/log/cursor.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { retention } from "../../src/database/retention.ts";
import { createInboxStore } from "../../src/database/inbox_store.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import { systemClock } from "../../src/clock.ts";

Deno.test("purge() takes the old from the log's beginning in steps, never anything younger, and moves the horizon", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  // four old transactions; one that began before them and is younger in its rows
  await sql`insert into tidings.notification (topic, created_at) select 'user:ada', now() - interval '3 days' from generate_series(1, 25)`;
  await sql`insert into tidings.notification (topic, created_at) select 'user:ada', now() - interval '2 days' from generate_series(1, 10)`;
  await sql`insert into tidings.notification (topic) select 'user:ada' from generate_series(1, 5)`;
  await sql`select tidings.adopt()`;
  assert.deepEqual({ ...(await sql`select unread from tidings.inbox_count('ada')`)[0] }, { unread: 40 });
  const steps = [];
  for (let more = true; more;) {
    const [step] = await sql<
      { aged: number; more: boolean }[]
    >`select aged, more from tidings.purge('1 day', 20)`;
    steps.push(step!.aged);
    more = step!.more;
  }
  assert.deepEqual(steps, [20, 15]);
  const [after] = await sql`
    select (select count(*)::int from tidings.notification) as kept,
           (select horizon::text::bigint from tidings.history) < (select min(xid::text::bigint) from tidings.notification) as below,
           (select horizon::text::bigint from tidings.history) > 0 as moved`;
  assert.deepEqual({ ...after }, { kept: 5, below: true, moved: true });
  assert.deepEqual({ ...(await sql`select unread from tidings.inbox_count('ada')`)[0] }, { unread: 5 });
});

Deno.test("purge() takes what expired, transient rows without an end after a minute, and their receipts", async () => {
  await using database = await testDatabase();
  const sql = database.connect({ max: 1 });
  await sql`insert into tidings.notification (topic, transient, created_at) values ('t', true, now() - interval '2 minutes')`;
  await sql`insert into tidings.notification (topic, transient) values ('t', true)`;
  const [short] = await sql<
    { id: string }[]
  >`select tidings.send('user:ada', 'short', ttl => '1 hour') as id`;
  await sql`select tidings.mark('ada', array[${short!.id}::bigint], 'seen')`;
  await sql`insert into tidings.notification (topic) values ('user:ada')`;
  await sql`select set_config('tidings.purging', 'on', false)`;
  await sql`delete from tidings.notification where type = 'tidings.inbox'`;
  await sql`update tidings.notification set expires_at = now() - interval '2 minutes' where id = ${
    short!.id
  }`;
  const purge = async () => ({ ...(await sql`select aged, expired, more from tidings.purge('1 day')`)[0] });
  assert.deepEqual(await purge(), { aged: 0, expired: 2, more: false });
  assert.equal((await sql`select from tidings.notification`).length, 2);
  assert.equal((await sql`select from tidings.receipt`).length, 0);
  assert.deepEqual(await purge(), { aged: 0, expired: 0, more: false });
});

Deno.test("two retentions at once remove everything old once and stop when they are told to", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`insert into tidings.notification (topic, created_at) select 'user:ada', now() - interval '2 days' from generate_series(1, 900)`;
  const pool = createDatabase({ url: database.url, max: 2, prepare: true, name: "test" }, {
    clock: systemClock,
  });
  await pool.start();
  let removed = 0;
  const done = Promise.withResolvers<void>();
  const services = [1, 2].map(() =>
    retention({
      store: createInboxStore(pool),
      keep: 86_400_000,
      step: { first: 100, most: 100 },
      pause: 20,
      onPurged: (rows) => {
        removed += rows;
        if (removed >= 900) done.resolve();
      },
    })
  );
  await Promise.all(services.map((service) => service.start()));
  await done.promise;
  await Promise.all(services.map((service) => service.stop()));
  await pool.stop();
  assert.equal(removed, 900);
  assert.equal((await sql`select from tidings.notification`).length, 0);
});

Deno.test("a cursor from before what retention purged gets its reset", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await using gateway = await startGateway(database);
  const token = await gateway.token("ada");
  const poll = async (since: string) => {
    const response = await fetch(`${gateway.url}/v1/feed?wait=0&since=${since}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return { status: response.status, body: await response.json() };
  };
  const { body: { cursor } } = await poll("now");
  await sql`insert into tidings.notification (topic, created_at) values ('user:ada', now() - interval '2 days')`;
  await sql`insert into tidings.notification (topic) values ('user:ada')`;
  // Answered at once, with what the gateway has read by then; until no transaction of anybody's is open in the cursor, since one
  // that ends later might have had rows that are purged.
  let before = await poll(cursor);
  while (
    before.status === 200 &&
    (before.body.items.length < 2 || parseCursor(before.body.cursor)!.gaps.length > 0)
  ) {
    await sql`select pg_notify('tidings', '')`;
    before = await poll(cursor);
  }
  assert.equal(before.status, 200);
  await sql`select tidings.purge('1 day')`;
  await sql`select tidings.send('user:ada', 'after')`;
  for (;;) {
    const { status, body } = await poll(cursor);
    if (status === 200 && body.items.length < 2) continue;
    if (status === 409) {
      assert.equal(body.code, "cursor_reset");
      break;
    }
  }
  assert.equal((await poll(before.body.cursor)).status, 200);
});

Deno.test("whoever deletes or changes notifications by hand finds the counts right", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const count = async () => (await sql`select unread from tidings.inbox_count('ada')`)[0]!.unread;
  await sql`insert into tidings.notification (topic, title) select 'user:ada', g::text from generate_series(1, 300) g`;
  await sql`select tidings.send('all', 'to all')`;
  assert.equal(await count(), 301);
  assert.equal((await sql`select from tidings.inbox where unread = 301`).length, 1, "the count is kept");
  await sql`delete from tidings.notification where title in ('1', '2')`;
  assert.equal(await count(), 299);
  await sql`update tidings.notification set expires_at = now() - interval '1 minute' where title = '3'`;
  assert.equal(await count(), 298);
  await sql`delete from tidings.notification where topic = 'all' and type = 'notification'`;
  assert.equal(await count(), 297);
});

Deno.test("purge() goes on where it ended, and a look from the beginning finds what was not committed then", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const late = database.connect({ max: 1 });
  const old = () =>
    sql`insert into tidings.notification (topic, created_at) values ('t', now() - interval '2 days')`;
  await late`begin`;
  await late`insert into tidings.notification (topic, created_at) values ('late', now() - interval '2 days')`;
  await late`insert into tidings.notification (topic, expires_at) values ('late', now() - interval '1 hour')`;
  await old();
  await sql`insert into tidings.notification (topic, expires_at) select 't', now() - interval '2 minutes' from generate_series(1, 3)`;
  const purge = async (rows: number, fresh = false) => {
    const [step] = await sql`select aged, expired from tidings.purge('1 day', ${rows}, ${fresh})`;
    return { ...step };
  };
  assert.deepEqual(await purge(2), { aged: 1, expired: 2 }, "of three that expire together");
  await late`commit`;
  assert.deepEqual(await purge(2), { aged: 0, expired: 1 });
  assert.deepEqual(await purge(2, true), { aged: 1, expired: 1 });
  assert.equal((await sql`select from tidings.notification`).length, 0);
});

Deno.test("a gateway purges by TIDINGS_RETENTION and by each row's own expires_at, and tells the horizon", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`insert into tidings.notification (topic, title, created_at) values ('user:ada', 'old', now() - interval '2 hours')`;
  await sql`insert into tidings.notification (topic, title, created_at, expires_at) values ('user:ada', 'over', now(), now() - interval '2 minutes')`;
  await sql`insert into tidings.notification (topic, title, expires_at) values ('user:ada', 'young', now() + interval '10 minutes')`;
  await using gateway = await startGateway(database, { env: { TIDINGS_RETENTION: "1m" }, chance: () => 0 });
  const removed = database.connect({ max: 1 });
  await removed`set statement_timeout = '2min'`;
  await removed`do $$ begin while (select count(*) > 1 from tidings.notification) loop perform pg_sleep(0.05); end loop; end $$`;
  assert.deepEqual((await sql`select title from tidings.notification`).map(({ title }) => title), ["young"]);
  assert.equal((await sql`select from tidings.history where horizon > '0'`).length, 1);
  const response = await fetch(`${gateway.url}/v1/inbox`, {
    headers: { authorization: `Bearer ${await gateway.token("ada")}` },
  });
  assert.deepEqual((await response.json()).items.map(({ title }: { title: string }) => title), ["young"]);
});

Deno.test("the place of 'so long ago' is found among what retention left, whatever was removed in between", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const send = async (title: string, minutes: number) => {
    await sql`insert into tidings.notification (topic, title, created_at) values ('t', ${title}, now() - ${minutes} * interval '1 minute')`;
  };
  for (const minutes of [3_000, 2_000, 60, 50, 40, 30, 20, 10]) await send(`${minutes}`, minutes);
  const since = async (minutes: number) =>
    (await sql<{ title: string }[]>`
      select title from tidings.notification
      where xid >= tidings.xid_since(${minutes} * interval '1 minute') and not transient order by xid`).map((
      { title },
    ) => title);
  assert.deepEqual(await since(2_500), ["2000", "60", "50", "40", "30", "20", "10"]);
  await sql`select tidings.purge('1 day')`;
  await sql`delete from tidings.notification where title in ('40', '50')`;
  assert.deepEqual(await since(100_000), ["60", "30", "20", "10"]);
  assert.deepEqual(await since(45), ["30", "20", "10"]);
  assert.deepEqual(await since(25), ["20", "10"]);
  assert.deepEqual(await since(1), []);
});
