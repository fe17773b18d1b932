/**
 * Web Push: RFC 8030 (protocol), 8188 and 8291 (encryption), 8292 (VAPID), by the `web-push` library; only the sending is
 * ours, because an endpoint is an address that a client chose (see `guard.ts`).
 * @module
 */
import { createHash } from "node:crypto";
import { z } from "@hono/zod-openapi";
import webpush from "web-push";
import type { Clock } from "../clock.ts";
import { TidingsError } from "../errors.ts";
import { type Guard, GuardRefusal } from "./guard.ts";
import { payloadOf } from "./payload.ts";
import { outcomeOf, type Provider, type PushMessage, retryAfter } from "./provider.ts";

/** The identity that push services know this server by. */
export interface VapidKeys {
  /** Uncompressed P-256 point, base64url. */
  publicKey: string;
  /** 32 bytes, base64url. */
  privateKey: string;
  /** `mailto:` or `https:`, where the push service can complain. */
  subject: string;
}

/** What Web Push needs. */
export interface WebPushOptions {
  vapid: VapidKeys;
  guard: Guard;
  clock: Clock;
}

/** Plaintext bytes: 4,096 of RFC 8030 without RFC 8188's header (86), tag (16) and delimiter (1). */
export const WEB_PUSH_LIMIT = 3_993;

const HOUR_MS = 3_600_000;
const MAX_AUDIENCES = 256;

const base64url = (bytes: number, name: string) =>
  z.string().max(200).regex(/^[A-Za-z0-9_-]+={0,2}$/, `expected ${name} in base64url`)
    .refine(
      (text) => Buffer.from(text, "base64url").length === bytes,
      `expected ${name}: ${bytes} bytes in base64url`,
    );

const schema = z.strictObject({
  endpoint: z.string().min(1).max(2_048).openapi({ description: "Where the browser's push service listens" }),
  expirationTime: z.number().nullish(),
  keys: z.strictObject({
    p256dh: base64url(65, "an uncompressed P-256 point"),
    auth: base64url(16, "the authentication secret"),
  }),
}).openapi({ description: "A PushSubscription, as its toJSON() gives it" });

/** Makes the Web Push provider. */
export function webPush({ vapid, guard, clock }: WebPushOptions): Provider {
  const authorizations = new Map<string, { header: string; until: number }>();

  function authorization(audience: string): string {
    const known = authorizations.get(audience);
    if (known !== undefined && known.until > clock.now()) return known.header;
    const expires = Math.floor((clock.now() + 12 * HOUR_MS) / 1000);
    const { Authorization: header } = webpush.getVapidHeaders(
      audience,
      vapid.subject,
      vapid.publicKey,
      vapid.privateKey,
      "aes128gcm",
      expires,
    );
    if (authorizations.size >= MAX_AUDIENCES) authorizations.clear();
    authorizations.set(audience, { header, until: clock.now() + 11 * HOUR_MS });
    return header;
  }

  return {
    kind: "webpush",
    silent: false,
    schema,
    facts: { applicationServerKey: vapid.publicKey },

    async register(input) {
      const { endpoint, keys } = schema.parse(input);
      await guard.check(endpoint, "endpoint");
      try {
        // proves that the point is on the curve, which encryption would only find out when something is to be sent
        webpush.encrypt(keys.p256dh, keys.auth, "?", "aes128gcm");
      } catch (cause) {
        throw new TidingsError("invalid_request", "Cannot use this subscription: its keys do not encrypt", {
          errors: [{ field: "keys.p256dh", message: "expected a point on the curve P-256" }],
          cause,
        });
      }
      return { address: endpoint, keys };
    },

    service: (target) => new URL(target.address).origin,

    async send(target, message, signal) {
      const { p256dh = "", auth = "" } = target.keys;
      const topic = collapseTopic(message);
      const request = webpush.generateRequestDetails(
        { endpoint: target.address, keys: { p256dh, auth } },
        Buffer.from(payloadOf(message, WEB_PUSH_LIMIT)),
        {
          TTL: message.ttl,
          urgency: message.item.priority ?? "normal",
          contentEncoding: "aes128gcm",
          headers: { Authorization: authorization(new URL(target.address).origin) },
          ...(topic === undefined ? {} : { topic }),
        },
      );
      try {
        const answer = await guard.post({
          url: target.address,
          headers: Object.fromEntries(
            Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
          ),
          body: request.body ?? new Uint8Array(),
          signal,
        });
        const after = retryAfter(answer.headers["retry-after"], clock.now());
        return outcomeOf(answer.status, after, answer.status < 300 ? "" : answer.body);
      } catch (error) {
        // its name now leads somewhere else than when it was registered
        if (error instanceof GuardRefusal) return { kind: "failed", reason: `refused: ${error.message}` };
        throw error;
      }
    },

    close: () => guard.close(),
  };
}

/** The Topic header (RFC 8030, section 5.4: at most 32 characters of base64url) for a collapse key within its topic. */
export function collapseTopic({ item }: PushMessage): string | undefined {
  if (item.collapseKey === undefined) return undefined;
  return createHash("sha256").update(`${item.topic}\n${item.collapseKey}`).digest("base64url").slice(0, 32);
}
