/**
 * What every transport has to keep of a person's inbox: counts from the beginning on, and every change in its place.
 * @module
 */
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { mint } from "../../src/auth/token.ts";
import { systemClock } from "../../src/clock.ts";
import type { InboxCount } from "../../src/protocol.ts";
import { ask } from "../helpers/ask.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway, TEST_SECRET } from "../helpers/gateway.ts";
import { pick, random } from "../helpers/random.ts";
import { type Client, lastCount, Refused, type Suite } from "./client.ts";
import { openWebSocket } from "./websocket.ts";

const SEED = 20_261_121;

/** Declares the tests for a transport. */
export function inboxConformance({ name, test, open }: Suite): void {
  test("the first thing it is told is the counts; a mark elsewhere shows before what comes after it, on any instance", async () => {
    await using database = await testDatabase();
    await using one = await startGateway(database);
    await using other = await startGateway(database);
    const { sql } = database;
    const token = await one.token("ann");
    const ids: string[] = [];
    for (const title of ["a", "b", "c"]) ids.push(await send(sql, "user:ann", title));
    const clients = [await open({ url: one.url, token }), await open({ url: other.url, token })];
    for (const client of clients) {
      await client.until("the first counts", () => lastCount(client) !== undefined);
      assert.deepEqual(client.heard[0], { unread: 3, unseen: 3 });
    }
    // By another transport, on another instance: each of its own.
    const tab = await openWebSocket({ url: other.url, token });
    assert.equal((await tab.ask({ op: "mark", ids: [ids[0]!], state: "seen" })).op, "ok");
    for (const client of clients) await counts(client, { unread: 3, unseen: 2 });
    assert.equal(
      (await ask(one, token, "POST /v1/inbox/mark", { before: ids[1], state: "read" })).status,
      200,
    );
    await send(sql, "all", "d");
    for (const client of clients) {
      await counts(client, { unread: 2, unseen: 2 });
      // counts may be newer than the items of the same answer, never older
      await client.until("the item", () => client.heard.includes("d"));
      const before = client.heard.slice(0, client.heard.indexOf("d"));
      assert.ok(
        // together with the item, where the transport tells both in one answer
        before.some((told) => typeof told === "object" && told.unseen === 1) ||
          (before.at(-1) as InboxCount).unread === 2,
        `marked after "d": ${JSON.stringify(client.heard)}`,
      );
    }
    assert.equal(
      (await ask(other, token, "POST /v1/inbox/mark", { all: true, state: "archived" })).status,
      200,
    );
    assert.equal((await tab.ask({ op: "mark", ids: [ids[2]!], state: "unread" })).op, "ok");
    for (const client of [...clients, tab]) {
      await counts(client, { unread: 1, unseen: 0 });
      await client.cut();
    }
  });

  test("whatever is sent, marked, followed and muted, and whoever reconnects: the last counts are a recount", async () => {
    await using database = await testDatabase();
    await using one = await startGateway(database);
    await using other = await startGateway(database);
    const { sql } = database;
    const chance = random(SEED);
    const token = await one.token("ann", { subscribe: ["climb:*"] });
    const urls = [one.url, other.url];
    const clients = await Promise.all(urls.map((url) => open({ url, token })));
    const sent: string[] = [];
    for (let step = 0; step < 60; step++) {
      const choice = chance();
      if (choice < 0.5) {
        const topic = pick(["user:ann", "all", "climb:1", "climb:2"], chance());
        const id = await send(sql, topic, String(step), pick(["like", "match"], chance()));
        if (!topic.startsWith("climb:")) sent.push(id);
      } else if (choice < 0.7) {
        const state = pick(["seen", "read", "unread", "archived"], chance());
        const what = chance() < 0.2 || sent.length === 0 ? { all: true } : { ids: [pick(sent, chance())] };
        assert.equal(
          (await ask({ url: pick(urls, chance()) }, token, "POST /v1/inbox/mark", { ...what, state })).status,
          200,
        );
      } else if (choice < 0.85) {
        const url = pick(urls, chance());
        const topic = pick(["climb:1", "climb:2"], chance());
        const method = chance() < 0.6 ? "PUT" : "DELETE";
        assert.equal((await ask({ url }, token, `${method} /v1/subscriptions/${topic}`)).status, 204);
      } else if (choice < 0.92) {
        await sql`select tidings.prefer('ann', 'type', 'like', ${chance() < 0.5}, true)`;
      } else {
        const index = Math.floor(chance() * clients.length);
        const gone = clients[index]!;
        await gone.cut();
        clients[index] = await open({ url: pick(urls, chance()), token, since: gone.cursor });
      }
    }
    const [recount] = await sql<InboxCount[]>`select unread, unseen from tidings.inbox_count('ann')`;
    assert.ok(recount!.unread > 0);
    for (const client of clients) await counts(client, { ...recount! });
    await clients[0]!.cut();
    const again = await open({ url: other.url, token, since: clients[0]!.cursor });
    for (const client of [again, clients[1]!]) {
      await counts(client, { ...recount! });
      await client.cut();
    }
  });

  test("a right that is withdrawn ends on the open session at once, and so does a login", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    await sql`create table public.member (topic text)`;
    await sql`create or replace function tidings.may_subscribe(user_id text, topic text) returns boolean
      language sql stable as $$
        select case when may_subscribe.topic like 'gym:%' then exists (
          select from public.member m where m.topic = may_subscribe.topic) end $$`;
    await sql`insert into public.member values ('gym:1'), ('gym:2'), ('gym:3'), ('gym:4')`;
    // A long-poll asks for its topics every time, and is then refused by name: it only follows here.
    const asked = name === "long-poll" ? ["open:1"] : ["gym:1", "gym:2", "gym:4", "open:1"];
    const followed = ["gym:1", "gym:2", "gym:3", "gym:4"].filter((topic) => !asked.includes(topic));
    await sql`select tidings.follow('ann', t) from unnest(string_to_array(${followed.join()}, ',')) t`;
    // From a while ago: who is signed out keeps the tokens of that very second.
    const past = { ...systemClock, now: () => systemClock.now() - 5_000 };
    const token = await mint(TEST_SECRET, { sub: "ann", tidings: { subscribe: ["open:*"] } }, 600, past);
    const client = await open({ url: gateway.url, token, topics: asked });
    const all = ["gym:1", "gym:2", "gym:4", "open:1", "gym:3"];
    const sendAll = async (round: string) => {
      for (const topic of all) await send(sql, topic, `${topic} ${round}`);
      await send(sql, "user:ann", round);
      await client.until(round, () => client.heard.includes(round));
      return client.received.map(({ item }) => item.title!).filter((title) => title.endsWith(` ${round}`));
    };
    assert.deepEqual(await sendAll("before"), all.map((topic) => `${topic} before`));
    await sql`with gone as (delete from public.member where topic = 'gym:1') select tidings.revoke('ann', 'gym:1')`;
    assert.deepEqual(
      await sendAll("then"),
      ["gym:2", "gym:4", "open:1", "gym:3"].map((topic) => `${topic} then`),
    );
    await sql`delete from public.member where topic <> 'gym:4'`;
    await sql`select tidings.revoke('ann')`;
    assert.deepEqual(await sendAll("at last"), ["gym:4 at last", "open:1 at last"]);
    await sql`select tidings.sign_out('ann')`;
    await client.until("the end", () => client.told.some((told) => told.event === "error"));
    const ended = client.told.find((told) => told.event === "error");
    assert.equal(ended?.problem.code, "invalid_token");
    await client.cut();
    await assert.rejects(open({ url: gateway.url, token }), (error) => {
      assert.ok(error instanceof Refused, String(error));
      assert.equal(error.problem.code, "invalid_token");
      return true;
    });
    const fresh = await open({ url: gateway.url, token: await gateway.token("ann") });
    await fresh.cut();
  });
}

/** Waits until these are the last counts that it was told. */
function counts(client: Client, { unread, unseen }: InboxCount): Promise<void> {
  return client.until(
    `${unread} unread, ${unseen} unseen as the last of ${JSON.stringify(client.heard)}`,
    () => {
      const last = lastCount(client);
      return last?.unread === unread && last.unseen === unseen;
    },
  );
}

async function send(sql: Sql, topic: string, title: string, type = "notification"): Promise<string> {
  const [row] = await sql<{ id: string }[]>`select tidings.send(${topic}, ${title}, type => ${type}) as id`;
  return row!.id;
}
