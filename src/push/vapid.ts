/**
 * VAPID keys (RFC 8292): made once, kept for ever, because every subscription is bound to the key it was made with.
 * @module
 */
import webpush from "web-push";

/** A fresh pair: `publicKey` goes to browsers, `privateKey` into the configuration. Both base64url. */
export function makeVapidKeys(): { publicKey: string; privateKey: string } {
  return webpush.generateVAPIDKeys();
}

/** What the command `vapid` prints: lines for the environment. */
export function vapidEnvironment(subject: string): string {
  const { publicKey, privateKey } = makeVapidKeys();
  return [
    `TIDINGS_VAPID_SUBJECT=${subject}`,
    `TIDINGS_VAPID_PUBLIC_KEY=${publicKey}`,
    `TIDINGS_VAPID_PRIVATE_KEY=${privateKey}`,
  ].join("\n");
}
