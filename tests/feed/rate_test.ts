import assert from "node:assert/strict";
import fc from "fast-check";
import { TokenBucket } from "../../src/feed/rate.ts";

Deno.test("a full bucket gives its burst at once, and then as fast as it fills", () => {
  const bucket = new TokenBucket({ burst: 3, perSecond: 10 }, 0);
  assert.deepEqual([bucket.take(1, 0), bucket.take(2, 0)], [0, 0]);
  assert.equal(bucket.take(1, 0), 100);
  assert.equal(bucket.take(1, 50), 50);
  assert.equal(bucket.take(1, 100), 0);
  assert.equal(bucket.take(1, 100), 100);
});

Deno.test("more than the bucket holds needs a full one and is paid for afterwards", () => {
  const bucket = new TokenBucket({ burst: 2, perSecond: 10 }, 0);
  assert.equal(bucket.take(10, 0), 0);
  assert.equal(bucket.take(1, 0), 900);
  assert.equal(bucket.take(1, 900), 0);
});

Deno.test("whatever is asked when, no more is given than the burst and what the time allows", () => {
  const limit = { burst: 5, perSecond: 20 };
  fc.assert(
    fc.property(fc.array(fc.record({ wait: fc.nat(500), count: fc.integer({ min: 1, max: 5 }) })), (asks) => {
      const bucket = new TokenBucket(limit, 0);
      let now = 0;
      let given = 0;
      for (const { wait, count } of asks) {
        now += wait;
        const missing = bucket.take(count, now);
        if (missing === 0) given += count;
        else {
          now += missing;
          assert.equal(bucket.take(count, now), 0, "the announced wait is enough");
          given += count;
        }
        assert(given <= limit.burst + now * limit.perSecond / 1_000 + 1e-3);
      }
    }),
    { seed: 20_50, numRuns: 500 },
  );
});

Deno.test("a clock that goes back gives nothing away", () => {
  const bucket = new TokenBucket({ burst: 1, perSecond: 1 }, 10_000);
  assert.equal(bucket.take(1, 10_000), 0);
  assert.equal(bucket.take(1, 0), 1_000);
});
