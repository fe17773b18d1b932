import assert from "node:assert/strict";
import fc from "fast-check";
import { Batch } from "../../src/log/batch.ts";
import { covers, type Cursor, cutAt, isBehind, merge, type Place, splice } from "../../src/log/cursor.ts";
import { Window } from "../../src/log/window.ts";
import { type Transaction, VirtualLog } from "../helpers/virtual_log.ts";

const SEEDS = { window: 161_803, batch: 577_215 };
const TOPICS = ["t", "u", "v"];
const ORIGIN: Cursor = { epoch: "e1", xmax: 1, gaps: [] };

/** A log that is read in stretches by a window, and elsewhere faster or slower. */
interface Plan {
  steps: { do: "begin" | "insert" | "commit" | "abort" | "read" | "read elsewhere"; which: number }[];
  limits: { rows: number; age: number };
  limit: number;
}

const name = (text: Plan["steps"][number]["do"], weight: number) => ({
  weight,
  arbitrary: fc.constant(text),
});
const steps = fc.array(
  fc.record({
    do: fc.oneof(
      name("begin", 3),
      name("insert", 7),
      name("commit", 3),
      name("abort", 1),
      name("read", 3),
      name("read elsewhere", 2),
    ),
    which: fc.nat({ max: 11 }),
  }),
  { minLength: 10, maxLength: 120, size: "max" },
);
const plans: fc.Arbitrary<Plan> = fc.record({
  steps,
  limits: fc.record({ rows: fc.integer({ min: 1, max: 30 }), age: fc.integer({ min: 1, max: 40 }) }),
  limit: fc.integer({ min: 1, max: 5 }),
});

/** Plays it; returns the window with its head, and every position that anybody was at. */
function play({ steps, limits }: Plan) {
  const log = new VirtualLog();
  const open: Transaction[] = [];
  const window = new Window(ORIGIN, limits);
  const positions: Cursor[] = [ORIGIN];
  let head = ORIGIN;
  let elsewhere = ORIGIN;
  const read = (from: Cursor, limit: number) => {
    const found = log.after(from);
    const rows = found.slice(0, limit);
    const last = rows.at(-1);
    const to = rows.length < found.length && last !== undefined
      ? splice(from, log.snapshot(), last)
      : cutAt(log.snapshot(), Math.max(from.xmax, (last?.xid ?? 0) + 1));
    return { rows, from, to };
  };
  for (const [now, step] of steps.entries()) {
    const transaction = open[step.which % Math.max(1, open.length)];
    if (step.do === "begin") open.push(log.begin());
    else if (step.do === "insert") transaction?.insert(TOPICS[step.which % 3]!);
    else if (step.do === "read") {
      const stretch = read(head, 1 + step.which % 6);
      window.add(stretch, now);
      positions.push(head = stretch.to);
    } else if (step.do === "read elsewhere") {
      positions.push(elsewhere = read(elsewhere, 1 + step.which % 6).to, merge(elsewhere, head));
    } else if (transaction !== undefined) {
      open.splice(open.indexOf(transaction), 1);
      transaction[step.do]();
    }
  }
  return { log, window, head, positions };
}

const places = (rows: Iterable<Place>) => [...rows].map((row) => row.id).sort((a, b) => a - b);

Deno.test("the window gives page by page what lies between a cursor and its head, or says that it cannot", () => {
  let inside = 0;
  let outside = 0;
  fc.assert(
    fc.property(plans, (plan) => {
      const { log, window, head, positions } = play(plan);
      for (const start of positions) {
        const wanted = log.committed.filter((row) =>
          row.topic !== "v" && !isBehind(start, row) && isBehind(head, row)
        );
        if (!covers(start, window.start)) {
          assert.equal(window.read(start, head, () => true, 1), undefined);
          outside++;
          continue;
        }
        inside++;
        const got: Place[] = [];
        let after = start;
        for (let pages = 0; pages === 0 || !covers(after, head); pages++) {
          assert.ok(pages <= wanted.length, "every page but the last has rows");
          const page = window.read(after, head, (row) => row.topic !== "v", plan.limit)!;
          assert.ok(page.rows.length <= plan.limit);
          assert.ok(covers(page.end, after));
          got.push(...page.rows);
          after = page.end;
        }
        assert.deepEqual(places(new Set(got)), places(got));
        assert.deepEqual(places(got), places(wanted));
      }
    }),
    { seed: SEEDS.window, numRuns: 1_000 },
  );
  assert.ok(inside > 1_000 && outside > 1_000, "both happened");
});

Deno.test("every place inside a batch has a cursor that what was delivered is behind, and nothing else", () => {
  fc.assert(
    fc.property(plans, fc.nat(), fc.nat(), (plan, one, two) => {
      const { log, window, head, positions } = play(plan);
      const start = positions[one % positions.length]!;
      const whole = window.read(start, head, (row) => row.topic !== "v", 1_000);
      fc.pre(whole !== undefined);
      // And as a client sees it that holds something besides.
      const held = positions[two % positions.length]!;
      for (
        const [batch, base] of [
          [whole, start] as const,
          [whole.filter((row) => !isBehind(held, row), held), merge(start, held)] as const,
          [whole.filter((row) => row.topic === "t"), start] as const,
        ]
      ) {
        const own = log.committed.filter((row) =>
          (batch.rows.some((other) => other.id === row.id)) || isBehind(base, row)
        );
        const after = (cursor: Cursor) => own.filter((row) => isBehind(cursor, row));
        for (const index of batch.rows.keys()) {
          const delivered = places([
            ...own.filter((row) => isBehind(base, row)),
            ...batch.rows.slice(0, index + 1).filter((row) => !isBehind(base, row)),
          ]);
          assert.deepEqual(places(after(batch.positionAt(index))), delivered);
          assert.deepEqual(batch.first(index + 1).rows, batch.rows.slice(0, index + 1));
          assert.equal(batch.first(index + 1).cursor, batch.cursorAt(index));
          const middle = batch.slice(index >> 1, index + 1);
          assert.deepEqual(middle.rows, batch.rows.slice(index >> 1, index + 1));
          assert.equal(middle.cursor, batch.cursorAt(index));
        }
        assert.ok(covers(batch.end, base) && covers(batch.end, head));
      }
    }),
    { seed: SEEDS.batch, numRuns: 1_000 },
  );
});

Deno.test("what is encoded of a batch is made once for each transport", () => {
  const log = new VirtualLog();
  const row = log.send();
  const batch = new Batch([{ rows: [row], from: ORIGIN, to: log.snapshot() }], log.snapshot());
  let made = 0;
  const make = () => ++made;
  assert.deepEqual([batch.encoded("a", make), batch.encoded("a", make), batch.encoded("b", make)], [1, 1, 2]);
});

Deno.test("the window is bounded by rows, by characters and by age", () => {
  const log = new VirtualLog();
  const fill = (limits: { rows?: number; bytes?: number; age?: number }) => {
    const window = new Window(ORIGIN, limits);
    let at = ORIGIN;
    for (let now = 0; now < 10; now++) {
      const row = log.send();
      const to = log.snapshot();
      window.add({ rows: [row], from: at, to }, now);
      at = to;
    }
    return { window, at };
  };
  const { length } = log.send().json;
  assert.equal(fill({ rows: 4 }).window.size, 4);
  assert.ok(fill({ bytes: 3 * (length + 2) }).window.size <= 3);
  const { window, at } = fill({ age: 5 });
  assert.equal(window.size, 6);
  window.add({ rows: [], from: at, to: at }, 100);
  assert.equal(window.size, 0);
  assert.ok(covers(at, window.start));
});
