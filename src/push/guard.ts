/**
 * The only way out to an address that a client chose. Owns which hosts may be called, and that what is called is what was
 * checked.
 *
 * Invariants: https on port 443 only; a host must be on the list; every address its name resolves to must be public, or none
 * is used; the connection goes to an address that was checked, so a name that resolves to something else a moment later
 * (DNS rebinding) gains nothing; redirects are not followed; the size of an answer is bounded here, its time by the caller's
 * signal. An entry of the list with a scheme (`http://127.0.0.1:8090`) is the operator's own word about one origin and is believed as it stands.
 * @module
 */
import { lookup } from "node:dns/promises";
import http from "node:http";
import https from "node:https";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { TidingsError } from "../errors.ts";

/** The push services of the browsers, as host patterns: Chrome and Edge on Android, Firefox, Edge, Safari. */
export const KNOWN_PUSH_SERVICES: readonly string[] = [
  "fcm.googleapis.com",
  "jmt17.google.com",
  "*.push.services.mozilla.com",
  "*.notify.windows.com",
  "*.push.apple.com",
];

/** Finds all addresses of a host name. */
export type Resolve = (host: string) => Promise<string[]>;

/** What a guard lets through. */
export interface GuardOptions {
  /** Host names; `*.example.com` is any host below it, `*` any public host, `scheme://host:port` one trusted origin. */
  hosts: readonly string[];
  /** @default the system's resolver */
  resolve?: Resolve;
  /** Certificate authorities to trust besides the system's, PEM. */
  ca?: string;
}

/** One request through the guard. */
export interface GuardedRequest {
  url: string;
  headers: Record<string, string>;
  body: Uint8Array;
  signal: AbortSignal;
}

/** What came back; at most 16 KiB of the body. */
export interface GuardedAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Checks addresses and makes POST requests to them. */
export interface Guard {
  /** Throws `invalid_request` naming the field, unless this may be called at the moment. */
  check(url: string, field: string): Promise<void>;
  /** Checks again, then posts. Throws `GuardRefusal` when not allowed, any other error when the network failed. */
  post(request: GuardedRequest): Promise<GuardedAnswer>;
  /** Closes idle connections. */
  close(): void;
}

/** Why the guard does not let an address through. */
export class GuardRefusal extends Error {
  override readonly name = "GuardRefusal";
}

const MAX_URL = 2_048;
const MAX_ANSWER = 16 * 1024;

/** Makes a guard. */
export function guard(options: GuardOptions): Guard {
  const resolve = options.resolve ?? systemResolve;
  const secure = new https.Agent({ keepAlive: true, maxSockets: 64, maxFreeSockets: 16, timeout: 60_000 });
  const plain = new http.Agent({ keepAlive: true, maxSockets: 64, maxFreeSockets: 16, timeout: 60_000 });

  async function pin(address: string): Promise<{ url: URL; address: string }> {
    const url = allowed(address, options.hosts);
    const trusted = options.hosts.includes(url.origin);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const addresses = isIP(host) ? [host] : await resolve(host);
    const first = addresses[0];
    if (first === undefined) throw new GuardRefusal(`${host} has no address`);
    if (!trusted && !addresses.every(isPublicAddress)) {
      throw new GuardRefusal(`${host} resolves to an address that is not public`);
    }
    return { url, address: first };
  }

  return {
    async check(url, field) {
      try {
        await pin(url);
      } catch (error) {
        const message = error instanceof GuardRefusal ? error.message : "its host could not be resolved";
        throw new TidingsError("invalid_request", `Cannot use this ${field}: ${message}`, {
          errors: [{ field, message }],
          cause: error,
        });
      }
    },

    async post({ url: target, headers, body, signal }) {
      const { url, address } = await pin(target);
      const isSecure = url.protocol === "https:";
      signal.throwIfAborted();
      return await new Promise<GuardedAnswer>((done, fail) => {
        const request = (isSecure ? https : http).request({
          host: address,
          port: url.port === "" ? (isSecure ? 443 : 80) : Number(url.port),
          path: `${url.pathname}${url.search}`,
          method: "POST",
          agent: isSecure ? secure : plain,
          headers: { ...headers, "host": url.host, "content-length": String(body.length) },
          ...(isSecure && isIP(url.hostname) === 0 ? { servername: url.hostname } : {}),
          ...(options.ca === undefined ? {} : { ca: options.ca }),
        });
        const abort = () => request.destroy(signal.reason);
        signal.addEventListener("abort", abort, { once: true });
        request.on("error", fail);
        request.on("close", () => signal.removeEventListener("abort", abort));
        request.on("response", (response) => {
          const parts: Uint8Array[] = [];
          let size = 0;
          response.on("error", fail);
          response.on("data", (part: Uint8Array) => {
            size += part.length;
            parts.push(part);
            if (size > MAX_ANSWER) response.destroy(new Error("The answer is longer than 16 KiB"));
          });
          response.on("end", () =>
            done({
              status: response.statusCode ?? 0,
              headers: flat(response.headers),
              body: new TextDecoder().decode(concat(parts)),
            }));
        });
        request.end(body);
      });
    },

    close() {
      secure.destroy();
      plain.destroy();
    },
  };
}

/** The parsed URL, when its form and host are allowed; throws `GuardRefusal` otherwise. Resolves nothing. */
export function allowed(address: string, hosts: readonly string[]): URL {
  if (address.length > MAX_URL) throw new GuardRefusal(`expected at most ${MAX_URL} characters`);
  if (!URL.canParse(address)) throw new GuardRefusal("expected an absolute https URL");
  const url = new URL(address);
  if (url.username !== "" || url.password !== "") {
    throw new GuardRefusal("expected no user or password in it");
  }
  if (hosts.includes(url.origin)) return url;
  if (url.protocol !== "https:") throw new GuardRefusal("expected https");
  if (url.port !== "") throw new GuardRefusal("expected port 443");
  if (!hosts.some((pattern) => hostMatches(pattern, url.hostname))) {
    throw new GuardRefusal(`${url.hostname} is not on the list of push services (TIDINGS_PUSH_HOSTS)`);
  }
  return url;
}

/** Whether this IP address is reachable for everybody: not private, loopback, link-local, shared, reserved or a wrapping of such. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  if (parsed.range() !== "unicast") return false;
  // site-local addresses are deprecated (RFC 3879) but still routed inside of networks
  return parsed.kind() === "ipv4" || !parsed.match(SITE_LOCAL);
}

const SITE_LOCAL: [ReturnType<typeof ipaddr.parse>, number] = ipaddr.parseCIDR("fec0::/10");

function hostMatches(pattern: string, host: string): boolean {
  if (pattern === "*") return true;
  if (pattern.startsWith("*.")) return host.endsWith(pattern.slice(1)) && host.length >= pattern.length;
  return host === pattern;
}

async function systemResolve(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function flat(headers: http.IncomingHttpHeaders): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) result[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return result;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    result.set(part, offset);
    offset += part.length;
  }
  return result;
}
