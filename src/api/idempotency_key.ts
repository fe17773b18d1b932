/**
 * The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header). Pure.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { TidingsError } from "../errors.ts";

/** The header, for the routes that take it. */
export const idempotencyHeader = z.object({
  "Idempotency-Key": z.string().optional().openapi({
    description:
      "1 to 255 characters, a new one for each new request. A repeat with the same key within 24 hours sends nothing and gets " +
      "the first one's answer; the same key with another request is refused",
    example: '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
  }),
});

/** What was wrong with a key. */
const EXPECTED = "expected 1 to 255 visible ASCII characters, in double quotes or without";

/**
 * The key in a header's value: a string of RFC 8941, section 3.3.3, as the draft wants it, or the bare text that many clients send.
 * @throws {TidingsError} `invalid_request`
 */
export function parseIdempotencyKey(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  const quoted = /^"((?:[ !#-[\]-~]|\\["\\])*)"$/.exec(text)?.[1];
  const key = quoted === undefined ? text : quoted.replaceAll(/\\(["\\])/g, "$1");
  const valid = key.length >= 1 && key.length <= 255 && (quoted !== undefined || /^[!#-~]+$/.test(key));
  if (valid) return key;
  throw new TidingsError("invalid_request", `Cannot send: Idempotency-Key: ${EXPECTED}`, {
    errors: [{ field: "Idempotency-Key", message: EXPECTED }],
  });
}
