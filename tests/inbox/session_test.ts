import assert from "node:assert/strict";
import fc from "fast-check";
import type postgres from "postgres";
import { ask } from "../helpers/ask.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { Listener } from "./listener.ts";

async function recount(sql: postgres.Sql, user: string): Promise<{ unread: number; unseen: number }> {
  const [row] = await sql<{ unread: number; unseen: number }[]>`
    select unread, unseen from tidings.inbox_count(${user})`;
  return { unread: row!.unread, unseen: row!.unseen };
}

Deno.test("what one tab marks every tab shows, on any instance, in its place among the items", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database);
  await using other = await startGateway(database);
  const token = await one.token("ada");
  const [first] = await database.sql<{ id: string }[]>`select tidings.send('user:ada', 'first') as id`;
  await using here = await Listener.open(one.url, token);
  await using there = await Listener.open(other.url, token);
  assert.deepEqual(here.count, { unread: 1, unseen: 1 });
  assert.deepEqual(there.count, { unread: 1, unseen: 1 });

  assert.deepEqual(await here.ask({ op: "mark", ids: [first!.id], state: "read" }), { op: "ok", ref: "1" });
  await database.sql`select tidings.send('all', 'second')`;
  for (const tab of [here, there]) {
    await tab.until(() => tab.items.at(-1)?.title === "second" && tab.count?.unread === 1);
    const marked = tab.heard.findIndex((one) => "inbox" in one && one.inbox.changes !== undefined);
    const arrived = tab.heard.findIndex((one) => "item" in one && one.item.title === "second");
    assert.ok(marked >= 0 && marked < arrived, JSON.stringify(tab.heard));
    assert.deepEqual(tab.heard[marked], {
      inbox: { unread: 0, unseen: 0, changes: [{ ids: [first!.id], state: "read" }] },
    });
  }
  assert.equal((await ask(other, token, "POST /v1/inbox/mark", { all: true, state: "read" })).status, 200);
  for (const tab of [here, there]) {
    await tab.until(() => tab.count?.unread === 0);
    assert.deepEqual(tab.events.at(-1)?.changes, [{ all: true, state: "read" }]);
  }
});

Deno.test("a mark of somebody else's notification is refused as if it did not exist, over WebSocket and HTTP", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("bo");
  const [sent] = await database.sql<{ id: string }[]>`select tidings.send('user:ada', 'private') as id`;
  await using tab = await Listener.open(gateway.url, token);
  for (const id of [sent!.id, "424242"]) {
    const answer = await tab.ask({ op: "mark", ids: [id], state: "read" });
    assert.equal(answer.op === "error" && answer.problem.code, "not_found");
    const { status, body } = await ask(gateway, token, "POST /v1/inbox/mark", { ids: [id], state: "read" });
    assert.deepEqual([status, body.code, body.detail], [
      404,
      "not_found",
      "Cannot mark: ids: 1 of them are not in this inbox",
    ]);
  }
});

Deno.test("following and unfollowing take effect on open sessions without reconnecting", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("ada", { subscribe: ["climb:**"] });
  await database.sql`select tidings.send('climb:1', 'before')`;
  await using tab = await Listener.open(gateway.url, token);
  assert.equal((await ask(gateway, token, "PUT /v1/subscriptions/climb:1")).status, 204);
  assert.equal((await ask(gateway, token, "PUT /v1/subscriptions/climb:1")).status, 204);
  await database.sql`select tidings.send('climb:1', 'followed')`;
  await tab.until(() => tab.items.length === 1 && tab.count?.unread === 1);
  const list = await ask(gateway, token, "GET /v1/subscriptions");
  assert.deepEqual(list.body.subscriptions.map((one: { topic: string }) => one.topic), ["climb:1"]);
  assert.equal((await ask(gateway, token, "DELETE /v1/subscriptions/climb:1")).status, 204);
  await database.sql`select tidings.send('climb:1', 'after')`;
  await database.sql`select tidings.send('user:ada', 'end')`;
  await tab.until(() => tab.items.some(({ title }) => title === "end"));
  assert.deepEqual(tab.items.map(({ title }) => title), ["followed", "end"]);
  await tab.until(() => tab.count?.unread === 2);
  const { body } = await ask(gateway, token, "GET /v1/inbox");
  assert.deepEqual(body.items.map((item: { title: string; state: string }) => [item.title, item.state]), [
    ["end", "unseen"],
    ["followed", "unseen"],
  ]);
  assert.equal((await ask(gateway, token, "PUT /v1/subscriptions/gym:1")).body.code, "forbidden");
  assert.equal((await ask(gateway, token, "PUT /v1/subscriptions/all")).body.code, "invalid_request");
});

Deno.test("a right withdrawn takes effect on open sessions at once, and a policy can grant and refuse", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await using gateway = await startGateway(database);
  await sql`create table public.member (user_id text, topic text)`;
  await sql`create or replace function tidings.may_subscribe(user_id text, topic text) returns boolean
    language sql stable as $$
      select case when may_subscribe.topic like 'gym:%' then exists (
        select from public.member m where m.user_id = may_subscribe.user_id and m.topic = may_subscribe.topic) end $$`;
  await sql`insert into public.member values ('ada', 'gym:1'), ('ada', 'gym:2')`;
  const token = await gateway.token("ada", { subscribe: ["open:*", "gym:3"] });
  const refused = await ask(gateway, token, "PUT /v1/subscriptions/gym:3");
  assert.deepEqual([refused.status, refused.body.errors[0].message], [
    403,
    '"gym:3" is refused by the application\'s policy',
  ]);
  assert.equal((await ask(gateway, token, "PUT /v1/subscriptions/gym:1")).status, 204);
  await using tab = await Listener.open(gateway.url, token, "?topics=gym:2,open:1");
  assert.deepEqual([...tab.topics].sort(), ["all", "gym:1", "gym:2", "open:1", "user:ada"]);
  await sql`delete from public.member where user_id = 'ada'`;
  await sql`select tidings.revoke('ada', 'gym:1')`;
  await sql`select tidings.send('gym:1', 'not for her')`;
  await sql`select tidings.send('open:1', 'still hers')`;
  await tab.until(() => tab.items.length > 0);
  assert.deepEqual(tab.items.map(({ title }) => title), ["still hers"]);
  const answer = await tab.ask({ op: "subscribe", topics: ["gym:1"] });
  assert.equal(answer.op === "error" && answer.problem.code, "forbidden");
  assert.deepEqual((await ask(gateway, token, "GET /v1/subscriptions")).body, { subscriptions: [] });
});

Deno.test("who is signed out is cut off everywhere, and a token from before opens nothing", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database);
  await using other = await startGateway(database);
  const token = await one.token("ada");
  await using here = await Listener.open(one.url, token);
  await using there = await Listener.open(other.url, token);
  await using bystander = await Listener.open(one.url, await one.token("bo"));
  await database.sql`select tidings.sign_out('ada')`;
  // the token carries whole seconds: make it one from before
  await database.sql`update tidings.signed_out set at = at + interval '2 seconds'`;
  await database
    .sql`select tidings.tell('ada', 'tidings.sign_out', jsonb_build_object('before', (tidings.clock_ms() + 1000)))`;
  for (const tab of [here, there]) {
    await tab.until(() => tab.closed !== undefined);
    assert.equal(tab.closed, 4501);
  }
  assert.equal(bystander.closed, undefined);
  await using again = await Listener.open(one.url, token);
  assert.equal(again.closed, 4501);
});

Deno.test("what is muted is neither delivered nor counted, until it is wanted again", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("ada");
  await database.sql`select tidings.send('user:ada', 'early', type => 'like')`;
  await using tab = await Listener.open(gateway.url, token);
  assert.deepEqual(tab.count, { unread: 1, unseen: 1 });
  const preferences = {
    rules: [{ scope: "type", name: "like", muted: true }],
    quietHours: { start: "22:00", end: "07:00", timeZone: "Asia/Seoul" },
  };
  const set = await ask(gateway, token, "PUT /v1/preferences", preferences);
  assert.deepEqual(set.body, {
    rules: [{ scope: "type", name: "like", inApp: false, push: false }],
    quietHours: preferences.quietHours,
    timeZone: null,
  });
  await tab.until(() => tab.count?.unread === 0);
  await database
    .sql`select tidings.send('user:ada', 'muted', type => 'like'), tidings.send('user:ada', 'wanted', type => 'match')`;
  await tab.until(() => tab.items.some(({ title }) => title === "wanted") && tab.count?.unread === 1);
  assert.ok(!tab.items.some(({ title }) => title === "muted"));
  await ask(gateway, token, "PUT /v1/preferences", { rules: [] });
  await tab.until(() => tab.count?.unread === 3);
  for (
    const [body, field] of [
      [{ rules: [{ scope: "planet", name: "x" }] }, "rules.0.scope"],
      [{ rules: [{ scope: "type" }] }, "rules.0.name"],
      [{ quietHours: { start: "25:00", end: "07:00", timeZone: "UTC" } }, "quietHours.start"],
      [{ quietHours: { start: "21:00", end: "07:00", timeZone: "Mars/Olympus" } }, "quietHours.timeZone"],
      [{ timeZone: "Mars/Olympus" }, "timeZone"],
    ] as const
  ) {
    const answer = await ask(gateway, token, "PUT /v1/preferences", body);
    assert.deepEqual([answer.status, answer.body.errors?.[0]?.field], [400, field]);
  }
});

Deno.test("a person's time zone is kept without quiet hours and beside them, until preferences leave it out", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("ada");
  const put = async (body: unknown) => (await ask(gateway, token, "PUT /v1/preferences", body)).body;
  const nothing = { rules: [], quietHours: null, timeZone: null };
  const zone = { ...nothing, timeZone: "Asia/Seoul" };
  assert.deepEqual(await put({ timeZone: "Asia/Seoul" }), zone);
  assert.deepEqual((await ask(gateway, token, "GET /v1/preferences")).body, zone);
  const quietHours = { start: "22:00", end: "07:00", timeZone: "Europe/Berlin" };
  assert.deepEqual(await put({ timeZone: "Asia/Seoul", quietHours }), { ...zone, quietHours });
  assert.deepEqual(await put({ quietHours }), { ...nothing, quietHours });
});

Deno.test("whatever is sent, marked and followed, and whoever reconnects: the last count of each tab is a recount", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await using one = await startGateway(database);
  await using other = await startGateway(database);
  const gateways = [one, other];
  const people = ["ada", "bo"];
  const tokens = new Map(
    await Promise.all(
      people.map(async (user) => [user, await one.token(user, { subscribe: ["**"] })] as const),
    ),
  );
  const step = fc.record({
    op: fc.constantFrom(
      "send",
      "send",
      "burst",
      "mark",
      "markAll",
      "before",
      "follow",
      "unfollow",
      "reconnect",
      "late",
    ),
    user: fc.constantFrom(...people),
    topic: fc.constantFrom("user:ada", "user:bo", "all", "climb:1"),
    state: fc.constantFrom("seen", "read", "unread", "archived"),
    pick: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 40 }), async (steps) => {
      await sql`truncate tidings.notification, tidings.inbox, tidings.receipt, tidings.subscription`;
      const tabs: { user: string; tab: Listener }[] = [];
      for (const user of people) {
        for (const gateway of gateways) {
          tabs.push({ user, tab: await Listener.open(gateway.url, tokens.get(user)!) });
        }
      }
      const work: Promise<unknown>[] = [];
      for (const { op, user, topic, state, pick } of steps) {
        const mine = await sql<{ id: string }[]>`
          select n.id from tidings.notification n
          where not n.transient and tidings.was_sent_to(${user}, n.topic, n.xid, n.id) order by n.id`;
        const id = mine[pick % Math.max(1, mine.length)]?.id;
        if (op === "send") work.push(sql`select tidings.send(${topic}, 'x')`.execute());
        else if (op === "burst") {
          work.push(
            sql`insert into tidings.notification (topic) select ${topic} from generate_series(1, 30)`
              .execute(),
          );
        } else if (op === "late") {
          work.push(sql`select pg_sleep(0.02), tidings.send(${topic}, 'late')`.execute());
        } else if (op === "mark" && id !== undefined) {
          const { tab } = tabs[people.indexOf(user) * 2 + pick % 2]!;
          work.push(tab.ask({ op: "mark", ids: [id], state: state as "read" }));
        } else if (op === "before" && id !== undefined) {
          work.push(sql`select tidings.mark_all(${user}, ${state}, ${id})`.execute());
        } else if (op === "markAll") work.push(sql`select tidings.mark_all(${user}, ${state})`.execute());
        else if (op === "follow") work.push(sql`select tidings.follow(${user}, 'climb:1')`.execute());
        else if (op === "unfollow") work.push(sql`select tidings.unfollow(${user}, 'climb:1')`.execute());
        else if (op === "reconnect") {
          await Promise.all(work.splice(0));
          const at = tabs[pick % tabs.length]!;
          await at.tab[Symbol.asyncDispose]();
          at.tab = await Listener.open(
            gateways[pick % 2]!.url,
            tokens.get(at.user)!,
            `?since=${at.tab.cursor}`,
          );
        }
      }
      await Promise.all(work);
      for (const { user, tab } of tabs) {
        const truth = await recount(sql, user);
        await tab.until(() => tab.count?.unread === truth.unread && tab.count.unseen === truth.unseen);
        await tab[Symbol.asyncDispose]();
      }
    }),
    { seed: 20_260_803, numRuns: 8 },
  );
});
