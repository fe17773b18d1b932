/**
 * The key that tokens are checked with, and the algorithms it may be used with. The algorithms follow from the kind of key and
 * never from the token, so neither `none` nor a public key used as a secret (RFC 8725, section 2.1) can pass.
 * @module
 */
import { createPublicKey, type JsonWebKeyInput, type KeyObject } from "node:crypto";

/** The one algorithm of shared secrets. */
export const SECRET_ALGORITHM = "HS256";

/** The algorithms that keys behind a JWKS URL may have. */
export const PUBLIC_ALGORITHMS: readonly string[] = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];

/** The fewest bytes of a secret (RFC 7518, section 3.2). */
export const MIN_SECRET_BYTES = 32;

/** A public key and what it verifies. */
export interface PublicKey {
  key: KeyObject;
  algorithms: string[];
}

/**
 * The bytes of a shared secret: its UTF-8 text as it is, not decoded from base64 or hex.
 * @throws RangeError when it is shorter than 32 bytes
 */
export function parseSecret(secret: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(secret);
  if (bytes.length < MIN_SECRET_BYTES) {
    throw new RangeError(
      `Cannot use the JWT secret: it has ${bytes.length} bytes, and ${MIN_SECRET_BYTES} or more are needed; ` +
        "make one with: openssl rand -base64 48",
    );
  }
  return bytes;
}

/**
 * A public key from PEM (SPKI, PKCS #1) or from one JWK as JSON: RSA from 2048 bits, P-256, P-384, P-521 or Ed25519. The `alg` of
 * a JWK narrows the algorithms to that one.
 * @throws RangeError for anything else, a private key included
 */
export function parsePublicKey(text: string): PublicKey {
  // environment files often hold PEM on one line
  const source = text.trim().replaceAll("\\n", "\n");
  const jwk = source.startsWith("{") ? parseJwk(source) : undefined;
  if (jwk === undefined && /PRIVATE KEY-----/.test(source)) throw refuse("it is a private key");
  let key: KeyObject;
  try {
    key = createPublicKey(jwk === undefined ? source : { key: jwk as JsonWebKeyInput["key"], format: "jwk" });
  } catch (cause) {
    throw refuse("it is neither PEM nor a JWK", cause);
  }
  const algorithms = algorithmsOf(key);
  const only = jwk?.alg;
  if (only === undefined) return { key, algorithms };
  if (typeof only !== "string" || !algorithms.includes(only)) {
    throw refuse(`its "alg" is not one of ${algorithms.join(", ")}`);
  }
  return { key, algorithms: [only] };
}

function algorithmsOf(key: KeyObject): string[] {
  const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === "rsa") {
    if (modulusLength < 2048) throw refuse(`it has ${modulusLength} bits, and 2048 or more are needed`);
    return PUBLIC_ALGORITHMS.filter((name) => /^[RP]S/.test(name));
  }
  if (key.asymmetricKeyType === "ed25519") return ["EdDSA", "Ed25519"];
  if (key.asymmetricKeyType === "ec") {
    if (namedCurve === "prime256v1") return ["ES256"];
    if (namedCurve === "secp384r1") return ["ES384"];
    if (namedCurve === "secp521r1") return ["ES512"];
  }
  throw refuse("its kind cannot sign tokens");
}

function parseJwk(source: string): Record<string, unknown> {
  let jwk: Record<string, unknown>;
  try {
    jwk = JSON.parse(source);
  } catch (cause) {
    throw refuse("it is not JSON", cause);
  }
  if ("keys" in jwk) throw refuse("it is a set of keys; serve it at a URL and give the URL instead");
  if (jwk.kty === "oct") throw refuse("it is a secret");
  if ("d" in jwk) throw refuse("it is a private key");
  return jwk;
}

function refuse(state: string, cause?: unknown): RangeError {
  return new RangeError(
    `Cannot use the JWT public key: ${state}; expected a public key as PEM or JWK ` +
      "(RSA from 2048 bits, P-256, P-384, P-521, Ed25519)",
    { cause },
  );
}
