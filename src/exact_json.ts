/**
 * JSON whose numbers keep their digits: what a sender attaches is stored and delivered as it was written, also where JavaScript's
 * numbers would round it (an id beyond 2^53, a price with its zeros). Pure.
 *
 * A number that JavaScript would write otherwise is an {@link ExactNumber}, which `JSON.stringify` writes as it came; all
 * others are ordinary numbers. Nothing here recurses: text from outside may be nested as deep as it likes.
 * @module
 */

/** A number as it was written (ECMA-262, raw JSON). */
export interface ExactNumber {
  readonly rawJSON: string;
}

const { rawJSON, isRawJSON } = JSON as unknown as {
  rawJSON(text: string): ExactNumber;
  isRawJSON(value: unknown): value is ExactNumber;
};

const NUMBER = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/;
/** What every number has that would be written otherwise; some others, and texts, have it too. */
const SUSPECT = /[0-9.]{16}|\.[0-9]*0(?![0-9])|[0-9][eE]|-0/;
/** Stands before a number that was made a string, until it is made a number again; nobody outside knows it. */
const MARK = `\u0000${crypto.randomUUID()}`;

/** Whether it is a number that only its text tells exactly. */
export function isExactNumber(value: unknown): value is ExactNumber {
  return isRawJSON(value);
}

/** As `JSON.parse`, but that numbers keep their digits. @throws {SyntaxError} */
export function parseExact(text: string): unknown {
  const marked = SUSPECT.test(text) ? mark(text) : text;
  const value: unknown = JSON.parse(marked);
  return marked === text ? value : unmark(value);
}

/**
 * A publication or a list of them, or a frame: numbers keep their digits in `data`, and are ordinary numbers everywhere else.
 * @throws {SyntaxError}
 */
export function parsePublications(text: string): unknown {
  const value = parseExact(text);
  for (const one of Array.isArray(value) ? value : [value]) roundFields(one);
  return value;
}

/** Makes exact numbers ordinary ones, in all fields but `data`. */
export function roundFields(value: unknown): void {
  if (typeof value !== "object" || value === null || isExactNumber(value)) return;
  for (const [key, field] of Object.entries(value)) {
    if (key !== "data" && isExactNumber(field)) put(value, key, Number(field.rawJSON));
  }
}

/**
 * How many bytes PostgreSQL's jsonb writes for a number: without an exponent.
 * Infinity: more digits than it can hold (131072 before the point, 16383 after it).
 */
export function numberBytes(value: number | ExactNumber): number {
  const source = isExactNumber(value) ? value.rawJSON : String(value);
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = NUMBER.exec(source) ?? [];
  const shift = Number(exponent);
  const digits = whole + fraction;
  const leading = /^0*/.exec(digits)![0].length;
  const zero = leading === digits.length;
  const before = zero ? 1 : Math.max(1, whole.length + shift - leading);
  const after = Math.max(0, fraction.length - shift);
  if (before > 131_072 || after > 16_383) return Infinity;
  return (sign === "" || zero ? 0 : 1) + before + (after === 0 ? 0 : 1 + after);
}

/** Makes strings of the numbers that would be written otherwise. What is not JSON stays so. */
function mark(text: string): string {
  let marked = "";
  let done = 0;
  for (let at = 0; at < text.length;) {
    const start = at;
    const code = text.charCodeAt(at++);
    if (code === QUOTE) {
      for (let c = text.charCodeAt(at); at < text.length && c !== QUOTE; c = text.charCodeAt(++at)) {
        if (c === BACKSLASH) at++;
      }
      at++;
    } else if (code === MINUS || isDigit(code)) {
      while (isOfNumber(text.charCodeAt(at))) at++;
      const source = text.slice(start, at);
      if (NUMBER.test(source) && String(Number(source)) !== source) {
        marked += `${text.slice(done, start)}"${MARK_ESCAPED}${source}"`;
        done = at;
      }
    }
  }
  return marked + text.slice(done);
}

function unmark(root: unknown): unknown {
  const holder = { root };
  const waiting: object[] = [holder];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    for (const [key, value] of Object.entries(next)) {
      if (typeof value === "object" && value !== null) waiting.push(value);
      else if (typeof value === "string" && value.startsWith(MARK)) {
        put(next, key, rawJSON(value.slice(MARK.length)));
      }
    }
  }
  return holder.root;
}

/** Also where the key is `__proto__`. */
function put(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const MARK_ESCAPED = MARK.replace("\u0000", "\\u0000");

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** Digits, and `+ - . E e`. */
function isOfNumber(code: number): boolean {
  return isDigit(code) || code === 0x2b || code === MINUS || code === 0x2e || code === 0x45 || code === 0x65;
}
