/**
 * What whoever starts the gateway in vain gets to read.
 * @module
 */
import assert from "node:assert/strict";
import { StartError } from "../../src/errors.ts";

/** The message with which a start, or a part of one, is refused: a StartError of one line. */
export async function startError(starting: Promise<unknown>): Promise<string> {
  try {
    await starting;
  } catch (error) {
    assert.ok(error instanceof StartError, String(error));
    assert.ok(!error.message.includes("\n"), error.message);
    return error.message;
  }
  throw new assert.AssertionError({ message: "it was not refused" });
}
