import assert from "node:assert/strict";
import { parseIdempotencyKey } from "../../src/api/idempotency_key.ts";
import { TidingsError } from "../../src/errors.ts";

Deno.test("parseIdempotencyKey() takes a structured string, and the same text without quotes as the same key", () => {
  assert.equal(parseIdempotencyKey(undefined), undefined);
  assert.equal(
    parseIdempotencyKey('"8e03978e-40d5-43dd-bc93-6894a57f9324"'),
    "8e03978e-40d5-43dd-bc93-6894a57f9324",
  );
  assert.equal(
    parseIdempotencyKey("8e03978e-40d5-43dd-bc93-6894a57f9324"),
    "8e03978e-40d5-43dd-bc93-6894a57f9324",
  );
  assert.equal(parseIdempotencyKey(' "a \\"b\\" \\\\c" '), 'a "b" \\c');
  assert.equal(parseIdempotencyKey("x".repeat(255)), "x".repeat(255));
});

Deno.test("parseIdempotencyKey() refuses everything else and names the header", () => {
  for (
    const value of [
      "",
      " ",
      '""',
      '"open',
      "a b",
      "é",
      '"é"',
      "x".repeat(256),
      `"${"x".repeat(256)}"`,
      '"a\\b"',
    ]
  ) {
    assert.throws(() => parseIdempotencyKey(value), (error) => {
      assert.ok(error instanceof TidingsError);
      assert.equal(error.code, "invalid_request");
      assert.equal(error.details.errors?.[0]?.field, "Idempotency-Key");
      return true;
    }, value);
  }
});
