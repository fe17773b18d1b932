/**
 * Tokens whose claims can be read, as clients do; nobody here checks a signature.
 * @module
 */

/** A token with these claims. */
export function unsigned(claims: object): string {
  const encode = (value: object) =>
    new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet: "base64url", omitPadding: true });
  return `${encode({ alg: "HS256" })}.${encode(claims)}.signature`;
}

/** A token of somebody, good for so many seconds. */
export function tokenOf(sub: string, lifetime = 3600, now = Date.now()): string {
  const iat = Math.floor(now / 1000);
  return unsigned({ sub, iat, exp: iat + lifetime });
}
