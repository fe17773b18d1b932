/**
 * How often one session may do something: a token bucket. Pure; the caller has the clock.
 * @module
 */

/** A bucket's size and how fast it fills. */
export interface RateLimit {
  /** What may be done at once. */
  burst: number;
  /** What may be done per second in the long run. */
  perSecond: number;
}

/** What one session may publish, on any transport that lets clients talk. */
export const PUBLISH_RATE: RateLimit = { burst: 50, perSecond: 20 };

/** A bucket, full at first. */
export class TokenBucket {
  readonly #limit: RateLimit;
  #level: number;
  #at: number;

  constructor(limit: RateLimit, now: number) {
    this.#limit = limit;
    this.#level = limit.burst;
    this.#at = now;
  }

  /**
   * Takes `count` if it is there: 0. Otherwise takes nothing and returns the milliseconds until it would be. More than the
   * whole bucket waits for a full one and leaves a debt, so that a large transaction is possible and paid for.
   */
  take(count: number, now: number): number {
    const { burst, perSecond } = this.#limit;
    this.#level = Math.min(burst, this.#level + Math.max(0, now - this.#at) * perSecond / 1_000);
    this.#at = now;
    const missing = Math.min(count, burst) - this.#level;
    // what is missing by less than a microsecond is there: sums of fractions are not exact
    if (missing > 1e-6) return Math.ceil(missing * 1_000 / perSecond);
    this.#level -= count;
    return 0;
  }
}
