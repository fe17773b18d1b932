import assert from "node:assert/strict";
import fc from "fast-check";
import { measureData } from "../src/api/data.ts";
import { parseExact, parsePublications } from "../src/exact_json.ts";
import { testDatabase } from "./helpers/database.ts";

const SEED = 53;

const number = fc.tuple(
  fc.constantFrom("", "-"),
  fc.bigInt({ min: 0n, max: 10n ** 30n }),
  fc.option(fc.stringMatching(/^[0-9]{1,25}$/), { nil: undefined }),
  fc.option(fc.tuple(fc.constantFrom("e", "E", "e+", "e-"), fc.nat(420)), { nil: undefined }),
).map(([sign, whole, fraction, exponent]) =>
  sign + whole + (fraction === undefined ? "" : `.${fraction}`) + (exponent?.join("") ?? "")
);

/** JSON text whose numbers are written in every way. */
const json = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    number,
    fc.constantFrom("null", "true", "false", "0", "-0", "-0.00", "1.0", "9007199254740993"),
    fc.string({ unit: "binary" }).filter((text) => text.isWellFormed() && !text.includes("\u0000"))
      .map((text) => JSON.stringify(text)),
    fc.array(tie("value"), { maxLength: 5 }).map((list) => `[${list.join(", ")}]`),
    fc.dictionary(fc.string({ maxLength: 5 }).filter((key) => !key.includes("\u0000")), tie("value"), {
      maxKeys: 5,
    }).map((record) =>
      `{${Object.entries(record).map(([key, value]) => `${JSON.stringify(key)} :${value}`)}}`
    ),
  ),
})).value;

Deno.test("parseExact() keeps every digit of every number, and measureData() counts what jsonb writes", async () => {
  await using database = await testDatabase();
  const samples = fc.sample(json, { seed: SEED, numRuns: 1_000 });
  const passed = samples.map((text) => JSON.stringify(parseExact(text)));
  const records = await database.sql<{ same: boolean; bytes: number }[]>`
    select given::jsonb::text = passed::jsonb::text as same, octet_length(given::jsonb::text) as bytes
    from rows from (
      json_array_elements_text(${JSON.stringify(samples)}::text::json),
      json_array_elements_text(${
    JSON.stringify(passed)
  }::text::json)) with ordinality as o (given, passed, place)
    order by place`;
  for (const [index, { same, bytes }] of records.entries()) {
    const text = samples[index]!;
    assert.ok(same, text);
    assert.equal(measureData(parseExact(text)), bytes, text);
  }
  assert.equal(records.length, samples.length);
});

Deno.test("parseExact() takes and refuses what JSON.parse does", () => {
  const verdict = (parse: (text: string) => unknown, text: string) => {
    try {
      parse(text);
      return "taken";
    } catch (error) {
      assert.ok(error instanceof SyntaxError, String(error));
      return "refused";
    }
  };
  fc.assert(
    fc.property(
      json,
      fc.nat(),
      fc.constantFrom("", "0", "1.0", "e", "-", "+", ".", '"', "\\", ",", "]", " ", "x"),
      (text, place, put) => {
        const at = place % (text.length + 1);
        const broken = text.slice(0, at) + put + text.slice(put === "" ? at + 1 : at);
        assert.equal(verdict(parseExact, broken), verdict(JSON.parse, broken), broken);
      },
    ),
    { seed: SEED, numRuns: 5_000 },
  );
  for (
    const text of [
      "01.0",
      "1.0.0",
      "-1.",
      "1e",
      "+1.0",
      "--1.0",
      ".10",
      "1.0-0",
      '"\\',
      '"1.0',
      "",
      "1.0e1.0",
    ]
  ) {
    assert.equal(verdict(parseExact, text), "refused", text);
  }
});

Deno.test("parseExact() is not deceived by what texts hold, and takes any depth", () => {
  const text = '{"a\\"1.0":"2.0\\\\","b":[1.0,"\\\\\\"",3.00]}';
  assert.equal(JSON.stringify(parseExact(text)), text);
  const deep = `${"[".repeat(200_000)}1.0${"]".repeat(200_000)}`;
  assert.ok(Array.isArray(parseExact(deep)));
});

Deno.test("parsePublications() keeps digits in data alone", () => {
  const one = { to: "a", ttl: 1.5, data: [1.5] };
  const text = '{"to":"a","ttl":1.50,"data":[1.50]}';
  const read = parsePublications(`[${text},${text}]`) as (typeof one)[];
  assert.deepEqual(read.map(({ ttl }) => ttl), [1.5, 1.5]);
  assert.equal(JSON.stringify(read), `[${text},${text}]`.replaceAll('"ttl":1.50', '"ttl":1.5'));
  assert.equal(JSON.stringify(parsePublications("1.50")), "1.50");
});
