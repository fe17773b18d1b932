/**
 * Token buckets by name, bounded in memory. Pure but for the clock.
 *
 * The libraries for this count within fixed windows, keep a timer for each name and do not bound the names; a bucket is two
 * numbers.
 * @module
 */
import type { Clock } from "../clock.ts";

/** How much a bucket gives. */
export interface RateLimits {
  /** Tokens that come back each second. */
  perSecond: number;
  /** Tokens of a full bucket. */
  burst: number;
  /** Names that are remembered; the one not seen for longest is forgotten, and starts full again. @default 10_000 */
  names?: number;
}

/** Takes tokens from a name's bucket. Returns 0, or, having taken nothing, the seconds until there are enough. */
export type Take = (name: string, tokens: number) => number;

/** Buckets that are full at first. More tokens than a full bucket's are taken from a full one, as debt. */
export function tokenBuckets({ perSecond, burst, names = 10_000 }: RateLimits, clock: Clock): Take {
  const buckets = new Map<string, { tokens: number; at: number }>();
  return (name, wanted) => {
    const now = clock.now();
    const known = buckets.get(name);
    const elapsed = known === undefined ? 0 : Math.max(0, now - known.at) / 1_000;
    const tokens = known === undefined ? burst : Math.min(burst, known.tokens + elapsed * perSecond);
    const needed = Math.min(wanted, burst);
    const taken = tokens >= needed;
    buckets.delete(name);
    buckets.set(name, { tokens: taken ? tokens - wanted : tokens, at: now });
    if (buckets.size > names) {
      const [oldest] = buckets.keys();
      if (oldest !== undefined) buckets.delete(oldest);
    }
    return taken ? 0 : (needed - tokens) / perSecond;
  };
}
