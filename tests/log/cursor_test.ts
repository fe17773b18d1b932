import assert from "node:assert/strict";
import fc from "fast-check";
import { Batch } from "../../src/log/batch.ts";
import {
  covers,
  type Cursor,
  cutAt,
  formatCursor,
  fromSnapshot,
  type Gap,
  isBehind,
  isPast,
  MAX_GAPS,
  merge,
  parseCursor,
  type Place,
  splice,
  withFirst,
} from "../../src/log/cursor.ts";
import { type Committed, type Transaction, VirtualLog } from "../helpers/virtual_log.ts";

const SEEDS = { algebra: 20_261_121, histories: 7_897, crowds: 64, naive: 255 };

// The reference: a cursor is nothing but "how far each transaction is read", one number per xid.

const SPAN = 24;
type Levels = number[];

function levels(cursor: Cursor): Levels {
  const gaps = new Map(cursor.gaps.map(({ xid, id }) => [xid, id]));
  return Array.from({ length: SPAN + 2 }, (_, xid) => xid >= cursor.xmax ? 0 : gaps.get(xid) ?? Infinity);
}

const cursors: fc.Arbitrary<Cursor> = fc.record({
  xmax: fc.integer({ min: 0, max: SPAN }),
  gaps: fc.uniqueArray(
    fc.record({ xid: fc.integer({ min: 1, max: SPAN }), id: fc.integer({ min: 0, max: 4 }) }),
    {
      selector: (gap) => gap.xid,
    },
  ),
}).map(({ xmax, gaps }) => ({
  epoch: "e1",
  xmax,
  gaps: gaps.filter(({ xid }) => xid < xmax).sort((a, b) => a.xid - b.xid),
}));
const places = fc.record({ xid: fc.integer({ min: 1, max: SPAN }), id: fc.integer({ min: 1, max: 5 }) });
const runs = { seed: SEEDS.algebra, numRuns: 5_000 };

Deno.test("a written cursor is read back as it was", () => {
  const big = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 1 });
  const gaps = fc.uniqueArray(fc.record({ xid: big, id: fc.oneof(fc.constant(0), big) }), {
    selector: (gap) => gap.xid,
    maxLength: MAX_GAPS,
  });
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9]{1,16}$/), gaps, (epoch, unsorted) => {
      const sorted: Gap[] = unsorted.map((gap) => ({ ...gap })).sort((a, b) => a.xid - b.xid);
      const cursor = { epoch, xmax: (sorted.at(-1)?.xid ?? 6) + 1, gaps: sorted };
      assert.deepEqual(parseCursor(formatCursor(cursor)), cursor);
      assert.match(formatCursor(cursor), /^[a-z0-9.-]+$/);
    }),
    { ...runs, numRuns: 1_000 },
  );
});

Deno.test("parseCursor() takes nothing but cursors", () => {
  const wrong = [
    "",
    "k3f9",
    "k3f9-",
    "-7",
    "k3f9-07",
    "k3f9-7-",
    "k3f9-7-9",
    "k3f9-7-7",
    "k3f9-9-5-4",
    "k3f9-9-5-5",
  ];
  wrong.push(
    "k3f9-9-5.",
    "k3f9-9-5.0",
    "k3f9-9-0",
    "K3F9-9",
    "k3f9-9 ",
    "k3f9-9\n",
    "k3f9-9-5.9007199254740993",
  );
  wrong.push("k3f9-9007199254740992", `${"e".repeat(17)}-9`, "k3f9--9", "k3f9-1e3");
  wrong.push(`k3f9-99-${Array.from({ length: 65 }, (_, index) => index + 1).join("-")}`);
  for (const text of wrong) assert.equal(parseCursor(text), undefined, JSON.stringify(text));
  assert.deepEqual(parseCursor("k3f9-7345"), { epoch: "k3f9", xmax: 7345, gaps: [] });
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9.-]{0,40}$/)), (text) => {
      const cursor = parseCursor(text);
      if (cursor !== undefined) assert.equal(formatCursor(cursor), text);
    }),
    runs,
  );
});

Deno.test("fromSnapshot() reads what pg_current_snapshot() prints", () => {
  assert.deepEqual(fromSnapshot("e1", "767:767:"), { epoch: "e1", xmax: 767, gaps: [] });
  assert.deepEqual(fromSnapshot("e1", "98:110:109,98"), {
    epoch: "e1",
    xmax: 110,
    gaps: [{ xid: 98, id: 0 }, { xid: 109, id: 0 }],
  });
});

Deno.test("isBehind(), covers() and merge() say the same as sets of rows", () => {
  fc.assert(
    fc.property(cursors, cursors, places, (a, b, place) => {
      const [la, lb] = [levels(a), levels(b)];
      assert.equal(isBehind(a, place), place.id <= la[place.xid]!);
      assert.equal(covers(a, b), la.every((level, xid) => level >= lb[xid]!));
      assert.deepEqual(levels(merge(a, b)), la.map((level, xid) => Math.max(level, lb[xid]!)));
      assert.ok(covers(merge(a, b), a) && covers(merge(a, b), b));
      assert.deepEqual(merge(a, b), merge(b, a));
    }),
    runs,
  );
});

Deno.test("splice() follows the later cursor up to the place and the earlier one beyond it", () => {
  fc.assert(
    fc.property(cursors, cursors, places, (a, b, at) => {
      const later = merge(a, b);
      fc.pre(isBehind(later, at) && !isBehind(a, at));
      const [le, ll] = [levels(a), levels(later)];
      const expected = ll.map((level, xid) => xid < at.xid ? level : xid === at.xid ? at.id : le[xid]!);
      assert.deepEqual(levels(splice(a, later, at)), expected);
    }),
    runs,
  );
});

Deno.test("withFirst() takes the first row of a transaction and nothing else, unless it has been or too much stays open", () => {
  fc.assert(
    fc.property(cursors, places, fc.integer({ min: 1, max: SPAN }), (cursor, at, most) => {
      fc.pre(cursor.xmax > 0);
      const before = levels(cursor);
      const tooMuch = at.xid >= cursor.xmax && cursor.gaps.length + (at.xid - cursor.xmax) + 1 > most;
      const after = withFirst(cursor, at, most);
      if (before[at.xid]! > 0 || tooMuch) return assert.equal(after, undefined);
      assert.deepEqual(levels(after!), before.map((level, xid) => xid === at.xid ? at.id : level));
      const written = formatCursor(after!);
      assert.equal(formatCursor(parseCursor(written)!), written);
    }),
    runs,
  );
});

Deno.test("cutAt() leaves what is below a transaction as it was and nothing beyond it", () => {
  fc.assert(
    fc.property(cursors, fc.integer({ min: 0, max: SPAN }), (cursor, from) => {
      assert.deepEqual(
        levels(cutAt(cursor, from)),
        levels(cursor).map((level, xid) => xid < from ? level : 0),
      );
    }),
    runs,
  );
});

Deno.test("isPast() holds when nothing up to the horizon is after the cursor that is not still open at present", () => {
  fc.assert(
    fc.property(cursors, cursors, fc.integer({ min: 0, max: SPAN }), (cursor, other, horizon) => {
      const present = merge(cursor, other);
      const now = levels(present);
      const nothingSince = levels(cursor).slice(1, horizon + 1).every((level, index) =>
        level === Infinity || level === now[index + 1]
      );
      assert.equal(isPast(cursor, horizon, present), nothingSince && cursor.xmax > horizon);
    }),
    runs,
  );
});

Deno.test("isPast(): one transaction that stays open for very long resets nobody", () => {
  const open = { xid: 7, id: 0 };
  const cursor = { epoch: "e", xmax: 500, gaps: [open] };
  assert.equal(isPast(cursor, 400, { epoch: "e", xmax: 900, gaps: [open] }), true);
  assert.equal(isPast(cursor, 400, { epoch: "e", xmax: 900, gaps: [] }), false);
});

// Random transaction histories, read by several instances and by clients that go from one to the other.

/** What happens next; numbers pick by remainder. */
type Step =
  | { do: "begin" | "insert" | "commit" | "abort"; which: number }
  /** An instance takes a snapshot; a limit cuts its read. */
  | { do: "advance"; which: number; limit: number }
  /** A client asks an instance for what is after its cursor and stops reading inside the answer. */
  | { do: "read"; which: number; limit: number; cut: number };

const small = fc.nat({ max: 9 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("begin" as const), which: small }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("insert" as const), which: small }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("commit" as const), which: small }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("abort" as const), which: small }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("advance" as const),
      which: small,
      limit: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("read" as const),
      which: small,
      limit: fc.integer({ min: 1, max: 4 }),
      cut: small,
    }),
  },
);

/** How a client reads: takes the rows after its token that an instance at `here` has, at most `limit`; keeps `cut` of them. */
type Reader = (log: VirtualLog, token: string | undefined, here: Cursor, limit: number, cut: number) => {
  rows: Place[];
  token: string;
};

const start: Cursor = { epoch: "e1", xmax: 1, gaps: [] };

/** The design: the token is a cursor, spliced where the reading stopped. */
const byCursor: Reader = (log, token, here, limit, cut) => {
  const after = token === undefined ? start : parseCursor(token)!;
  const found = log.between(["t"], after, here);
  const page = found.slice(0, limit);
  const last = page.at(-1);
  const end = found.length > page.length && last !== undefined ? splice(after, here, last) : here;
  const batch = new Batch([{ rows: page, from: after, to: here }], end, after);
  if (cut >= page.length) return { rows: page, token: batch.cursor };
  return cut === 0 ? { rows: [], token: token ?? formatCursor(start) } : {
    rows: page.slice(0, cut),
    token: cut % 2 === 0 ? batch.first(cut).cursor : batch.cursorAt(cut - 1),
  };
};

/** What everybody writes first: the token is the last id. */
const byId: Reader = (log, token, here, limit, cut) => {
  const since = Number(token ?? 0);
  const rows = log.between(["t"], start, here).filter((row) => row.id > since)
    .sort((a, b) => a.id - b.id).slice(0, Math.min(limit, cut));
  return { rows, token: String(rows.at(-1)?.id ?? since) };
};

/** Plays a history; returns what one client received, over and over until there was nothing left, and what was committed. */
function play(steps: Step[], read: Reader, mostOpen = 40): { received: Place[]; log: VirtualLog } {
  const log = new VirtualLog();
  const open: Transaction[] = [];
  const instances: Cursor[] = [start, start, start];
  const received: Place[] = [];
  let token: string | undefined;
  const pick = (which: number) => open.length === 0 ? undefined : open[which % open.length]!;
  const drop = (gone: Transaction) => open.splice(open.indexOf(gone), 1);
  const advance = (which: number, limit: number) => {
    const from = instances[which]!;
    const found = log.after(from);
    const last = found.slice(0, limit).at(-1);
    instances[which] = found.length > limit && last !== undefined
      ? splice(from, log.snapshot(), last)
      : cutAt(log.snapshot(), Math.max(from.xmax, (last?.xid ?? 0) + 1));
    return found.length > limit;
  };
  const take = (which: number, limit: number, cut: number) => {
    const answer = read(log, token, instances[which]!, limit, cut);
    received.push(...answer.rows);
    token = answer.token;
    return answer.rows.length > 0;
  };
  for (const next of steps) {
    const transaction = pick(next.which);
    if (next.do === "begin" && open.length < mostOpen) open.push(log.begin());
    else if (next.do === "insert") transaction?.insert();
    else if (next.do === "commit" && transaction !== undefined) drop(transaction).forEach((t) => t.commit());
    else if (next.do === "abort" && transaction !== undefined) drop(transaction).forEach((t) => t.abort());
    else if (next.do === "advance") advance(next.which % 3, next.limit);
    else if (next.do === "read") take(next.which % 3, next.limit, next.cut);
  }
  for (const transaction of open) transaction.commit();
  for (const which of [0, 1, 2]) {
    let more = true;
    while (more) more = advance(which, 3);
    while (take(which, 3, 3));
  }
  return { received, log };
}

function checkEachOnce(received: readonly Place[], committed: readonly Committed[]): void {
  assert.deepEqual(
    received.map((row) => row.id).sort((a, b) => a - b),
    committed.map((row) => row.id).sort((a, b) => a - b),
  );
}

function checkOrder(received: readonly Place[], committed: readonly Committed[]): void {
  const rows = new Map(committed.map((row) => [row.id, row]));
  let latestBegin = -Infinity;
  const lastOf = new Map<number, number>();
  for (const { id, xid } of received) {
    const { began, committed } = rows.get(id)!;
    assert.ok(committed > latestBegin, "what committed before another's transaction began comes first");
    assert.ok(id > (lastOf.get(xid) ?? 0), "the rows of a transaction come in the order of their ids");
    latestBegin = Math.max(latestBegin, began);
    lastOf.set(xid, id);
  }
}

const histories = fc.array(step, { minLength: 5, maxLength: 150, size: "max" });
const exactlyOnce = (read: Reader) =>
  fc.property(histories, (steps) => {
    const { received, log } = play(steps, read);
    checkEachOnce(received, log.committed);
    checkOrder(received, log.committed);
  });

Deno.test("whatever is committed is read exactly once and in order, cut anywhere, on any instance", () => {
  fc.assert(exactlyOnce(byCursor), { seed: SEEDS.histories, numRuns: 3_000 });
});

Deno.test("the same check finds what a reader by id > since loses", () => {
  const { failed, counterexample } = fc.check(exactlyOnce(byId), { seed: SEEDS.naive, numRuns: 3_000 });
  assert.equal(failed, true);
  const { received, log } = play(counterexample![0], byId);
  assert.ok(received.length < log.committed.length, "rows are missing, not only out of order");
});

Deno.test("rows of one transaction come together where nothing is cut", () => {
  fc.assert(
    fc.property(histories, (steps) => {
      const log = new VirtualLog();
      const open: Transaction[] = [];
      let at = start;
      for (const { do: what, which } of steps) {
        const transaction = open[which % Math.max(1, open.length)];
        if (what === "begin") open.push(log.begin());
        else if (what === "insert") transaction?.insert();
        else if (what === "commit" && transaction !== undefined) {
          open.splice(open.indexOf(transaction), 1);
          transaction.commit();
        } else if (what === "advance") {
          const xids = log.after(at).map((row) => row.xid);
          const runs = xids.filter((xid, index) => xid !== xids[index - 1]);
          assert.equal(new Set(runs).size, runs.length);
          const seen = log.after(at);
          at = log.snapshot();
          assert.ok(seen.every((row) => isBehind(at, row)));
          assert.deepEqual(log.after(at), []);
        }
      }
    }),
    { seed: SEEDS.histories, numRuns: 1_000 },
  );
});

Deno.test("with more open transactions than a cursor can name, rows may come twice but none is lost", () => {
  const crowd = fc.tuple(
    fc.integer({ min: MAX_GAPS + 1, max: 150 }),
    fc.array(step, { minLength: 20, maxLength: 120, size: "max" }),
  );
  let twice = 0;
  fc.assert(
    fc.property(crowd, ([many, steps]) => {
      const opened: Step[] = Array.from({ length: many }, () => ({ do: "begin", which: 0 }));
      const filled: Step[] = Array.from({ length: many }, (_, which) => ({ do: "insert", which }));
      const spread = steps.map((next, index) => ({ ...next, which: next.which * 17 + index }));
      const { received, log } = play([...opened, ...filled, ...spread], byCursor, 200);
      const ids = new Set(received.map((row) => row.id));
      assert.deepEqual(
        [...ids].sort((a, b) => a - b),
        log.committed.map((row) => row.id).sort((a, b) => a - b),
      );
      twice += received.length - ids.size;
    }),
    { seed: SEEDS.crowds, numRuns: 300 },
  );
  assert.ok(twice > 0, "the histories were crowded enough to cut cursors");
});

Deno.test("a cursor with too many gaps is cut so that it is behind the whole one", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 500 }), { minLength: 65, maxLength: 200 }),
      (xids) => {
        const gaps = xids.sort((a, b) => a - b).map((xid, index) => ({ xid, id: index % 3 }));
        const whole = { epoch: "e1", xmax: 501, gaps };
        const cut = parseCursor(formatCursor(whole))!;
        assert.equal(cut.gaps.length, MAX_GAPS);
        assert.ok(covers(whole, cut) && !covers(cut, whole));
      },
    ),
    { seed: SEEDS.crowds, numRuns: 500 },
  );
});
