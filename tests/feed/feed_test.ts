import assert from "node:assert/strict";
import type { LogStore } from "../../src/database/log_store.ts";
import { createFeed, type Feed } from "../../src/feed/feed.ts";
import { type Cursor, isBehind } from "../../src/log/cursor.ts";
import { manualClock } from "../helpers/manual_clock.ts";
import { VirtualLog } from "../helpers/virtual_log.ts";
import { Recorder, World } from "./session_world.ts";

class Client extends Recorder {
  called = 0;
  reconnect(): void {
    this.called++;
  }
}

interface Options {
  refresh?: () => void;
  xidSince?: number;
  perUser?: number;
  sessions?: number;
}

function feedOf(world: World, { refresh = () => {}, xidSince = 1, ...limits }: Options = {}) {
  const clock = manualClock();
  const store = { xidSince: () => Promise.resolve(xidSince) } as unknown as LogStore;
  const feed: Feed = createFeed({ drain: 1_000, ...limits }, {
    hub: world.hubs[0]!,
    store,
    clock,
    chance: () => 0.5,
    refresh: () => Promise.resolve(refresh()),
    control: () => undefined,
    people: { enter: () => Promise.resolve({ followed: [], admit: () => {}, turnBack: () => {} }) },
    failed: (error) => {
      throw error;
    },
  });
  return { feed, clock };
}

const open = (feed: Feed, cursor?: Cursor, user = "ann") =>
  feed.open(
    {
      user,
      transport: "sse",
      topics: [],
      since: cursor === undefined ? { at: "now" } : { at: "cursor", cursor },
    },
    new Client(),
  );

Deno.test("a cursor of a gateway that is many pages ahead is good here", async () => {
  const world = new World(new VirtualLog(), { hubs: 2 });
  const [behind, ahead] = world.hubs;
  for (let n = 0; n < 50; n++) world.log.send();
  world.advance(ahead);
  const { feed } = feedOf(world, { refresh: () => world.advance(behind, 3) });
  const { session, reset } = await open(feed, ahead!.position);
  assert.equal(reset, undefined);
  assert.equal(session.cursor, `e1-${ahead!.position.xmax}`);
  session.end();
});

Deno.test("a cursor that this database never gave is told so, as is one of another history or from before a purge", async () => {
  const world = new World(new VirtualLog());
  for (let n = 0; n < 5; n++) world.log.send();
  world.advance();
  const { feed } = feedOf(world, { refresh: () => world.advance() });
  const here = world.hubs[0]!.position;
  assert.equal((await open(feed, { ...here, xmax: here.xmax + 1 })).reset, "unknown");
  assert.equal((await open(feed, { ...here, epoch: "e0" })).reset, "history");
  world.horizon = 701;
  world.advance();
  assert.equal((await open(feed, { ...here, xmax: 701 })).reset, "retention");
  const { reset, session } = await open(feed, { ...here, xmax: 702 });
  assert.deepEqual([reset, session.position.xmax], [undefined, 702]);
});

Deno.test("since a while ago, or the earliest, keeps what is in progress after the cursor", async () => {
  const world = new World(new VirtualLog());
  const slow = world.log.begin();
  const row = slow.insert();
  for (let n = 0; n < 5; n++) world.log.send();
  world.advance();
  const { feed } = feedOf(world, { xidSince: 703 });
  const start = await feed.locate({ at: "ago", ms: 1_000 }) as Cursor;
  assert.deepEqual([start.xmax, isBehind(start, row)], [703, false]);
  world.horizon = 701;
  world.advance();
  const earliest = await feed.locate({ at: "earliest" }) as Cursor;
  assert.deepEqual([earliest.xmax, isBehind(earliest, row)], [702, false]);
});

Deno.test("so many sessions of one person and of everybody, and no more; one that ends makes room", async () => {
  const world = new World(new VirtualLog());
  const { feed } = feedOf(world, { perUser: 2, sessions: 3 });
  const first = await open(feed);
  await open(feed);
  await assert.rejects(open(feed), { code: "too_many_sessions" });
  await open(feed, undefined, "bob");
  await assert.rejects(open(feed, undefined, "cid"), { code: "too_many_sessions" });
  assert.equal(feed.sessions, 3);
  first.session.end();
  await open(feed, undefined, "cid");
});

Deno.test("stopping tells every session to come back within the drain time, and lets nobody in", async () => {
  const world = new World(new VirtualLog());
  const { feed, clock } = feedOf(world);
  const clients = [new Client(), new Client()];
  const sessions = [];
  for (const client of clients) {
    const { session } = await feed.open(
      { user: "ann", transport: "sse", topics: [], since: { at: "now" } },
      client,
    );
    sessions.push(session);
  }
  sessions[1]!.end();
  const stopped = feed.stop();
  await assert.rejects(open(feed), { code: "restarting" });
  assert.deepEqual(clients.map((client) => client.called), [0, 0]);
  clock.advance(1_000);
  await stopped;
  assert.deepEqual(clients.map((client) => client.called), [1, 0]);
});
