import assert from "node:assert/strict";
import fc from "fast-check";
import { tokenBuckets } from "../../src/api/rate.ts";
import { manualClock } from "../helpers/manual_clock.ts";

Deno.test("a bucket gives its burst at once, then what comes back each second", () => {
  const clock = manualClock();
  const take = tokenBuckets({ perSecond: 2, burst: 10 }, clock);
  assert.equal(take("ann", 10), 0);
  assert.equal(take("ann", 1), 0.5);
  clock.advance(499);
  assert.ok(take("ann", 1) > 0);
  clock.advance(1);
  assert.equal(take("ann", 1), 0);
  clock.advance(3_600_000);
  assert.equal(take("ann", 11), 0, "more than a full bucket goes as debt");
  assert.equal(take("ann", 1), 1);
});

Deno.test("buckets of different names do not touch", () => {
  const take = tokenBuckets({ perSecond: 1, burst: 1 }, manualClock());
  assert.equal(take("ann", 1), 0);
  assert.equal(take("bob", 1), 0);
  assert.equal(take("ann", 1), 1);
});

Deno.test("the name that was not seen for longest is forgotten", () => {
  const take = tokenBuckets({ perSecond: 1, burst: 1, names: 2 }, manualClock());
  for (const name of ["ann", "bob", "ann", "cid"]) take(name, 1);
  assert.equal(take("ann", 1), 1);
  assert.equal(take("bob", 1), 0, "bob was forgotten");
});

Deno.test("nobody gets more than the burst and what came back, and whoever waits as told gets it", () => {
  const steps = fc.array(fc.record({ wait: fc.nat(5_000), tokens: fc.integer({ min: 1, max: 30 }) }), {
    maxLength: 50,
  });
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 50 }),
      (steps, perSecond, burst) => {
        const clock = manualClock(0);
        const take = tokenBuckets({ perSecond, burst }, clock);
        let taken = 0;
        for (const { wait, tokens } of steps) {
          clock.advance(wait);
          const missing = take("ann", tokens);
          if (missing === 0) {
            taken += tokens;
            continue;
          }
          clock.advance(Math.ceil(missing * 1_000) + 1);
          assert.equal(take("ann", tokens), 0);
          taken += tokens;
        }
        // one debt at most is out
        assert.ok(taken <= burst + perSecond * clock.now() / 1_000 + 30, `${taken}`);
      },
    ),
    { seed: 4_290, numRuns: 500 },
  );
});
