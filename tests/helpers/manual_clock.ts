/**
 * A clock that moves only when the test says so.
 * @module
 */
import { type Clock, sleepBy } from "../../src/clock.ts";

/** A {@link Clock} with its hand in the test's. */
export interface ManualClock extends Clock {
  /** Moves on and runs what came due, in order of time; what those start and comes due within `ms` runs as well. */
  advance(ms: number): void;
  /** How many timers and sleeps wait. */
  readonly waiting: number;
}

/** A clock that stands at `start`. */
export function manualClock(start = 1_700_000_000_000): ManualClock {
  let now = start;
  const timers = new Set<{ at: number; run: () => void }>();
  function after(ms: number, run: () => void): () => void {
    const timer = { at: now + ms, run };
    timers.add(timer);
    return () => timers.delete(timer);
  }
  return {
    now: () => now,
    after,
    sleep: sleepBy(after),
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const due = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        now = Math.max(now, due.at);
        due.run();
      }
      now = end;
    },
    get waiting() {
      return timers.size;
    },
  };
}
