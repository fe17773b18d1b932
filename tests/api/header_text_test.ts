import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeHeader } from "../../src/api/header_text.ts";

/** As the bytes of a header arrive: one character each. */
const arriving = (text: string) => Buffer.from(text, "utf8").toString("latin1");

Deno.test("decodeHeader() reads UTF-8 as curl sends it", () => {
  assert.equal(decodeHeader(arriving("✓ Größe 日本")), "✓ Größe 日本");
  assert.equal(decodeHeader("plain ASCII"), "plain ASCII");
  assert.equal(decodeHeader(""), "");
});

Deno.test("decodeHeader() leaves ISO 8859-1 alone, which is not UTF-8", () => {
  assert.equal(decodeHeader("Größe"), "Größe");
});

Deno.test("decodeHeader() decodes the encoded words of RFC 2047", () => {
  // the examples of section 8
  assert.equal(decodeHeader("=?ISO-8859-1?Q?a?="), "a");
  assert.equal(decodeHeader("=?ISO-8859-1?Q?a?= b"), "a b");
  assert.equal(decodeHeader("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?="), "ab");
  assert.equal(decodeHeader("=?ISO-8859-1?Q?a?=   =?ISO-8859-1?Q?b?="), "ab");
  assert.equal(decodeHeader("=?ISO-8859-1?Q?a_b?="), "a b");
  assert.equal(decodeHeader("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?="), "a b");
  assert.equal(decodeHeader("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?="), "Keld Jørn Simonsen");
  assert.equal(
    decodeHeader(
      "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
    ),
    "If you can read this you understand the example.",
  );
  assert.equal(decodeHeader("=?utf-8?B?4pyTIGRvbmU=?="), "✓ done");
  assert.equal(decodeHeader("=?UTF-8*en?Q?caf=c3=a9?= au lait"), "café au lait");
});

Deno.test("decodeHeader() joins a character that was cut between two words", () => {
  assert.equal(decodeHeader("=?UTF-8?Q?=E2=9C?= =?UTF-8?Q?=93?="), "✓");
  assert.equal(decodeHeader("=?UTF-8?B?4pw=?= =?utf-8?B?kw==?="), "✓");
});

Deno.test("decodeHeader() leaves what only looks like an encoded word", () => {
  for (
    const text of [
      "=?UTF-8?Q?=E2=9C?=",
      "=?no-such-charset?Q?a?=",
      "=?UTF-8?X?a?=",
      "=?UTF-8?Q?open",
      "a =? b ?=",
      "=?UTF-8?Q?with space?=",
    ]
  ) assert.equal(decodeHeader(text), text);
  assert.equal(decodeHeader("=?nope?Q?a?= =?utf-8?Q?b?="), "=?nope?Q?a?= b");
});

Deno.test("decodeHeader() gives back every text, however it was encoded", () => {
  const word = (bytes: Uint8Array, base64: boolean) =>
    base64
      ? `=?UTF-8?B?${Buffer.from(bytes).toString("base64")}?=`
      : `=?UTF-8?Q?${[...bytes].map((byte) => `=${byte.toString(16).padStart(2, "0")}`).join("")}?=`;
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme", minLength: 1 }),
      fc.boolean(),
      fc.nat(),
      (text, base64, cut) => {
        const bytes = Buffer.from(text, "utf8");
        const at = cut % bytes.length;
        const words = [bytes.subarray(0, at), bytes.subarray(at)].filter((part) => part.length > 0);
        assert.equal(decodeHeader(words.map((part) => word(part, base64)).join(" ")), text);
        // a text that holds no encoded word comes through as bytes, too
        if (!text.includes("=?")) assert.equal(decodeHeader(arriving(text)), text);
      },
    ),
    { seed: 2_047, numRuns: 1_000 },
  );
});

Deno.test("decodeHeader() takes any text without failing", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[=?A-Za-z0-9_+/ -]{0,80}$/), (text) => {
      assert.equal(typeof decodeHeader(text), "string");
    }),
    { seed: 2_048, numRuns: 2_000 },
  );
});
