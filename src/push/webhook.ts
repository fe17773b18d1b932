/**
 * Webhooks for backends: the notification as JSON, signed as Standard Webhooks 1.0 says (https://www.standardwebhooks.com).
 * Which hosts may be called is the operator's to say; the guard is the same as for browsers' endpoints.
 * @module
 */
import { createHmac } from "node:crypto";
import { z } from "@hono/zod-openapi";
import type { Clock } from "../clock.ts";
import { type Guard, GuardRefusal } from "./guard.ts";
import { outcomeOf, type Provider, retryAfter } from "./provider.ts";

/** What webhooks need. */
export interface WebhookOptions {
  guard: Guard;
  clock: Clock;
}

const schema = z.strictObject({
  url: z.string().min(1).max(2_048),
  secret: z.string().regex(
    /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/,
    "expected whsec_ and 24 to 64 bytes in base64",
  ).openapi({
    description: "What the receiver verifies the signature with",
  }),
});

/** Makes the webhook provider. */
export function webhook({ guard, clock }: WebhookOptions): Provider {
  return {
    kind: "webhook",
    silent: true,
    schema,

    async register(input) {
      const { url, secret } = schema.parse(input);
      await guard.check(url, "url");
      return { address: url, keys: { secret } };
    },

    service: (target) => new URL(target.address).origin,

    async send(target, message, signal) {
      const type = message.kind === "close" ? "notification.read" : "notification";
      const data = message.kind === "close"
        ? { ids: message.read }
        : { item: message.item, ids: message.ids };
      const body = JSON.stringify({ type, timestamp: new Date(clock.now()).toISOString(), data });
      const timestamp = String(Math.floor(clock.now() / 1000));
      try {
        const answer = await guard.post({
          url: target.address,
          headers: {
            "content-type": "application/json",
            "webhook-id": message.messageId,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign(target.keys.secret ?? "", message.messageId, timestamp, body),
          },
          body: new TextEncoder().encode(body),
          signal,
        });
        const after = retryAfter(answer.headers["retry-after"], clock.now());
        const outcome = outcomeOf(answer.status, after);
        if (answer.status === 410 || outcome.kind === "sent" || outcome.kind === "retry") return outcome;
        // a receiver that is being repaired answers anything: only 410 says that it is gone
        return { kind: "retry", reason: outcome.reason, ...(after === undefined ? {} : { after }) };
      } catch (error) {
        if (error instanceof GuardRefusal) return { kind: "failed", reason: `refused: ${error.message}` };
        throw error;
      }
    },

    close: () => guard.close(),
  };
}

/** The `webhook-signature` header: version 1, HMAC-SHA256 over id, timestamp and body. */
export function sign(secret: string, id: string, timestamp: string, body: string): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
}
