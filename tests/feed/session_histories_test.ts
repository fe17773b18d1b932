import assert from "node:assert/strict";
import fc from "fast-check";
import type { Hub } from "../../src/feed/hub.ts";
import type { Control, Session } from "../../src/feed/session.ts";
import { type Cursor, isBehind, parseCursor } from "../../src/log/cursor.ts";
import type { Row } from "../../src/log/row.ts";
import { type Transaction, VirtualLog } from "../helpers/virtual_log.ts";
import { ORIGIN, Recorder, turn, World } from "./session_world.ts";

const SEEDS = { cuts: 314_159, topics: 271_828 };

type Step =
  | { do: "begin" | "insert" | "commit" | "abort" | "control"; which: number }
  | { do: "advance"; which: number; limit: number }
  | { do: "answer" | "fail" | "fill" | "drain" | "turn"; which: number }
  | { do: "cut"; which: number; lost: number; hub: number }
  | { do: "subscribe" | "unsubscribe" | "backfill"; which: number };

const small = fc.nat({ max: 11 });
const plain = (name: Step["do"], weight: number) => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(name), which: small }) as fc.Arbitrary<Step>,
});
const common = [
  plain("begin", 3),
  plain("insert", 7),
  plain("commit", 3),
  plain("abort", 1),
  plain("control", 1),
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("advance"),
      which: small,
      limit: fc.integer({ min: 1, max: 6 }),
    }) as fc.Arbitrary<Step>,
  },
  plain("answer", 4),
  plain("fail", 1),
  plain("fill", 1),
  plain("drain", 3),
  plain("turn", 2),
];
const cut = {
  weight: 2,
  arbitrary: fc.record({
    do: fc.constant("cut"),
    which: small,
    lost: fc.nat({ max: 5 }),
    hub: small,
  }) as fc.Arbitrary<Step>,
};
const steps = (...more: typeof common) =>
  fc.array(fc.oneof(...common, ...more), { minLength: 20, maxLength: 160, size: "max" });
const TOPICS = ["t", "u", "v"];

/** What all random worlds share: writers, hubs, answers. False: it was none of these. */
function happen(step: Step, world: World, open: Transaction[]): boolean {
  const transaction = open[step.which % Math.max(1, open.length)];
  const topic = TOPICS[step.which % 3]!;
  const [waiting] = world.waiting;
  switch (step.do) {
    case "begin":
      open.push(world.log.begin());
      return true;
    case "insert":
      transaction?.insert(topic);
      return true;
    case "control":
      transaction?.insert(topic, "tidings.test");
      return true;
    case "commit":
    case "abort":
      if (transaction !== undefined) {
        open.splice(open.indexOf(transaction), 1);
        transaction[step.do]();
      }
      return true;
    case "advance":
      world.advance(world.hubs[step.which % world.hubs.length]!, step.limit);
      return true;
    case "answer":
      world.waiting.shift()?.go();
      return true;
    case "fail":
      if (waiting?.what === "read") world.waiting.shift()!.fail();
      return true;
    default:
      return step.do === "turn";
  }
}

async function finish(world: World, open: Transaction[], drain: () => void): Promise<void> {
  for (const transaction of open.splice(0)) transaction.commit();
  for (const hub of world.hubs) while (world.advance(hub, 5));
  drain();
  await world.settle();
}

const sorted = (ids: Iterable<number>) => [...ids].sort((a, b) => a - b);

/** One client, on one hub after the other: cut at any row, its sink full at times; its reads fail. */
async function travel(plan: Step[]): Promise<void> {
  const world = new World(new VirtualLog(), { hubs: 2, window: { rows: 6 } });
  const open: Transaction[] = [];
  const topics = ["t", "u"];
  const received: Row[] = [];
  const controlled: number[] = [];
  const control: Control = (row, session) => {
    controlled.push(row.id);
    session.inbox({ unread: 0, unseen: 0 });
  };
  let client = world.session({ topics, control });
  client.session.open();
  for (const step of plan) {
    const { session, sink } = client;
    if (happen(step, world, open)) {
      // done
    } else if (step.do === "fill") sink.room = Math.min(sink.room, 1 + step.which % 2);
    else if (step.do === "drain") {
      sink.room = Infinity;
      session.drained();
    } else if (step.do === "cut") {
      // What arrived last is lost on the way, down to a row in the middle of a batch.
      let token = session.cursor;
      let kept = sink.rows.length;
      const { batches } = sink;
      if (step.lost > 0 && batches.length > 0) {
        const batch = batches.at(-1 - step.lost % Math.min(2, batches.length))!;
        const index = step.which % batch.rows.length;
        token = step.which % 2 === 0 ? batch.cursorAt(index) : batch.first(index + 1).cursor;
        kept = sink.rows.indexOf(batch.rows[index]!) + 1;
      }
      received.push(...sink.rows.slice(0, kept));
      session.end();
      client = world.session({ topics, control, hub: world.hubs[step.hub % 2]!, since: token });
      client.session.open();
    }
    if (step.which % 3 > 0) await turn();
  }
  await finish(world, open, () => {
    client.sink.room = Infinity;
    client.session.drained();
  });
  received.push(...client.sink.rows);
  const wanted = world.log.committed.filter((row) => topics.includes(row.topic));
  const items = wanted.filter((row) => !row.type.startsWith("tidings."));
  assert.deepEqual(sorted(received.map((row) => row.id)), sorted(items.map((row) => row.id)));
  assert.deepEqual(
    sorted(new Set(controlled)),
    sorted(wanted.filter((row) => row.type.startsWith("tidings.")).map((row) => row.id)),
  );
  const rows = new Map(wanted.map((row) => [row.id, row]));
  let latestBegin = -Infinity;
  for (const { id } of received) {
    const { began, committed } = rows.get(id)!;
    assert.ok(committed > latestBegin, "what committed before another's transaction began comes first");
    latestBegin = Math.max(latestBegin, began);
  }
  assert.equal(client.session.live, true);
  client.session.end();
  assert.deepEqual(world.hubs.map((hub) => hub.topics), [0, 0]);
}

Deno.test("whatever happens, a client that travels between gateways gets each of its rows once, in order", async () => {
  await fc.assert(fc.asyncProperty(steps(cut), travel), { seed: SEEDS.cuts, numRuns: 1_500 });
});

/** One session whose topics come and go; each change counts from the session's position at that moment. */
async function change(plan: Step[]): Promise<void> {
  const world = new World(new VirtualLog(), { hubs: 2, window: { rows: 6 } });
  const [hub, other] = world.hubs as [Hub, Hub];
  const open: Transaction[] = [];
  /** Per topic: from which position, and until which. */
  const spans: { topic: string; from: Cursor; until?: Cursor }[] = [{ topic: "t", from: ORIGIN }];
  const spanOf = (topic: string) => spans.find((span) => span.topic === topic && span.until === undefined);
  const add = (session: Session, topic: string) => {
    if (spanOf(topic) !== undefined) return;
    spans.push({ topic, from: session.position });
    session.subscribe([{ topic }]);
  };
  const remove = (session: Session, topic: string) => {
    const span = spanOf(topic);
    if (span === undefined) return;
    span.until = session.position;
    session.unsubscribe([topic]);
  };
  const control: Control = (row, session) => {
    const topic = TOPICS[row.id % 3]!;
    if (spanOf(topic) === undefined) add(session, topic);
    else if (topic !== "t") remove(session, topic);
  };
  const sink = new Recorder();
  const { session } = world.session({ control, sink });
  session.open();
  let filled = Promise.resolve();
  let filling = 0;
  for (const step of plan) {
    const topic = TOPICS[step.which % 3]!;
    if (happen(step, world, open)) {
      // done
    } else if (step.do === "fill") sink.room = Math.min(sink.room, 1 + step.which % 2);
    else if (step.do === "drain") {
      sink.room = Infinity;
      session.drained();
    } else if (step.do === "subscribe" && topic !== "t") add(session, topic);
    else if (step.do === "unsubscribe" && filling === 0 && topic !== "t") remove(session, topic);
    else if (step.do === "backfill" && spans.every((span) => span.topic !== topic)) {
      // From what another gateway handed out, behind or ahead of here.
      spans.push({ topic, from: other.position });
      filling++;
      filled = Promise.all([filled, session.backfill([topic], other.position)]).then(() => {
        filling--;
      });
    }
    if (step.which % 3 > 0) await turn();
  }
  await finish(world, open, () => {
    sink.room = Infinity;
    session.drained();
  });
  await filled;
  const expected = world.log.committed.filter((row) =>
    !row.type.startsWith("tidings.") &&
    spans.some(({ topic, from, until }) =>
      row.topic === topic && !isBehind(from, row) && (until === undefined || isBehind(until, row))
    )
  );
  assert.deepEqual(sorted(sink.ids), sorted(expected.map((row) => row.id)));
  assert.ok(hub.topics > 0);
  assert.ok(parseCursor(session.cursor) !== undefined);
  session.end();
}

Deno.test("whatever happens, topics that come and go are delivered from and up to where the session was", async () => {
  const plans = steps(plain("subscribe", 2), plain("unsubscribe", 1), plain("backfill", 2));
  await fc.assert(fc.asyncProperty(plans, change), { seed: SEEDS.topics, numRuns: 1_500 });
});
