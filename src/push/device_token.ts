/**
 * What a device shows where nobody is logged in: a service worker that is woken by a push. Made when the device is
 * registered, kept by the device, known here by its hash only.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";

/** A fresh secret and its hash. */
export function makeSecret(): { secret: string; hash: Uint8Array } {
  const secret = randomBytes(32).toString("base64url");
  return { secret, hash: hashOf(secret) };
}

/** The token of a device: `<number>.<secret>`. */
export function deviceToken(number: string, secret: string): string {
  return `${number}.${secret}`;
}

/** The parts of a token: its number and its secret's hash; undefined when it is none. */
export function readDeviceToken(token: string): { number: string; hash: Uint8Array } | undefined {
  const [, number, secret] = /^(\d{1,18})\.([A-Za-z0-9_-]{43})$/.exec(token) ?? [];
  return number === undefined || secret === undefined ? undefined : { number, hash: hashOf(secret) };
}

function hashOf(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}
