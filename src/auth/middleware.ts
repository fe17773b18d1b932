/**
 * Identity for HTTP routes: who is asking, and which pages of other origins may read the answer.
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { TidingsError } from "../errors.ts";
import { type CredentialsDeps, readCredentials, tokenRequired } from "./credentials.ts";
import type { Identity } from "./identity.ts";
import type { Origins, RequestHead } from "./origin.ts";

/** What `authenticate` leaves in the context. */
export interface AuthEnv {
  Variables: { identity: Identity };
}

/** Sets `identity`, or throws what `readCredentials` throws, `token_required` where there are no credentials. */
export function authenticate(deps: CredentialsDeps): MiddlewareHandler<AuthEnv> {
  return async (c, next) => {
    try {
      const credentials = await readCredentials(headOfContext(c), deps);
      if (credentials.kind === "none") throw tokenRequired();
      c.set("identity", credentials.identity);
    } catch (error) {
      // RFC 9110, section 11.6.1: every 401 names the scheme
      if (error instanceof TidingsError && error.status === 401) c.header("WWW-Authenticate", "Bearer");
      throw error;
    }
    await next();
  };
}

/** Throws `forbidden` unless the identity is an administrator's. Comes after `authenticate`. */
export function requireAdmin(): MiddlewareHandler<AuthEnv> {
  return async (c, next) => {
    if (!c.get("identity").admin) {
      throw new TidingsError("forbidden", 'Cannot do this: the token\'s claim "tidings.admin" is not true');
    }
    await next();
  };
}

/** What answers say in headers beyond those that every page may read: cursors, request ids, when to come back. */
const EXPOSED = [
  "Allow",
  "ETag",
  "Idempotent-Replayed",
  "Location",
  "Retry-After",
  "WWW-Authenticate",
  "X-Request-Id",
];

/**
 * CORS for the allowed origins: cookies for those listed by their full name only. Mount it before `authenticate`, because
 * preflights carry no credentials. Without allowed origins it answers nothing, and browsers keep to the gateway's own origin.
 */
export function allowOrigins(origins: Origins): MiddlewareHandler {
  const shared = {
    allowMethods: ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"],
    exposeHeaders: EXPOSED,
    maxAge: 3_600,
  };
  // a function keeps `Vary: Origin`, because other origins get another answer
  const withCookies = cors({ ...shared, origin: (origin) => origin, credentials: true });
  const without = cors({ ...shared, origin: (origin) => origin });
  return async (c, next) => {
    const origin = c.req.header("origin");
    const standing = origin === undefined ? "absent" : origins.listed(origin);
    if (standing === "exact") return await withCookies(c, next);
    if (standing === "wildcard" || standing === "any") return await without(c, next);
    await next();
    if (origins.configured) c.header("Vary", "Origin", { append: true });
  };
}

function headOfContext(c: Context): RequestHead {
  return { method: c.req.method, url: c.req.url, upgrade: false, header: (name) => c.req.header(name) };
}
