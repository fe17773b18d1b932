/**
 * Deadlines: whatever is waited for ends in time, one way or the other.
 * @module
 */
import type { Clock } from "../clock.ts";
import { TidingsClientError } from "./problem.ts";

/** Milliseconds for one answer, and for a call that may take several tries. */
export const ANSWER = 15_000;
export const CALL = 30_000;

/** What `work` comes to; after `ms` milliseconds the error `connection_lost`: "Cannot <act>: <why>". */
export function within<T>(clock: Clock, ms: number, act: string, why: string, work: Promise<T>): Promise<T> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(
      ms,
      () => reject(new TidingsClientError("connection_lost", `Cannot ${act}: ${why}`)),
    );
  });
  return Promise.race([work, late]).finally(() => cancel());
}
