import assert from "node:assert/strict";
import { systemClock } from "../src/clock.ts";

Deno.test("after() of more than setTimeout can wait for does not call back at once", async () => {
  let early = 0;
  const cancels = [2 ** 31, 90 * 24 * 3_600_000, Infinity].map((ms) => systemClock.after(ms, () => early++));
  // a timer that overflowed is due after 1 ms, before this one
  await new Promise<void>((resolve) => systemClock.after(2, resolve));
  cancels.forEach((cancel) => cancel());
  assert.equal(early, 0);
});

Deno.test("sleep() ends with the signal's reason, however long it was to be", async () => {
  const abort = new AbortController();
  const sleeping = systemClock.sleep(90 * 24 * 3_600_000, abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(sleeping, /enough/);
  await assert.rejects(systemClock.sleep(1, abort.signal), /enough/);
  await systemClock.sleep(1);
});
