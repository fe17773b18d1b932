/**
 * Time and chance, injected everywhere so that tests own them.
 * @module
 */

/** The clock that every wait and every deadline uses. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Resolves after `ms`, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once after `ms`; the returned function cancels. */
  after(ms: number, run: () => void): () => void;
}

/** Resolves after `ms` at the earliest, or as soon as the signal is aborted. */
export async function rest(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    // a timer drops what is left of a millisecond
    await clock.sleep(Math.ceil(ms), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** A number in [0, 1). */
export type Chance = () => number;

/** The machine's own clock. */
export const systemClock: Clock = {
  now: Date.now,
  sleep: sleepBy(longTimeout),
  after: longTimeout,
};

/** {@link Clock.sleep} on any clock that calls back. */
export function sleepBy(after: Clock["after"]): Clock["sleep"] {
  return (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        cancel();
        reject(signal?.reason);
      };
      const cancel = after(ms, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      signal?.addEventListener("abort", abort, { once: true });
    });
}

/** The machine's own randomness. */
export const systemChance: Chance = Math.random;

/** A moment within `[ms / 2, ms)`, so that many who wait for the same thing do not come back together. */
export function jitter(ms: number, chance: Chance = systemChance): number {
  return ms / 2 + chance() * ms / 2;
}

/** The longest that setTimeout waits; asked for more, it calls back at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

function longTimeout(ms: number, run: () => void): () => void {
  let timer: ReturnType<typeof setTimeout>;
  function wait(left: number): void {
    timer = left > MAX_TIMEOUT
      ? setTimeout(() => wait(left - MAX_TIMEOUT), MAX_TIMEOUT)
      : setTimeout(run, left);
  }
  wait(ms);
  return () => clearTimeout(timer);
}
