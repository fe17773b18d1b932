import assert from "node:assert/strict";
import type { Hub } from "../../src/feed/hub.ts";
import type { Control } from "../../src/feed/session.ts";
import { VirtualLog } from "../helpers/virtual_log.ts";
import { ORIGIN, turn, World } from "./session_world.ts";

Deno.test("a session catches up from memory, then is live", async () => {
  const world = new World(new VirtualLog());
  for (let n = 0; n < 5; n++) world.log.send();
  world.advance();
  const { session, sink } = world.session();
  session.open();
  await turn();
  assert.equal(session.live, true);
  world.log.send();
  world.log.send("other");
  world.advance();
  assert.deepEqual(sink.ids, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(sink.batches.map((batch) => batch.rows.length), [3, 2, 1]);
  assert.equal(world.waiting.length, 0);
});

Deno.test("what memory no longer holds is read from the database, page by page, again when that fails", async () => {
  const world = new World(new VirtualLog(), { window: { rows: 2 } });
  for (let n = 0; n < 7; n++) world.log.send();
  world.advance();
  const { session, sink } = world.session();
  session.open();
  await turn();
  world.waiting.shift()!.fail();
  await turn();
  assert.deepEqual([world.failures, world.waiting.map((entry) => entry.what)], [1, ["pause"]]);
  await world.settle();
  assert.deepEqual(sink.ids, [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(session.live, true);
});

Deno.test("a sink that takes no more gets nothing until it has drained, and misses nothing", async () => {
  const world = new World(new VirtualLog());
  const { session, sink } = world.session();
  session.open();
  await turn();
  sink.room = 1;
  for (let n = 0; n < 8; n++) {
    world.log.send();
    world.advance();
  }
  await world.settle();
  assert.deepEqual(sink.ids, [1]);
  sink.room = Infinity;
  session.drained();
  await world.settle();
  assert.deepEqual(sink.ids, [1, 2, 3, 4, 5, 6, 7, 8]);
});

Deno.test("a sink that a count fills gets nothing until it has drained, though a page was read or it had just drained", async () => {
  const world = new World(new VirtualLog(), { window: { rows: 2 } });
  for (let n = 0; n < 5; n++) world.log.send();
  world.advance();
  const { session, sink } = world.session();
  const got = () => sink.events.map(({ got }) => got);
  session.open();
  sink.room = 1;
  session.tell({ unread: 1, unseen: 1 });
  await world.settle();
  assert.deepEqual(got(), ["inbox"]);
  session.tell({ unread: 2, unseen: 2 });
  sink.room = 1;
  session.drained();
  await world.settle();
  assert.deepEqual(got(), ["inbox", "inbox"]);
  sink.room = Infinity;
  session.drained();
  await world.settle();
  assert.deepEqual(got(), ["inbox", "inbox", "items", "items", "live"]);
  assert.deepEqual(sink.ids, [1, 2, 3, 4, 5]);
});

Deno.test("a session ahead of its hub gets nothing twice, and what it has not seen", async () => {
  const world = new World(new VirtualLog(), { hubs: 2 });
  const [behind, ahead] = world.hubs as [Hub, Hub];
  const slow = world.log.begin();
  slow.insert();
  world.log.send();
  world.advance(ahead);
  const first = world.session({ hub: ahead });
  first.session.open();
  await turn();
  const second = world.session({ hub: behind, since: first.session.cursor });
  second.session.open();
  await turn();
  slow.commit();
  world.log.send();
  world.advance(behind);
  assert.deepEqual([first.sink.ids, second.sink.ids], [[2], [1, 3]]);
});

Deno.test("a topic added while a page is read begins where the session was", async () => {
  const world = new World(new VirtualLog(), { window: { rows: 1 } });
  world.log.send("t");
  world.log.send("u");
  world.log.send("t");
  world.advance();
  const { session, sink } = world.session();
  session.open();
  await turn();
  assert.equal(world.waiting.length, 1);
  session.subscribe([{ topic: "u" }]);
  await world.settle();
  assert.deepEqual(sink.ids, [1, 2, 3]);
});

Deno.test("a topic given up while a page is read comes no more", async () => {
  const world = new World(new VirtualLog(), { window: { rows: 1 } });
  world.log.send("t");
  world.log.send("u");
  world.log.send("t");
  world.advance();
  const { session, sink } = world.session({ topics: ["t", "u"] });
  session.open();
  await turn();
  session.unsubscribe(["u"]);
  await world.settle();
  assert.deepEqual(sink.ids, [1, 3]);
});

Deno.test("backfill() reaches up to the session, though the session is ahead of its hub", async () => {
  const world = new World(new VirtualLog(), { hubs: 2 });
  const [behind, ahead] = world.hubs as [Hub, Hub];
  world.log.send("t");
  world.log.send("u");
  world.advance(ahead);
  const { session, sink } = world.session({ hub: behind, since: ahead.position });
  session.open();
  await turn();
  const filled = session.backfill(["u"], ORIGIN);
  await world.settle();
  await filled;
  assert.deepEqual(sink.ids, [2]);
  world.advance(behind);
  assert.deepEqual(sink.ids, [2]);
});

Deno.test("backfill() comes before anything newer, and not what is behind a cursor ahead of the session", async () => {
  const world = new World(new VirtualLog());
  for (let n = 0; n < 4; n++) world.log.send("u");
  world.advance();
  const { session, sink } = world.session({ since: world.hubs[0]!.position });
  session.open();
  await turn();
  const filled = session.backfill(["u"], ORIGIN);
  world.log.send("t");
  world.advance();
  await world.settle();
  await filled;
  assert.deepEqual(sink.ids, [1, 2, 3, 4, 5]);
  world.log.send("v");
  const later = session.backfill(["v"], { ...world.log.snapshot() });
  await world.settle();
  await later;
  world.log.send("v");
  world.advance();
  assert.deepEqual(sink.ids, [1, 2, 3, 4, 5, 7]);
});

Deno.test("nothing behind the place where a topic was followed is delivered", () => {
  const world = new World(new VirtualLog());
  const slow = world.log.begin();
  slow.insert("u");
  world.log.send("u");
  const followed = world.log.snapshot();
  const { session, sink } = world.session({ since: world.hubs[0]!.position });
  session.open();
  return turn().then(() => {
    session.subscribe([{ topic: "u", since: followed }]);
    slow.commit();
    world.log.send("u");
    world.advance();
    assert.deepEqual(sink.ids, [1, 3]);
  });
});

Deno.test("another history resets every session to the present, and what waited for a backfill goes on", async () => {
  const world = new World(new VirtualLog(), { window: { rows: 1 } });
  const hub = world.hubs[0]!;
  for (let n = 0; n < 5; n++) world.log.send("u");
  world.advance();
  const { session, sink } = world.session();
  session.open();
  const filled = Promise.all([session.backfill(["u"], ORIGIN), session.backfill(["v"], ORIGIN)]);
  await turn();
  hub.startAt({ epoch: "e2", xmax: 9, gaps: [] }, 0);
  await world.settle();
  await filled;
  assert.deepEqual(sink.events.filter(({ got }) => got === "reset"), [
    { got: "reset", reason: "history", cursor: "e2-9" },
  ]);
  assert.deepEqual(session.topics, ["t", "u", "v"]);
  const row = { id: 1, xid: 9, topic: "v", type: "n", json: "{}" };
  hub.advance({ rows: [row], from: hub.position, to: { epoch: "e2", xmax: 10, gaps: [] } }, 0, 10, 0);
  assert.deepEqual(sink.ids, [1]);
});

Deno.test("a sink that fails ends its session, and the failure is told of", async () => {
  const world = new World(new VirtualLog());
  world.log.send();
  world.advance();
  const { session, sink } = world.session();
  sink.room = 0;
  session.open();
  await turn();
  assert.deepEqual(sink.events, [{ got: "close", code: "internal" }]);
  assert.deepEqual([session.closed, world.failures], [true, 1]);
});

Deno.test("a session is told nothing before it was opened", async () => {
  const world = new World(new VirtualLog());
  const hub = world.hubs[0]!;
  const { session, sink } = world.session();
  hub.startAt({ epoch: "e2", xmax: 9, gaps: [] }, 0);
  const row = { id: 1, xid: 9, topic: "t", type: "n", json: "{}" };
  hub.advance({ rows: [row], from: hub.position, to: { epoch: "e2", xmax: 10, gaps: [] } }, 0, 10, 0);
  assert.deepEqual(sink.events, []);
  session.open();
  await world.settle();
  assert.deepEqual(sink.events.map(({ got }) => got), ["reset", "items", "live"]);
});

Deno.test("what retention purged while a session caught up resets it", async () => {
  const world = new World(new VirtualLog(), { window: { rows: 1 } });
  for (let n = 0; n < 5; n++) world.log.send();
  world.advance();
  const { session, sink } = world.session();
  session.open();
  await turn();
  world.horizon = 702;
  await world.settle();
  assert.deepEqual(sink.events, [
    { got: "reset", reason: "retention", cursor: session.cursor },
    { got: "live" },
  ]);
});

Deno.test("a session that ended gets nothing more, is on no topic, and lets go whoever waits for it", async () => {
  const world = new World(new VirtualLog(), { window: { rows: 1 } });
  const hub = world.hubs[0]!;
  const one = world.session();
  const two = world.session();
  for (const { session } of [one, two]) session.open();
  await turn();
  // The first that gets it ends the other.
  one.sink.items = () => {
    two.session.end();
    return true;
  };
  world.log.send();
  world.advance();
  assert.deepEqual(two.sink.ids, []);
  one.session.end();
  assert.equal(hub.topics, 0);
  for (let n = 0; n < 3; n++) world.log.send("u");
  world.advance();
  const three = world.session({ since: hub.position });
  three.session.open();
  await turn();
  const filled = three.session.backfill(["u"], ORIGIN);
  await turn();
  three.session.end();
  await world.settle();
  await filled;
});

Deno.test("a control row goes to the control, and what follows it is read with the topics as they are then", async () => {
  const world = new World(new VirtualLog());
  const seen: number[] = [];
  const control: Control = (row, session) => {
    seen.push(row.id);
    session.subscribe([{ topic: "u" }]);
  };
  const { session, sink } = world.session({ control });
  session.open();
  await turn();
  const sent = world.log.begin();
  sent.insert("t");
  sent.insert("u");
  sent.insert("t", "tidings.follow");
  sent.insert("u");
  sent.insert("t");
  sent.commit();
  world.advance();
  await world.settle();
  assert.deepEqual([seen, sink.ids], [[3], [1, 4, 5]]);
});
