/**
 * The keys behind a JWKS URL: fetched when first needed, kept, and fetched again when they are old or a token names a key that
 * is not among them.
 *
 * Invariants: one request at a time; after one, whatever came of it, none for `cooldown`, so that tokens with made-up key ids
 * cannot hammer the issuer; an answer is bounded in time, bytes and keys before it is believed; while the issuer does not
 * answer, the keys it gave last stay in use for `stale`, and no longer.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import type { Clock } from "../clock.ts";
import { TidingsError } from "../errors.ts";

const log = getLogger(["tidings", "auth"]);

/** Fetch, as far as it is used here. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** Bounds; times in milliseconds. */
export const JWKS = {
  timeout: 5_000,
  cooldown: 30_000,
  /** After a failure, shorter: nobody can come in until it works. */
  retry: 2_000,
  maxAge: 10 * 60_000,
  stale: 24 * 60 * 60_000,
  maxBytes: 256 * 1024,
  maxKeys: 100,
} as const;

/**
 * A key finder for `jwtVerify`. It throws `unavailable` while there are no keys and the issuer cannot be asked, and jose's
 * `JWKSNoMatchingKey` when the issuer does not have the key.
 */
export function createJwks(url: string, deps: { clock: Clock; fetch: Fetch }): JWTVerifyGetKey {
  const { clock } = deps;
  let find: ReturnType<typeof createLocalJWKSet> | undefined;
  let fetchedAt = -Infinity;
  let notBefore = -Infinity;
  let failure: unknown;
  let pending: Promise<void> | undefined;

  /** Resolves when the keys are as new as they can be at the moment; what went wrong is in `failure`. */
  function refresh(): Promise<void> {
    if (clock.now() < notBefore) return Promise.resolve();
    return pending ??= load().finally(() => pending = undefined);
  }

  async function load(): Promise<void> {
    try {
      find = createLocalJWKSet(await fetchKeys(url, deps));
      fetchedAt = clock.now();
      notBefore = fetchedAt + JWKS.cooldown;
      failure = undefined;
    } catch (error) {
      notBefore = clock.now() + JWKS.retry;
      failure = error;
      log.warn("Cannot refresh the issuer's keys: {error}", { error });
    }
  }

  return async (header, token) => {
    if (clock.now() - fetchedAt >= JWKS.maxAge) {
      const refreshed = refresh();
      // nobody waits for an issuer that failed already, as long as there are keys to go on with
      if (failure === undefined || clock.now() - fetchedAt >= JWKS.stale) await refreshed;
    }
    if (find === undefined || clock.now() - fetchedAt >= JWKS.stale) throw unreachable(failure);
    try {
      return await find(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await refresh();
    try {
      return await find(header, token);
    } catch (error) {
      // the key may exist: only the issuer could tell
      if (error instanceof errors.JWKSNoMatchingKey && failure !== undefined) throw unreachable(failure);
      throw error;
    }
  };
}

function unreachable(cause: unknown): TidingsError {
  return new TidingsError(
    "unavailable",
    "Cannot check the token: the issuer's keys cannot be fetched at the moment; try again soon",
    { retryAfter: JWKS.retry / 1_000, cause },
  );
}

async function fetchKeys(
  url: string,
  { clock, fetch }: { clock: Clock; fetch: Fetch },
): Promise<JSONWebKeySet> {
  const abort = new AbortController();
  const cancel = clock.after(
    JWKS.timeout,
    () => abort.abort(new Error(`Cannot fetch the keys: no answer within ${JWKS.timeout} ms`)),
  );
  try {
    const response = await fetch(url, {
      headers: { accept: "application/jwk-set+json, application/json" },
      redirect: "error",
      signal: abort.signal,
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`Cannot fetch the keys: the issuer answered with status ${response.status}`);
    }
    const keys: unknown = JSON.parse(await readBounded(response));
    if (!isKeySet(keys)) throw new Error("Cannot use the keys: the answer is not a JSON Web Key Set");
    if (keys.keys.length > JWKS.maxKeys) throw new Error(`Cannot use the keys: more than ${JWKS.maxKeys}`);
    return keys;
  } finally {
    cancel();
  }
}

async function readBounded(response: Response): Promise<string> {
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  // leaving the loop early cancels the body
  for await (const chunk of response.body) {
    bytes += chunk.byteLength;
    if (bytes > JWKS.maxBytes) throw new Error(`Cannot fetch the keys: more than ${JWKS.maxBytes} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function isKeySet(value: unknown): value is JSONWebKeySet {
  return typeof value === "object" && value !== null && "keys" in value && Array.isArray(value.keys);
}
