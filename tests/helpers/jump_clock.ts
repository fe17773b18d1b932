/**
 * The machine's clock with a lever: it runs by itself, so that everything around goes on, and a test moves it ahead.
 * @module
 */
import { type Clock, sleepBy, systemClock } from "../../src/clock.ts";

/** A {@link Clock} that can be moved ahead. */
export interface JumpClock extends Clock {
  /**
   * Moves ahead, a second at a time: what comes due runs in its order, and after each second what is under way elsewhere (a
   * query, a write) gets its turn: a millisecond, or as long as `turn` takes. Over more seconds than a query's deadline has, a
   * statement of the test's own is a turn that gives the database time, however slow the machine is.
   */
  jump(ms: number, turn?: () => PromiseLike<unknown>): Promise<void>;
}

/** A clock that stands where the machine's does. */
export function jumpClock(): JumpClock {
  let ahead = 0;
  const timers = new Set<{ at: number; fire: () => void }>();
  const now = () => systemClock.now() + ahead;

  function after(ms: number, run: () => void): () => void {
    const timer = {
      at: now() + ms,
      fire() {
        cancel();
        timers.delete(timer);
        run();
      },
    };
    const cancel = systemClock.after(ms, timer.fire);
    timers.add(timer);
    return () => {
      cancel();
      timers.delete(timer);
    };
  }

  return {
    now,
    after,
    sleep: sleepBy(after),
    async jump(ms, turn = () => systemClock.sleep(1)) {
      for (let left = ms; left > 0; left -= 1_000) {
        ahead += Math.min(left, 1_000);
        for (;;) {
          const due = [...timers].filter(({ at }) => at <= now()).sort((a, b) => a.at - b.at)[0];
          if (due === undefined) break;
          due.fire();
        }
        await turn();
      }
    },
  };
}
