import assert from "node:assert/strict";
import { rest } from "../src/clock.ts";
import { rounds } from "../src/rounds.ts";
import { manualClock } from "./helpers/manual_clock.ts";

/** Lets everything that can go on go on. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

Deno.test("rounds() rests for as long as each round says, or as its failure does, until it is told to stop", async () => {
  const clock = manualClock(0);
  const stopping = new AbortController();
  const { signal } = stopping;
  const rests = [10, new Error("no"), 0, 30.5];
  const begun: number[] = [];
  const failures: unknown[] = [];
  const done = rounds(
    () => {
      const next = rests[begun.push(clock.now()) - 1]!;
      return typeof next === "number" ? Promise.resolve(next) : Promise.reject(next);
    },
    { clock, signal, failed: (error) => failures.push(error) * 7 },
  );
  for (let ms = 0; ms < 40; ms++) {
    await turn();
    clock.advance(1);
  }
  assert.deepEqual(begun, [0, 10, 17, 18]);
  assert.deepEqual(failures, [rests[1]]);
  stopping.abort();
  await done;
  assert.equal(clock.waiting, 0);
});

Deno.test("rounds() finishes what is under way as it is told to stop, and says nothing of its failure then", async () => {
  const clock = manualClock();
  const stopping = new AbortController();
  const { signal } = stopping;
  const under = Promise.withResolvers<number>();
  let over = false;
  const done = rounds(() => under.promise, { clock, signal, failed: () => assert.fail() }).then(() =>
    over = true
  );
  stopping.abort();
  await turn();
  assert.equal(over, false);
  under.reject(new Error("cut"));
  await done;
});

Deno.test("rest() is never shorter than asked for, ends when it is told to, and tells of a clock that fails", async () => {
  const clock = manualClock();
  const stopping = new AbortController();
  let rested = false;
  const resting = rest(clock, 1.5, stopping.signal).then(() => rested = true);
  clock.advance(1.5);
  await turn();
  assert.equal(rested, false);
  stopping.abort();
  await resting;
  const broken = { ...clock, sleep: () => Promise.reject(new Error("broken")) };
  await assert.rejects(rest(broken, 1, new AbortController().signal), /broken/);
});
