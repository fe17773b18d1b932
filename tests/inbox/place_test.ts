import assert from "node:assert/strict";
import fc from "fast-check";
import { testDatabase } from "../helpers/database.ts";

interface Place {
  xmax: number;
  xip: number[];
  at: number[];
  top: number;
}

const XIDS = 12;
const IDS = 3;

Deno.test("joined() is what was behind the old place, and what is behind the new one up to a row", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await fc.assert(
    fc.asyncProperty(places(), async ({ old, later, cut }) => {
      const rows = await sql<{ joined: boolean; expected: boolean; xid: number; id: number }[]>`
        with p as (
          select ${old === undefined ? null : literal(old)}::tidings.place as old, ${
        literal(later)
      }::tidings.place as new
        ), r as (
          select x as xid, x * 10 + i as id from generate_series(1, ${XIDS}::int) x, generate_series(1, ${IDS}::int) i
        )
        select r.xid, r.id,
          tidings.behind(tidings.joined(p.old, p.new, ${
        String(cut.xid)
      }::text::xid8, ${cut.id}::int), r.xid::text::xid8, r.id) as joined,
          tidings.behind(p.old, r.xid::text::xid8, r.id)
            or (tidings.behind(p.new, r.xid::text::xid8, r.id) and (r.xid, r.id) <= (${cut.xid}::int, ${cut.id}::int)) as expected
        from p, r`;
      for (const row of rows) assert.equal(row.joined, row.expected, `${row.xid}.${row.id}`);
      assert.equal(rows.length, XIDS * IDS);
    }),
    { seed: 20_260_802, numRuns: 300 },
  );
});

Deno.test("combined() is what is behind either of two places, or behind both", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const transactions = fc.array(fc.nat(IDS), { minLength: XIDS, maxLength: XIDS }).map(toPlace);
  await fc.assert(
    fc.asyncProperty(transactions, transactions, async (one, other) => {
      const rows = await sql<{ a: boolean; b: boolean; either: boolean; both: boolean }[]>`
        with p as (
          select ${literal(one)}::tidings.place as a, ${literal(other)}::tidings.place as b
        ), r as (
          select x::text::xid8 as xid, x * 10 + i as id
          from generate_series(1, ${XIDS + 1}::int) x, generate_series(1, ${IDS}::int) i
        )
        select tidings.behind(p.a, r.xid, r.id) as a, tidings.behind(p.b, r.xid, r.id) as b,
          tidings.behind(tidings.combined(p.a, p.b, true), r.xid, r.id) as either,
          tidings.behind(tidings.place_of(tidings.place_json(tidings.combined(p.a, p.b, false))), r.xid, r.id) as both
        from p, r`;
      for (const { a, b, either, both } of rows) {
        assert.deepEqual({ either, both }, { either: a || b, both: a && b });
      }
      assert.equal(rows.length, (XIDS + 1) * IDS);
    }),
    { seed: 20_260_811, numRuns: 300 },
  );
});

/** An old place (or none), a later one that covers it, and a row behind the later one. */
function places(): fc.Arbitrary<{ old: Place | undefined; later: Place; cut: { xid: number; id: number } }> {
  // each transaction: how many of its rows are behind the old place, and how many more behind the later one
  const behind = fc.record({ old: fc.nat(IDS), more: fc.nat(IDS) });
  return fc.record({
    transactions: fc.array(behind, { minLength: XIDS, maxLength: XIDS }),
    none: fc.boolean(),
    choice: fc.nat(),
  }).map(({ transactions, none, choice }) => {
    const olds = transactions.map((t) => none ? 0 : t.old);
    const laters = transactions.map((t, index) => Math.min(IDS, (olds[index] ?? 0) + t.more));
    const candidates = laters.flatMap((count, index) =>
      Array.from({ length: count }, (_, row) => ({ xid: index + 1, id: (index + 1) * 10 + row + 1 }))
    );
    return {
      old: none ? undefined : toPlace(olds),
      later: toPlace(laters),
      cut: candidates.length === 0 ? undefined : candidates[choice % candidates.length],
    };
  }).filter((made): made is { old: Place | undefined; later: Place; cut: { xid: number; id: number } } =>
    made.cut !== undefined
  );
}

function toPlace(counts: readonly number[]): Place {
  const xmax = counts.findLastIndex((count) => count > 0) + 2;
  const place: Place = { xmax, xip: [], at: [], top: 1_000 };
  counts.slice(0, xmax - 1).forEach((count, index) => {
    if (count === IDS) return;
    place.xip.push(index + 1);
    place.at.push(count === 0 ? 0 : (index + 1) * 10 + count);
  });
  return place;
}

function literal({ xmax, xip, at, top }: Place): string {
  return `(${xmax},"{${xip.join(",")}}","{${at.join(",")}}",${top})`;
}
