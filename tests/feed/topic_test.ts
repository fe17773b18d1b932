import assert from "node:assert/strict";
import fc from "fast-check";
import { isPattern, isTopic, matches, matchesAny } from "../../src/feed/topic.ts";

const SEEDS = { rule: 202501, itself: 202502, wellFormed: 202503, spoiled: 202504 };

// few names, so that patterns and topics meet often
const name = fc.constantFrom("user", "42", "a", "b", "climb");
const topic = fc.array(name, { minLength: 1, maxLength: 5 });
const pattern = fc.tuple(
  fc.array(fc.oneof(name, fc.constant("*")), { maxLength: 4 }),
  fc.constantFrom([], ["**"], ["*"], ["a"]),
).map(([head, tail]) => [...head, ...tail]).filter((segments) => segments.length > 0);

/** The rule in its plainest words: try every way. */
function reference(segments: string[], names: string[]): boolean {
  const [first, ...rest] = segments;
  if (first === undefined) return names.length === 0;
  if (first === "**") return names.length >= 1;
  return names.length > 0 && (first === "*" || first === names[0]) && reference(rest, names.slice(1));
}

Deno.test("matches() agrees with a plain recursive reading of the rule", () => {
  const seen = { yes: 0, no: 0 };
  fc.assert(
    fc.property(pattern, topic, (segments, names) => {
      const expected = reference(segments, names);
      seen[expected ? "yes" : "no"]++;
      assert.equal(matches(segments.join(":"), names.join(":")), expected);
    }),
    { seed: SEEDS.rule, numRuns: 5_000 },
  );
  assert.ok(seen.yes > 500 && seen.no > 500, `both outcomes are exercised: ${JSON.stringify(seen)}`);
});

Deno.test("a topic, read as a pattern, matches itself and nothing else", () => {
  fc.assert(
    fc.property(topic, topic, (one, other) => {
      assert.equal(matches(one.join(":"), other.join(":")), one.join(":") === other.join(":"));
    }),
    { seed: SEEDS.itself },
  );
});

Deno.test("isTopic() accepts exactly what the grammar generates", () => {
  const segment = fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }).filter((text) =>
    !/[\s:,*\p{Cc}]/u.test(text)
  );
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), (segments) => {
      assert.ok(isTopic(segments.join(":")));
    }),
    { seed: SEEDS.wellFormed },
  );
  const spoiler = fc.constantFrom(
    " ",
    ",",
    "*",
    "\n",
    "\t",
    "\u0000",
    "\u007f",
    "\u0085",
    "\u2028",
    "\u00a0",
    "::",
    "\ud800",
  );
  fc.assert(
    fc.property(fc.array(segment, { minLength: 2, maxLength: 4 }), spoiler, (segments, bad) => {
      assert.equal(isTopic(segments.join(bad)), false);
    }),
    { seed: SEEDS.spoiled },
  );
  for (const bad of ["", ":", "a:", ":a", "a".repeat(201)]) assert.equal(isTopic(bad), false, bad);
  assert.ok(isTopic("a".repeat(200)));
});

Deno.test("isPattern() accepts every topic, stars as whole segments, and a double star at the end only", () => {
  for (const good of ["a", "*", "**", "a:*", "*:b", "a:*:b", "a:**", "*:**", "a".repeat(200)]) {
    assert.ok(isPattern(good), good);
  }
  for (const bad of ["", "a*", "*a", "***", "**:a", "a:**:b", "a::b", "a:", "a b", "a,b", "a".repeat(201)]) {
    assert.equal(isPattern(bad), false, bad);
  }
});

Deno.test("matchesAny() needs one pattern that matches", () => {
  assert.equal(matchesAny([], "a"), false);
  assert.equal(matchesAny(["b", "a:*"], "a:1"), true);
  assert.equal(matchesAny(["b", "a:*"], "a:1:2"), false);
});
