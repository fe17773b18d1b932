/**
 * The client's one error, and how answers of the gateway become it.
 * @module
 */
import type { Problem } from "../protocol.ts";

/** Codes that only the client has; all others are the gateway's. */
export type ClientCode = "connection_lost" | "overflow" | "closed" | "unexpected_answer" | "invalid_argument";

/** What went wrong. `code` is the gateway's stable code or a {@linkcode ClientCode}. */
export class TidingsClientError extends Error {
  override readonly name = "TidingsClientError";
  readonly code: string;
  /** The gateway's own words, when it was the gateway that said no. */
  readonly problem: Problem | undefined;

  constructor(code: string, message: string, options: { problem?: Problem; cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
    this.problem = options.problem;
  }
}

/** The error for a problem: "Cannot publish: …". */
export function refusal(act: string, problem: Problem): TidingsClientError {
  return new TidingsClientError(problem.code, `Cannot ${act}: ${problem.detail ?? problem.title}`, {
    problem,
  });
}

/** Reads an answer's problem details, at most 64 KiB of them; null when whoever answered was not the gateway. */
export async function readProblem(response: Response): Promise<Problem | null> {
  const size = Number(response.headers.get("content-length") ?? 0);
  if (!/\bjson\b/.test(response.headers.get("content-type") ?? "") || size > 65_536) {
    await response.body?.cancel();
    return null;
  }
  const body: unknown = await response.json().catch(() => null);
  return isProblem(body) ? body : null;
}

/** Whether a value is a problem the gateway wrote. */
export function isProblem(value: unknown): value is Problem {
  const { code, status } = (value ?? {}) as Partial<Problem>;
  return typeof code === "string" && typeof status === "number";
}

/** A problem that the gateway did not get to write. */
export function problemOf(status: number, code: string, title: string): Problem {
  return { type: `urn:tidings:error:${code}`, title, status, code };
}
