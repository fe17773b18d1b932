/**
 * Tokens: JWTs that say who somebody is. Verified here and nowhere else.
 *
 * Invariants: nothing of a token is believed before its signature was checked with a pinned algorithm; `iss` and `aud` are checked
 * when configured; every right comes from the claim `tidings: {subscribe, publish, admin}`, and a token without it may read its
 * own topic and `all`. A token without `exp` is accepted and never ends by itself, unless `requireExpiry` is set: RFC 7519 leaves it
 * to the issuer, and programs that publish are often given one. `exp` is exact, because sessions end at it;
 * `nbf` has a leeway of 5 s, because a token is often used in the very moment it was made.
 * @module
 */
import {
  errors,
  type JWTPayload,
  jwtVerify,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  SignJWT,
} from "jose";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { type FieldError, TidingsError } from "../errors.ts";
import { type Identity, patternList, userName } from "./identity.ts";
import { createJwks, type Fetch } from "./jwks.ts";
import { parsePublicKey, parseSecret, PUBLIC_ALGORITHMS, SECRET_ALGORITHM } from "./key.ts";

/** The longest token, in characters. */
export const MAX_TOKEN = 8 * 1024;

/** Seconds that `nbf` may lie ahead of this machine's clock. */
export const LEEWAY = 5;

/** Where the key comes from: exactly one of these. */
export type KeySource = { secret: string } | { publicKey: string } | { jwksUrl: string };

/** How tokens are checked. */
export interface VerifierOptions {
  key: KeySource;
  /** `iss` must be this, or one of these. */
  issuer?: string | string[];
  /** `aud` must contain this, or one of these. */
  audience?: string | string[];
  /** Whether a token without `exp` is refused. @default false */
  requireExpiry?: boolean;
}

/** Checks tokens. */
export interface Verifier {
  /**
   * @throws TidingsError `token_expired`; `invalid_token`, with the claim in `details.errors` where one is at fault;
   * `unavailable` when the issuer's keys cannot be fetched
   */
  verify(token: string): Promise<Identity>;
}

/** The claims a token is made of; times are `mint`'s business. */
export interface Claims {
  sub: string;
  iss?: string;
  aud?: string | string[];
  tidings?: { subscribe?: string[]; publish?: string[]; admin?: boolean };
}

// the last instant that a Date can hold, in seconds
const numericDate = z.number("expected seconds since 1970").min(0, "expected seconds since 1970")
  .max(8.64e12, "expected seconds since 1970, not milliseconds or more").optional();

const claimsSchema = z.object({
  sub: userName,
  exp: numericDate,
  iat: numericDate,
  tidings: z.strictObject({
    subscribe: patternList.default([]),
    publish: patternList.default([]),
    admin: z.boolean("expected true or false").default(false),
  }, { error: ({ code }) => code === "unrecognized_keys" ? undefined : "expected an object" })
    .default({ subscribe: [], publish: [], admin: false }),
});

/**
 * A verifier for one key source.
 * @throws RangeError when the key cannot be used: too short a secret, a private key, an unsupported kind, a URL that is not http(s)
 */
export function createVerifier(options: VerifierOptions, deps: { clock: Clock; fetch: Fetch }): Verifier {
  const { clock } = deps;
  const { find, algorithms } = keyFinder(options.key, deps);
  const checks: JWTVerifyOptions = { algorithms, clockTolerance: LEEWAY };
  if (options.issuer !== undefined) checks.issuer = options.issuer;
  if (options.audience !== undefined) checks.audience = options.audience;
  if (options.requireExpiry) checks.requiredClaims = ["exp"];

  return {
    async verify(token) {
      if (token.length > MAX_TOKEN) {
        throw new TidingsError(
          "invalid_token",
          `Cannot read the token: it is longer than ${MAX_TOKEN} characters`,
        );
      }
      let payload: JWTPayload;
      try {
        payload = await check(token, find, { ...checks, currentDate: new Date(clock.now()) });
      } catch (error) {
        throw explain(error, options);
      }
      return toIdentity(payload, clock.now());
    },
  };
}

/**
 * Makes a token signed with a shared secret.
 * @param ttl seconds; undefined for a token that does not expire
 * @throws RangeError when the secret is too short; TidingsError `invalid_token` for claims that no gateway would accept
 */
export async function mint(
  secret: string,
  claims: Claims,
  ttl: number | undefined,
  clock: Clock,
): Promise<string> {
  const key = parseSecret(secret);
  const iat = Math.floor(clock.now() / 1_000);
  const payload: JWTPayload = { ...claims, iat };
  if (ttl !== undefined) payload.exp = iat + Math.floor(ttl);
  parseClaims(payload);
  return await new SignJWT(payload).setProtectedHeader({ alg: SECRET_ALGORITHM, typ: "JWT" }).sign(key);
}

function keyFinder(source: KeySource, deps: { clock: Clock; fetch: Fetch }) {
  if ("secret" in source) {
    const key = parseSecret(source.secret);
    return { find: () => key, algorithms: [SECRET_ALGORITHM] };
  }
  if ("publicKey" in source) {
    const { key, algorithms } = parsePublicKey(source.publicKey);
    return { find: () => key, algorithms };
  }
  const protocol = URL.parse(source.jwksUrl)?.protocol;
  if (protocol !== "https:" && protocol !== "http:") {
    throw new RangeError("Cannot use the JWKS URL: expected one that begins with https:// or http://");
  }
  return { find: createJwks(source.jwksUrl, deps), algorithms: [...PUBLIC_ALGORITHMS] };
}

async function check(token: string, find: JWTVerifyGetKey, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, find, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    // a token without `kid`, and a set with several keys of its kind: any of them may be it
    for await (const key of error) {
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

function toIdentity(payload: JWTPayload, now: number): Identity {
  const { sub, exp, iat, tidings } = parseClaims(payload);
  const identity: Identity = {
    user: sub,
    ...(exp === undefined ? {} : { expiresAt: Math.floor(exp * 1_000) }),
    ...(iat === undefined ? {} : { issuedAt: Math.floor(iat * 1_000) }),
    ...tidings,
  };
  if (identity.expiresAt !== undefined && identity.expiresAt <= now) throw expired();
  return identity;
}

function parseClaims(payload: JWTPayload): z.output<typeof claimsSchema> {
  const parsed = claimsSchema.safeParse(payload);
  if (parsed.success) return parsed.data;
  throw invalidClaims(
    parsed.error.issues.map(({ path, message }) => ({ field: path.join("."), message })),
  );
}

function invalidClaims(violations: FieldError[]): TidingsError {
  const [first] = violations;
  const named = first === undefined ? "" : `: "${first.field}": ${first.message}`;
  return new TidingsError("invalid_token", `Cannot accept the token${named}`, {
    errors: violations.slice(0, 20),
  });
}

function expired(cause?: unknown): TidingsError {
  return new TidingsError("token_expired", "Cannot accept the token: it has expired; get a new one", {
    cause,
  });
}

function explain(error: unknown, options: VerifierOptions): TidingsError {
  if (error instanceof errors.JWTExpired) return expired(error);
  if (error instanceof errors.JWTClaimValidationFailed) {
    return invalidClaims([{ field: error.claim, message: expectation(error, options) }]);
  }
  if (error instanceof TidingsError) return error;
  return new TidingsError("invalid_token", `Cannot accept the token: ${stateOf(error)}`, { cause: error });
}

function expectation({ claim, reason }: errors.JWTClaimValidationFailed, options: VerifierOptions): string {
  if (claim === "nbf" && reason === "check_failed") return "the token is not valid yet";
  const expected = claim === "iss" ? options.issuer : claim === "aud" ? options.audience : undefined;
  const values = expected === undefined ? undefined : [expected].flat().join('" or "');
  if (values !== undefined) return `expected "${values}"`;
  return reason === "missing" ? "the claim is missing" : "expected seconds since 1970";
}

function stateOf(error: unknown): string {
  if (error instanceof errors.JOSEAlgNotAllowed) return "its algorithm is not one this gateway uses";
  if (error instanceof errors.JWSSignatureVerificationFailed) return "its signature does not match";
  if (error instanceof errors.JWKSNoMatchingKey) return "the issuer has no such key";
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) {
    return "it is not a signed JWT";
  }
  return "it cannot be verified";
}
