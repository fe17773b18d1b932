/**
 * The text of HTTP headers as people send it. Pure.
 *
 * HTTP gives headers no encoding: `curl -H 'Title: ✓'` sends UTF-8 bytes, which arrive as one character per byte; mail-like
 * clients send the encoded words of RFC 2047.
 * @module
 */

/** What a header's value means: UTF-8 where its bytes are that, and RFC 2047's encoded words decoded. */
export function decodeHeader(value: string): string {
  return decodeWords(decodeBytes(value));
}

/** As it arrives from `node:http`: one character for each byte. What is not UTF-8 stays ISO 8859-1. */
function decodeBytes(value: string): string {
  // deno-lint-ignore no-control-regex -- ASCII is what it looks for
  if (/^[\u0000-\u007f]*$/.test(value) || /[^\u0000-\u00ff]/.test(value)) return value;
  return decode("utf-8", Buffer.from(value, "latin1")) ?? value;
}

const WORD = /=\?([A-Za-z0-9_-]{1,40})(?:\*[A-Za-z0-9-]{1,40})?\?([BbQq])\?([!->@-~]*)\?=/g;

/** RFC 2047, section 2: neighbouring words of one charset are decoded together, since a character may be cut between them. */
function decodeWords(text: string): string {
  if (!text.includes("=?")) return text;
  const joined: { start: number; end: number; charset: string; bytes: Uint8Array[] }[] = [];
  for (const match of text.matchAll(WORD)) {
    const [whole, charset, encoding, content] = match as unknown as [string, string, string, string];
    const bytes = /b/i.test(encoding) ? Buffer.from(content, "base64") : quoted(content);
    const last = joined.at(-1);
    const start = match.index;
    const end = start + whole.length;
    if (
      last !== undefined && last.charset === charset.toLowerCase() &&
      text.slice(last.end, start).trim() === ""
    ) {
      last.bytes.push(bytes);
      last.end = end;
    } else joined.push({ start, end, charset: charset.toLowerCase(), bytes: [bytes] });
  }
  let result = "";
  let at = 0;
  let decoded = false;
  for (const { start, end, charset, bytes } of joined) {
    const between = text.slice(at, start);
    const words = decode(charset, Buffer.concat(bytes));
    // section 6.2: white space between two encoded words is not shown
    result += decoded && words !== undefined && between.trim() === "" ? "" : between;
    result += words ?? text.slice(start, end);
    decoded = words !== undefined;
    at = end;
  }
  return result + text.slice(at);
}

/** Section 4.2: `_` is a space, `=XX` a byte. */
function quoted(content: string): Uint8Array {
  const bytes = content.replaceAll("_", " ").replaceAll(
    /=([0-9A-Fa-f]{2})/g,
    (_, hex: string) => String.fromCharCode(parseInt(hex, 16)),
  );
  return Buffer.from(bytes, "latin1");
}

/** Undefined when the bytes are not in that charset, or nobody knows it. */
function decode(charset: string, bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder(charset, { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) return undefined;
    throw error;
  }
}
