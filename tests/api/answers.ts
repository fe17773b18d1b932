/**
 * What the gateway answers to whoever sends: ids, or a problem.
 * @module
 */
import assert from "node:assert/strict";
import type { Problem } from "../../src/protocol.ts";

/** The ids that a request which sent was answered with, and nothing besides. */
export async function ids(response: Response): Promise<string[]> {
  const text = await response.text();
  assert.equal(response.status, 201, text);
  const answer = JSON.parse(text);
  assert.deepEqual(Object.keys(answer), ["ids"]);
  return answer.ids;
}

/** The problem that a request was refused with: this one, whole and of its type. */
export async function problem(response: Response, code: string): Promise<Problem> {
  const text = await response.text();
  assert.equal(response.headers.get("content-type"), "application/problem+json", text);
  const answer: Problem = JSON.parse(text);
  assert.equal(answer.code, code, text);
  assert.equal(answer.status, response.status);
  assert.equal(answer.type, `urn:tidings:error:${code}`);
  return answer;
}
