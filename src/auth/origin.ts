/**
 * Where a browser's request comes from, and whether that place is allowed. Pure.
 *
 * A page cannot forge `Origin` or `Sec-Fetch-Site`; anything but a browser can, so this protects people with browsers and
 * never replaces credentials. A request is of the same origin when the browser says so (`Sec-Fetch-Site: same-origin`, which
 * holds behind any proxy), or when the host of `Origin` is the request's `Host`; schemes are not compared, because a proxy
 * that ends TLS changes them. Behind a proxy that rewrites `Host`, list the page's origin.
 * @module
 */

/** What this module and `credentials.ts` need to know of a request: a Hono request or a raw upgrade alike. */
export interface RequestHead {
  readonly method: string;
  /** The target as sent: path and query. */
  readonly url: string;
  /** Whether it asks to become a WebSocket. */
  readonly upgrade: boolean;
  /** One header by its lower-case name; several of one name come joined by ", ". */
  header(name: string): string | undefined;
}

/**
 * How a request's origin stands. `absent`: no `Origin` was sent. `same`: the gateway's own. `exact`: listed by its full name.
 * `wildcard`: covered by an entry such as `https://*.example.com`. `any`: covered by `*` only. `foreign`: none of these.
 */
export type Standing = "absent" | "same" | "exact" | "wildcard" | "any" | "foreign";

/** The allowed origins. */
export interface Origins {
  /** Whether any were configured: if so, a foreign origin is refused on every request. */
  readonly configured: boolean;
  /** How a request's `Origin` stands. */
  standing(request: RequestHead): Standing;
  /** How an origin stands whatever the request: never `absent` nor `same`. */
  listed(origin: string): Standing;
  /** Whether a read without `Origin` was made by a page of the gateway's own origin, or by a person who typed the address. */
  ownRead(request: RequestHead): boolean;
}

const ENTRY = /^([a-z][a-z0-9+.-]*):\/\/(\*\.)?([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/;

/** What an entry of the allowed origins must look like, for messages. */
export const ORIGIN_EXPECTED =
  'expected an origin such as "https://app.example.com", "https://*.example.com", or "*"';

/** Whether this can be an entry of the allowed origins. */
export function isOriginEntry(entry: string): boolean {
  return entry === "*" || ENTRY.test(entry.toLowerCase());
}

/**
 * The policy for a list of entries: an exact origin, `https://*.example.com` (one label or more, never the bare domain; the
 * port is part of it), or `*`.
 * @throws RangeError for an entry of another shape
 */
export function createOrigins(entries: readonly string[]): Origins {
  const exact = new Set<string>();
  const wildcards: { prefix: string; suffix: string }[] = [];
  for (const entry of entries) {
    const match = ENTRY.exec(entry.toLowerCase());
    if (entry !== "*" && match === null) {
      throw new RangeError(`Cannot allow the origin ${JSON.stringify(entry)}: ${ORIGIN_EXPECTED}`);
    }
    if (match === null) continue;
    const [, scheme = "", star, host = "", port = ""] = match;
    const origin = withoutDefaultPort(`${scheme}://${host}${port}`);
    if (star === undefined) exact.add(origin);
    else {
      wildcards.push({ prefix: `${scheme}://`, suffix: "." + origin.slice(scheme.length + 3) });
    }
  }
  const any = entries.includes("*");

  function listed(origin: string): Standing {
    const name = origin.toLowerCase();
    if (exact.has(name)) return "exact";
    // "null" is what sandboxed frames and files say: no entry names it
    if (name !== "null") {
      const covered = wildcards.some(({ prefix, suffix }) =>
        name.startsWith(prefix) && name.endsWith(suffix) &&
        /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(name.slice(prefix.length, -suffix.length))
      );
      if (covered) return "wildcard";
    }
    return any ? "any" : "foreign";
  }

  return {
    configured: entries.length > 0,
    listed,
    standing(request) {
      const origin = request.header("origin");
      if (origin === undefined || origin === "") return "absent";
      if (request.header("sec-fetch-site") === "same-origin" || isOwn(origin, request.header("host"))) {
        return "same";
      }
      return listed(origin);
    },
    ownRead(request) {
      // browsers send it to https and localhost; "none" is a person who typed the address
      const site = request.header("sec-fetch-site");
      if (site !== undefined) return site === "same-origin" || site === "none";
      const referer = parse(request.header("referer") ?? "");
      return referer !== undefined && isOwn(referer.origin, request.header("host"));
    },
  };
}

function isOwn(origin: string, host: string | undefined): boolean {
  if (host === undefined || host === "") return false;
  const page = parse(origin);
  if (page === undefined || !/^https?:$/.test(page.protocol)) return false;
  return parse(`${page.protocol}//${host}`)?.host === page.host;
}

function parse(url: string): URL | undefined {
  return URL.parse(url) ?? undefined;
}

/** Browsers leave a scheme's own port out of `Origin`. */
function withoutDefaultPort(origin: string): string {
  return origin.replace(/^(https:\/\/.*):443$/, "$1").replace(/^(http:\/\/.*):80$/, "$1");
}
