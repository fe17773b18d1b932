/**
 * Lets only so many in at a time; the others wait in line. Bounds what a crowd that comes back at once costs.
 * @module
 */

/** A counting semaphore. */
export interface Gate {
  /** Runs when there is room; rejects with the signal's reason when that comes first. */
  pass<T>(run: () => Promise<T>, signal: AbortSignal): Promise<T>;
}

/** A gate for `room` at a time. */
export function createGate(room: number): Gate {
  const line = new Set<() => void>();
  let free = room;
  return {
    async pass(run, signal) {
      if (free === 0) {
        await new Promise<void>((resolve, reject) => {
          const enter = () => {
            signal.removeEventListener("abort", leave);
            resolve();
          };
          const leave = () => {
            line.delete(enter);
            reject(signal.reason);
          };
          if (signal.aborted) return reject(signal.reason);
          signal.addEventListener("abort", leave, { once: true });
          line.add(enter);
        });
      } else free--;
      try {
        return await run();
      } finally {
        const [next] = line;
        if (next === undefined) free++;
        else {
          line.delete(next);
          next();
        }
      }
    },
  };
}
