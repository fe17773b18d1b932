/**
 * The settings of a client, and which of them cannot work.
 * @module
 */
import { type Chance, type Clock, systemClock } from "../clock.ts";
import { Credentials, type GetToken } from "./credentials.ts";
import type { HttpOptions } from "./http.ts";
import { type Transport, TRANSPORTS } from "./machine.ts";
import type { KeyValueStore } from "./memory.ts";
import { TidingsClientError } from "./problem.ts";
import type { World } from "./world.ts";

/** How to reach the gateway. */
export interface ReachOptions {
  /** The gateway. @default the page's own origin */
  url?: string | URL;
  /** A token, for sessions that may end when it does. */
  token?: string;
  /** Gives a token, and is asked again before it expires. Neither this nor `token`: the browser's cookie counts. */
  getToken?: GetToken;
  /** @default the platform's */
  fetch?: typeof fetch;
  /** For tests. */
  clock?: Clock;
}

/** Settings of a client. */
export interface ConnectOptions extends ReachOptions {
  /**
   * Who this is, where the token cannot be read and with cookies: the name under which the cursor is kept and tabs share one
   * connection. Without a name each tab is for itself.
   */
  user?: string;
  /** Topics beyond the person's own. */
  topics?: string[];
  /** Where to begin when nothing is stored: a cursor, `now`, `earliest` or a duration such as `10m`. @default "now" */
  since?: string;
  /** Where the cursor is kept; null: nowhere, each page begins at `since`. @default localStorage, or the page's memory */
  storage?: KeyValueStore | null;
  /** Whether the tabs of this browser share one connection. @default true */
  tabs?: boolean;
  /** What may be used, best first. @default WebSocket, SSE, long-poll */
  transports?: readonly Transport[];
  /** @default the platform's; Node 20 has none: give `ws`, or go without */
  WebSocket?: typeof WebSocket;
  /** For tests. */
  chance?: Chance;
  /** For tests. */
  world?: World;
}

/** Which transports to use, best first. Throws a TidingsClientError when they are none of the client's. */
export function transportsOf({ transports = TRANSPORTS }: ConnectOptions): readonly Transport[] {
  if (transports.length > 0 && transports.every((each) => TRANSPORTS.includes(each))) return transports;
  throw new TidingsClientError(
    "invalid_argument",
    `Cannot connect: transports are some of ${TRANSPORTS.join(", ")}`,
  );
}

/** The way to the gateway. Throws a TidingsClientError when `url` is none. */
export function httpOf(
  { url, token, getToken, fetch: given, clock = systemClock }: ReachOptions,
): HttpOptions {
  const ask = given ?? fetch;
  return {
    base: baseOf(url),
    credentials: new Credentials(clock, token, getToken),
    clock,
    // called as a plain function, as browsers demand
    fetch: (input, init) => ask(input, init),
  };
}

/** The gateway's address, ending in a slash. */
function baseOf(url: string | URL | undefined): URL {
  const page = (globalThis.location as Location | undefined)?.href;
  let base: URL;
  try {
    base = new URL(url ?? "/", page);
  } catch (cause) {
    const message = `Cannot connect: "${
      url ?? ""
    }" is not an address; give url, such as "https://tidings.example"`;
    throw new TidingsClientError("invalid_argument", message, { cause });
  }
  if (base.protocol !== "http:" && base.protocol !== "https:") {
    throw new TidingsClientError(
      "invalid_argument",
      `Cannot connect: url is ${base.protocol}, expected http: or https:`,
    );
  }
  base.search = base.hash = "";
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}
