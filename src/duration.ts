/**
 * Durations as people write them: `30s`, `10m`, `2h`, `30d`, `1h30m`. Pure; used wherever a setting, a `since` or a `ttl`
 * takes one.
 * @module
 */

/** What a duration must look like, for messages. */
export const DURATION_EXPECTED =
  'expected a duration such as "30s", "10m", "2h", "7d" or "1h30m" (units: ms, s, m, h, d, w)';

/** The longest duration that is believed: 100 years of 365 days, in milliseconds. */
export const DURATION_MAX = 100 * 365 * 86_400_000;

/** Milliseconds of each unit, largest first: the order in which they may follow each other. */
const UNITS: Readonly<Record<string, number>> = {
  w: 7 * 86_400_000,
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
};

/** Longer than any sensible duration; what is longer is not even looked at. */
const LONGEST_TEXT = 64;

const PART = /(\d{1,15})(ms|[wdhms])/gy;

/**
 * Milliseconds of a duration: whole numbers, each with a unit, from the largest unit to the smallest, none twice; at most
 * {@link DURATION_MAX}. `undefined` when the text is anything else; a bare number is not a duration.
 */
export function parseDuration(text: string): number | undefined {
  if (text.length === 0 || text.length > LONGEST_TEXT) return undefined;
  const order = Object.keys(UNITS);
  let total = 0;
  let last = -1;
  let end = 0;
  for (const match of text.matchAll(PART)) {
    const [part, count, unit] = match as unknown as [string, string, string];
    const rank = order.indexOf(unit);
    if (rank <= last) return undefined;
    last = rank;
    end = match.index + part.length;
    total += Number(count) * (UNITS[unit] as number);
  }
  return end === text.length && total <= DURATION_MAX ? total : undefined;
}
