/**
 * One open link to the gateway, whatever it travels on: each transport opens one, tells what it hears in the protocol's
 * frames and how it ended, and decides nothing.
 * @module
 */
import type { Clock } from "../clock.ts";
import { type ClientFrame, CLOSE, type Problem, type ServerFrame, type Welcome } from "../protocol.ts";
import { problemOf, readProblem } from "./problem.ts";

/** What to ask the gateway for. */
export interface FeedRequest {
  /** The gateway, ending in `/`. */
  base: URL;
  token: string | undefined;
  since: string | undefined;
  topics: readonly string[];
}

/** How a link ended. */
export type Ending =
  | { type: "lost" }
  | { type: "expired" }
  | { type: "refused"; problem: Problem }
  | { type: "again"; within: number };

/** What whoever opened a link hears from it. */
export interface LinkEars {
  /** It works. A transport without welcome tells what it knows. */
  welcomed(welcome: Partial<Welcome> & { cursor: string }): void;
  frame(frame: ServerFrame): void;
  /** A frame went out. */
  sent(frame: ClientFrame): void;
  /** Something arrived, be it only a comment. */
  alive(): unknown;
  /** The last word; nothing is heard after it, nor after `close()`. */
  ended(ending: Ending): void;
}

/** One open connection. */
export interface Link {
  /** Only where the client can talk on it. */
  send?(frame: ClientFrame): void;
  /** Milliseconds without a sign of life that are still normal; undefined: the link watches itself. */
  readonly patience: number | undefined;
  close(): void;
}

/** What links need from outside. */
export interface LinkTools {
  fetch: typeof fetch;
  /** Undefined where there is none, as in Node 20. */
  WebSocket: typeof WebSocket | undefined;
  clock: Clock;
}

/** Opens a link; failures are told as its ending, never thrown. */
export type OpenLink = (request: FeedRequest, ears: LinkEars, tools: LinkTools) => Link;

/** The feed's address. */
export function feedUrl(request: FeedRequest, more: Record<string, string> = {}): URL {
  const url = new URL("v1/feed", request.base);
  if (request.since !== undefined) url.searchParams.set("since", request.since);
  if (request.topics.length > 0) url.searchParams.set("topics", request.topics.join(","));
  for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
  return url;
}

/** Headers and mode of every HTTP request to the gateway. */
export function requestInit(token: string | undefined, headers: Record<string, string> = {}): RequestInit {
  if (token === undefined) return { headers, credentials: "include", cache: "no-store" };
  return { headers: { ...headers, authorization: `Bearer ${token}` }, cache: "no-store" };
}

/** What an HTTP answer that is not a success means. */
export async function endingOf(response: Response): Promise<Ending> {
  const problem = await readProblem(response);
  // an answer that is not the gateway's own is a proxy's, and says nothing about rights
  return problem === null ? { type: "lost" } : endingOfProblem(problem);
}

/** What the gateway's words mean. */
export function endingOfProblem(problem: Problem): Ending {
  if (problem.code === "token_expired") return { type: "expired" };
  if (problem.status === 429 || problem.status === 503) {
    return { type: "again", within: (problem.retryAfter ?? 1) * 1000 };
  }
  return problem.status >= 500 ? { type: "lost" } : { type: "refused", problem };
}

/** What a close code means. */
export function endingOfClose(code: number, reason: string): Ending {
  if (code === CLOSE.tokenExpired) return { type: "expired" };
  if (code === CLOSE.tooMany) return { type: "again", within: 10_000 };
  if (code < 4500 || code > 4999) return { type: "lost" };
  const title = reason || `The gateway closed the connection (${code})`;
  if (code === CLOSE.badCredentials) {
    return { type: "refused", problem: problemOf(401, "invalid_token", title) };
  }
  const [status, name] = code === CLOSE.forbidden
    ? [403, "forbidden"] as const
    : [400, "protocol_error"] as const;
  return { type: "refused", problem: problemOf(status, name, title) };
}

/** Milliseconds of silence that are normal with a heartbeat of so many seconds. */
export function patienceFor(heartbeat: number | undefined): number {
  const seconds = heartbeat !== undefined && heartbeat > 0 && heartbeat < 3600 ? heartbeat : 15;
  return seconds * 1000 + 5_000;
}
