/**
 * What a sender attaches: any JSON, within the bounds that the database holds too, counted as it counts them. Pure.
 * @module
 */
import { type ExactNumber, isExactNumber, numberBytes } from "../exact_json.ts";
import { LIMITS } from "../notification.ts";

/** How deep `data` may be nested. */
export const MAX_DEPTH = 32;

/** For the reference. */
export const DATA_DESCRIPTION =
  `Any JSON, at most ${LIMITS.data} bytes as PostgreSQL writes it: with a space after each colon and comma, and numbers ` +
  `without exponents. Nested at most ${MAX_DEPTH} deep. Numbers keep their digits`;

/** Postgres takes neither NUL nor half of a surrogate pair. */
export const NOT_STORABLE = "expected text without NUL characters and without halves of surrogate pairs";
const TOO_LONG = `expected at most ${LIMITS.data} bytes as text, with a space after each colon and comma`;
const TOO_DEEP = `expected JSON nested at most ${MAX_DEPTH} deep`;
const NUMBER_EXPECTED =
  "expected numbers of at most 131072 digits before the decimal point and 16383 after it";

/** Whether Postgres takes a text. */
export function isStorable(value: string): boolean {
  return !value.includes("\u0000") && value.isWellFormed();
}

/** Bytes of `data` as jsonb writes it, or what is wrong with it. Walks without recursion: depth is one of the bounds. */
export function measureData(root: unknown): number | string {
  if (root === undefined) return 0;
  let bytes = 0;
  const waiting: { value: unknown; depth: number }[] = [{ value: root, depth: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, depth } = next;
    if (typeof value === "string") {
      if (!isStorable(value)) return NOT_STORABLE;
      bytes += textBytes(value);
    } else if (typeof value === "number" || isExactNumber(value)) {
      const digits = numberBytes(value as number | ExactNumber);
      if (digits === Infinity) return NUMBER_EXPECTED;
      bytes += digits;
    } else if (typeof value === "object" && value !== null) {
      if (depth >= MAX_DEPTH) return TOO_DEEP;
      const list = Array.isArray(value);
      const entries = Object.entries(value);
      // brackets, and what stands between
      bytes += 2 + 2 * Math.max(0, entries.length - 1);
      for (const [key, inner] of entries) {
        if (!list) {
          if (!isStorable(key)) return NOT_STORABLE;
          bytes += textBytes(key) + 2;
        }
        waiting.push({ value: inner, depth: depth + 1 });
      }
    } else bytes += String(value).length;
    if (bytes > LIMITS.data) return TOO_LONG;
  }
  return bytes;
}

/** Of a string in JSON, quotes included. */
function textBytes(value: string): number {
  return Buffer.byteLength(JSON.stringify(value));
}
