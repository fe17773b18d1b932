/**
 * The calls beside the feed: one request, one answer, with a fresh token when the old one expired meanwhile.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Credentials } from "./credentials.ts";
import { ANSWER } from "./deadline.ts";
import { readProblem, refusal, TidingsClientError } from "./problem.ts";
import { requestInit } from "./link.ts";

/** What a call needs. */
export interface HttpOptions {
  base: URL;
  credentials: Credentials;
  fetch: typeof fetch;
  clock: Clock;
}

/** One call. `act` is for the message: "Cannot <act>: …". Resolves to the answer's JSON, or undefined when it has none. */
export async function call(
  options: HttpOptions,
  act: string,
  method: string,
  path: string,
  query: Record<string, string | number | undefined> = {},
  body?: unknown,
): Promise<unknown> {
  const url = new URL(path.replace(/^\//, ""), options.base);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  const answer = await ask(options, act, url, method, body, false);
  return answer === "expired" ? await ask(options, act, url, method, body, true) : answer;
}

async function ask(
  { credentials, fetch, clock }: HttpOptions,
  act: string,
  url: URL,
  method: string,
  body: unknown,
  fresh: boolean,
): Promise<unknown | "expired"> {
  const token = await credentials.token(fresh);
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  const late = new AbortController();
  const cancel = clock.after(ANSWER, () => late.abort());
  try {
    const response = await fetch(url, {
      ...requestInit(token, headers),
      method,
      signal: late.signal,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (response.ok) return response.status === 204 ? undefined : await response.json();
    const problem = await readProblem(response);
    if (problem === null) {
      throw new TidingsClientError("unexpected_answer", `Cannot ${act}: the answer was ${response.status}`);
    }
    if (problem.code === "token_expired" && credentials.renewable && !fresh) return "expired";
    throw refusal(act, problem);
  } catch (cause) {
    if (cause instanceof TidingsClientError) throw cause;
    throw new TidingsClientError("connection_lost", `Cannot ${act}: the gateway cannot be reached`, {
      cause,
    });
  } finally {
    cancel();
  }
}
