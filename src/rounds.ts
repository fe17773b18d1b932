/**
 * Work that is done again and again, each round saying how long to rest after it.
 * @module
 */
import { type Clock, rest } from "./clock.ts";

/** How rounds are done. */
export interface RoundsOptions {
  clock: Clock;
  /** A round failed; returns how long to rest (ms) before the next. */
  failed(error: unknown): number;
  signal: AbortSignal;
}

/** Does rounds until the signal is aborted; the one that is under way then is finished. `round` resolves to a rest in ms. */
export async function rounds(
  round: () => Promise<number>,
  { clock, failed, signal }: RoundsOptions,
): Promise<void> {
  while (!signal.aborted) {
    let wait: number;
    try {
      wait = await round();
    } catch (error) {
      if (signal.aborted) return;
      wait = failed(error);
    }
    await rest(clock, wait, signal);
  }
}
