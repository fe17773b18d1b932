/**
 * Credentials of a request: the first of `Authorization: Bearer`, `?ticket=` and the configured cookie that is there decides
 * alone. `hello` and STOMP's `CONNECT` carry a token of their own and go to the verifier directly; an upgrade with `?hello=1` in its URL
 * waits for such a token, whatever its cookies say.
 *
 * Invariants: a token in a URL is always refused, because URLs end up in logs and histories. When allowed origins are configured, a
 * request from a foreign origin is refused whatever its credentials. A ticket serves to read (GET, upgrades), so that none can be
 * exchanged for another. A cookie comes along with requests that other sites cause, so it counts only when the request is known to
 * come from the gateway's own origin or one listed by its full name (a wildcard does not do):
 * - by `Origin`, which browsers send with upgrades, with everything that changes state, and with reads across origins;
 * - by `Sec-Fetch-Site` on a GET or HEAD without `Origin`, which is how reads of the same origin come over https;
 * - by `Referer` where the browser sends neither (plain http); with none of the three it is refused.
 * @module
 */
import { parse as parseCookies } from "hono/utils/cookie";
import type { IncomingMessage } from "node:http";
import { TidingsError } from "../errors.ts";
import type { Identity } from "./identity.ts";
import type { Origins, RequestHead } from "./origin.ts";
import type { Tickets } from "./ticket.ts";
import type { Verifier } from "./token.ts";

/** What a request's credentials came to. `none`: there were none; on an upgrade, `hello` has to follow. */
export type Credentials =
  | { kind: "identity"; identity: Identity; via: "bearer" | "ticket" | "cookie" }
  | { kind: "none" };

/** What credentials are read with. */
export interface CredentialsDeps {
  verifier: Verifier;
  tickets: Tickets;
  origins: Origins;
  /** The name of the cookie that holds a token. Absent: cookies are not looked at. */
  cookie?: string;
}

/**
 * Reads and checks a request's credentials.
 * @throws TidingsError `invalid_request` for a token in the URL; `origin_not_allowed`; `forbidden` for a ticket on a write; and what
 * the verifier and the tickets throw
 */
export async function readCredentials(request: RequestHead, deps: CredentialsDeps): Promise<Credentials> {
  const { verifier, tickets, origins } = deps;
  const query = queryOf(request.url);
  refuseTokenInUrl(query);
  const standing = origins.standing(request);
  if (origins.configured && standing === "foreign") throw foreign(request);

  const bearer = bearerOf(request.header("authorization"));
  if (bearer !== undefined) {
    return { kind: "identity", identity: await verifier.verify(bearer), via: "bearer" };
  }

  const ticket = query.get("ticket");
  if (ticket !== null) {
    if (!isRead(request)) {
      throw new TidingsError(
        "forbidden",
        "Cannot use a ticket here: it serves to read; send Authorization: Bearer <token>",
      );
    }
    return { kind: "identity", identity: await tickets.redeem(ticket), via: "ticket" };
  }

  // a page cannot leave its cookies out of an upgrade: one that brings a token of its own says so
  const hello = request.upgrade && query.has("hello");
  const cookie = deps.cookie === undefined || hello
    ? undefined
    : cookieOf(request.header("cookie"), deps.cookie);
  if (cookie !== undefined) {
    const trusted = standing === "same" || standing === "exact" ||
      (standing === "absent" && isRead(request) && !request.upgrade && origins.ownRead(request));
    if (!trusted) throw untrustedCookie(request);
    return { kind: "identity", identity: await verifier.verify(cookie), via: "cookie" };
  }
  return { kind: "none" };
}

/** The head of a node:http request. */
export function headOf(request: IncomingMessage, upgrade = false): RequestHead {
  return {
    method: request.method ?? "GET",
    url: request.url ?? "/",
    upgrade,
    header(name) {
      const value = request.headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
  };
}

/** The error for a request without credentials that needs some. */
export function tokenRequired(): TidingsError {
  return new TidingsError(
    "token_required",
    "Cannot tell who this is: send Authorization: Bearer <token>, or a ticket where headers cannot be set",
  );
}

const URL_TOKENS = ["token", "access_token", "id_token", "jwt", "bearer", "authorization"];

function refuseTokenInUrl(query: URLSearchParams): void {
  const name = URL_TOKENS.find((candidate) => query.has(candidate)) ??
    (/^eyJ[\w-]+\.[\w-]*\.[\w-]*$/.test(query.get("ticket") ?? "") ? "ticket" : undefined);
  if (name === undefined) return;
  throw new TidingsError(
    "invalid_request",
    "Cannot take a token from the URL: URLs are logged; send Authorization: Bearer <token>, or make a one-time ticket " +
      "with POST /v1/tickets and send ?ticket=",
    { errors: [{ field: name, message: "expected no token in the URL" }] },
  );
}

/** Other schemes are for proxies on the way and no concern of the gateway. */
function bearerOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const value = header.trim();
  const space = value.indexOf(" ");
  if (space === -1) {
    throw new TidingsError(
      "invalid_token",
      'Cannot read the Authorization header: expected "Bearer <token>"',
    );
  }
  return value.slice(0, space).toLowerCase() === "bearer" ? value.slice(space).trim() : undefined;
}

function cookieOf(header: string | undefined, name: string): string | undefined {
  const value = header === undefined ? undefined : parseCookies(header, name)[name];
  // an empty cookie is how applications sign out
  return value === "" ? undefined : value;
}

function queryOf(url: string): URLSearchParams {
  const start = url.indexOf("?");
  return new URLSearchParams(start === -1 ? "" : url.slice(start));
}

function isRead(request: RequestHead): boolean {
  return request.method === "GET" || request.method === "HEAD";
}

function foreign(request: RequestHead): TidingsError {
  return new TidingsError(
    "origin_not_allowed",
    `Cannot accept the origin ${
      shown(request)
    }: add it to TIDINGS_ALLOWED_ORIGINS, or let the proxy pass the Host header on`,
  );
}

function untrustedCookie(request: RequestHead): TidingsError {
  return new TidingsError(
    "origin_not_allowed",
    request.header("origin") === undefined
      ? "Cannot use the cookie: the request does not say which page made it; send Origin, or Authorization: Bearer <token>"
      : `Cannot use the cookie from the origin ${
        shown(request)
      }: list it by its full name in TIDINGS_ALLOWED_ORIGINS`,
  );
}

function shown(request: RequestHead): string {
  return JSON.stringify((request.header("origin") ?? "").slice(0, 200));
}
