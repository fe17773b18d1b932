import assert from "node:assert/strict";
import fc from "fast-check";
import { DURATION_MAX, parseDuration } from "../src/duration.ts";

Deno.test("parseDuration() reads one unit and several", () => {
  assert.equal(parseDuration("0s"), 0);
  assert.equal(parseDuration("250ms"), 250);
  assert.equal(parseDuration("30s"), 30_000);
  assert.equal(parseDuration("10m"), 600_000);
  assert.equal(parseDuration("2h"), 7_200_000);
  assert.equal(parseDuration("30d"), 2_592_000_000);
  assert.equal(parseDuration("1w"), 604_800_000);
  assert.equal(parseDuration("1h30m"), 5_400_000);
  assert.equal(parseDuration("1m500ms"), 60_500);
});

Deno.test("parseDuration() refuses what is not a duration", () => {
  for (
    const text of [
      "",
      "10",
      "m",
      "-1m",
      "+1m",
      "1.5h",
      "1 h",
      " 1h",
      "1h ",
      "30m1h",
      "1m1m",
      "1M",
      "1y",
      "1h30",
      "P1D",
      "1e3s",
      "٣s",
      "100000w",
      "999999999999999999s",
      `${"0".repeat(70)}1s`,
    ]
  ) assert.equal(parseDuration(text), undefined, text);
});

Deno.test("parseDuration() reads back every combination of units", () => {
  const units = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
  const names = Object.keys(units) as (keyof typeof units)[];
  const counts = fc.record(
    Object.fromEntries(names.map((name) => [name, fc.nat(500)])) as Record<
      keyof typeof units,
      fc.Arbitrary<number>
    >,
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(counts, (chosen) => {
      const used = names.filter((name) => chosen[name] !== undefined);
      const text = used.map((name) => `${chosen[name]}${name}`).join("");
      const expected = used.reduce((sum, name) => sum + (chosen[name] as number) * units[name], 0);
      assert.equal(parseDuration(text), used.length === 0 ? undefined : expected);
    }),
    { seed: 20_481, numRuns: 1_000 },
  );
});

Deno.test("parseDuration() never returns anything but a bounded whole number, whatever the text", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9wdhms]{0,40}$/)), (text) => {
      const value = parseDuration(text);
      assert.ok(value === undefined || (Number.isInteger(value) && value >= 0 && value <= DURATION_MAX));
    }),
    { seed: 20_482, numRuns: 2_000 },
  );
});
