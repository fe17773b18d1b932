import assert from "node:assert/strict";
import { z } from "@hono/zod-openapi";
import { invalid, MAX_VIOLATIONS, violations } from "../../src/api/violations.ts";

const inner = z.strictObject({
  name: z.string("expected a name"),
  count: z.number("expected a number").optional(),
});
const schema = z.union([inner, z.array(inner)], "expected one or many");

function of(value: unknown) {
  const result = schema.safeParse(value);
  assert.equal(result.success, false);
  return violations(result.error!);
}

Deno.test("violations() names fields by path, in the alternative that was meant", () => {
  assert.deepEqual(of({ name: 1 }), [{ field: "name", message: "expected a name" }]);
  assert.deepEqual(of([{ name: "a" }, { name: 1, count: "x" }]), [
    { field: "1.name", message: "expected a name" },
    { field: "1.count", message: "expected a number" },
  ]);
  assert.deepEqual(of(7), [{ field: "", message: "expected one or many" }]);
});

Deno.test("violations() names unknown fields by their own name", () => {
  assert.deepEqual(of({ name: "a", nmae: "b" }), [{ field: "nmae", message: "is not a known field" }]);
  assert.deepEqual(of([{ name: "a", nmae: "b" }]), [{ field: "0.nmae", message: "is not a known field" }]);
});

Deno.test("violations() bounds how many it reports, and how long their names are", () => {
  assert.equal(of(Array.from({ length: 100 }, () => ({}))).length, MAX_VIOLATIONS);
  const [first] = of({ name: "a", ["x".repeat(5_000)]: 1 });
  assert.ok(first!.field.length < 100);
});

Deno.test("invalid() says the first violation, and how many more there are", () => {
  const error = invalid("send", [{ field: "to", message: "expected a topic" }, {
    field: "body",
    message: "expected a text",
  }]);
  assert.equal(error.code, "invalid_request");
  assert.equal(error.message, "Cannot send: to: expected a topic (and 1 more)");
  assert.equal(error.details.errors?.length, 2);
  assert.equal(
    invalid("send", [{ field: "", message: "expected an object" }]).message,
    "Cannot send: expected an object",
  );
});
