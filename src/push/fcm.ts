/**
 * Firebase Cloud Messaging, HTTP v1: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
 *
 * Invariants: one access token at a time, renewed a minute before it ends, and at once when it is refused; the addresses come
 * from the operator (the service account, or the configuration), never from a client.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { importPKCS8, SignJWT } from "jose";
import type { Clock } from "../clock.ts";
import { cutText, payloadOf } from "./payload.ts";
import {
  type Outcome,
  outcomeOf,
  type Provider,
  type PushMessage,
  retryAfter,
  type Target,
} from "./provider.ts";
import { collapseTopic } from "./webpush.ts";

/** The fields of a service account's key file that are used. */
export const serviceAccountSchema = z.object({
  project_id: z.string().min(1),
  client_email: z.string().min(1),
  private_key: z.string().includes("PRIVATE KEY"),
  private_key_id: z.string().optional(),
  token_uri: z.url().default("https://oauth2.googleapis.com/token"),
});

/** A service account, as Google's console gives it. */
export type ServiceAccount = z.infer<typeof serviceAccountSchema>;

/** What FCM needs. */
export interface FcmOptions {
  account: ServiceAccount;
  clock: Clock;
  /** @default "https://fcm.googleapis.com" */
  url?: string;
  /** @default the global one */
  fetch?: typeof fetch;
}

const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
/** FCM allows 4,096 bytes of notification and data together; the rest is what its own fields take. */
const DATA_LIMIT = 3_000;
const TEXT_LIMIT = 400;
const MAX_ANSWER = 16 * 1024;

const schema = z.strictObject({
  token: z.string().min(1).max(2_048).regex(/^[A-Za-z0-9_:.-]+$/, "expected a registration token"),
  format: z.enum(["notification", "data"]).default("notification").openapi({
    description: "notification: the system shows it; data: the app gets it and decides",
  }),
});

/** Makes the FCM provider. */
export function fcm(options: FcmOptions): Provider {
  const { account, clock } = options;
  const request = options.fetch ?? fetch;
  const base = options.url ?? "https://fcm.googleapis.com";
  const address = new URL(`/v1/projects/${encodeURIComponent(account.project_id)}/messages:send`, base).href;
  let token: { value: string; until: number } | undefined;
  let renewing: Promise<string> | undefined;

  function accessToken(signal: AbortSignal): Promise<string> {
    if (token !== undefined && token.until > clock.now()) return Promise.resolve(token.value);
    renewing ??= renew(signal).finally(() => renewing = undefined);
    return renewing;
  }

  async function renew(signal: AbortSignal): Promise<string> {
    const now = Math.floor(clock.now() / 1000);
    const assertion = await new SignJWT({ scope: SCOPE })
      .setProtectedHeader({
        alg: "RS256",
        typ: "JWT",
        ...(account.private_key_id === undefined ? {} : { kid: account.private_key_id }),
      })
      .setIssuer(account.client_email).setAudience(account.token_uri).setIssuedAt(now).setExpirationTime(
        now + 3600,
      )
      .sign(await importPKCS8(account.private_key, "RS256"));
    const answer = await post(account.token_uri, {
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: new URLSearchParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion })
        .toString(),
      signal,
    });
    const granted = grantSchema.safeParse(parse(answer.body));
    if (answer.status !== 200 || !granted.success) {
      throw new Error(`Cannot get an access token for FCM: ${account.token_uri} answered ${answer.status}`);
    }
    token = {
      value: granted.data.access_token,
      until: clock.now() + Math.max(granted.data.expires_in - 60, 1) * 1000,
    };
    return token.value;
  }

  async function post(
    url: string,
    init: { headers: Record<string, string>; body: string; signal: AbortSignal },
  ) {
    const response = await request(url, { method: "POST", redirect: "error", ...init });
    return { status: response.status, headers: response.headers, body: await bounded(response) };
  }

  async function attempt(target: Target, message: PushMessage, signal: AbortSignal) {
    const bearer = await accessToken(signal);
    const answer = await post(address, {
      headers: { "content-type": "application/json", authorization: `Bearer ${bearer}` },
      body: JSON.stringify({ message: fcmMessage(target, message, clock.now()) }),
      signal,
    });
    if (answer.status === 401 && token?.value === bearer) token = undefined;
    return answer;
  }

  return {
    kind: "fcm",
    silent: true,
    schema,

    register(input) {
      const { token, format } = schema.parse(input);
      return Promise.resolve({ address: token, keys: { format } });
    },

    service: () => address,

    async send(target, message, signal) {
      let answer = await attempt(target, message, signal);
      if (answer.status === 401) answer = await attempt(target, message, signal);
      return fcmOutcome(
        answer.status,
        answer.body,
        retryAfter(answer.headers.get("retry-after"), clock.now()),
      );
    },

    close: () => {},
  };
}

/** The `message` of a request to FCM. */
function fcmMessage(target: Target, message: PushMessage, now: number): Record<string, unknown> {
  const { item, ttl } = message;
  const high = item.priority === "high" && message.kind === "notify";
  const text = {
    ...(item.title === undefined ? {} : { title: clip(item.title) }),
    ...(item.body === undefined ? {} : { body: clip(item.body) }),
  };
  const shown = message.kind === "notify" && target.keys.format !== "data" && Object.keys(text).length > 0;
  const collapse = collapseTopic(message);
  const link = item.link?.startsWith("https://") ? item.link : undefined;
  return {
    token: target.address,
    data: { tidings: new TextDecoder().decode(payloadOf(message, DATA_LIMIT)) },
    ...(shown ? { notification: text } : {}),
    android: {
      priority: high ? "HIGH" : "NORMAL",
      ttl: `${ttl}s`,
      ...(collapse === undefined ? {} : { collapse_key: collapse }),
      ...(shown ? { notification: { tag: collapse ?? item.id } } : {}),
    },
    webpush: {
      headers: {
        TTL: String(ttl),
        Urgency: item.priority ?? "normal",
        ...(collapse === undefined ? {} : { Topic: collapse }),
      },
      ...(shown ? { notification: { ...text, tag: collapse ?? item.id } } : {}),
      ...(shown && link !== undefined ? { fcm_options: { link } } : {}),
    },
    apns: {
      headers: {
        "apns-priority": high ? "10" : "5",
        "apns-expiration": String(Math.floor(now / 1000) + ttl),
        "apns-push-type": shown ? "alert" : "background",
        ...(collapse === undefined ? {} : { "apns-collapse-id": collapse }),
      },
      payload: {
        aps: {
          ...(shown ? { "thread-id": item.topic } : { "content-available": 1 }),
          ...(message.unread === undefined ? {} : { badge: message.unread }),
        },
      },
    },
  };
}

/** What FCM's answer means: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode */
function fcmOutcome(status: number, body: string, after: number | undefined): Outcome {
  if (status === 200) return outcomeOf(status, after);
  const parsed = errorSchema.safeParse(parse(body));
  const error = parsed.success ? parsed.data.error : undefined;
  const code = error?.details.find((detail) => detail.errorCode !== undefined)?.errorCode ?? error?.status ??
    "UNKNOWN";
  const reason = `answered ${status} ${code}`;
  switch (code) {
    case "UNREGISTERED":
      return { kind: "gone", reason };
    case "INVALID_ARGUMENT": {
      // the token's fault, unless it names another field
      const fields =
        error?.details.flatMap((detail) => detail.fieldViolations ?? []).map(({ field }) => field) ?? [];
      const innocent = fields.length > 0 && !fields.includes("message.token");
      return {
        kind: innocent ? "failed" : "gone",
        reason: innocent ? `${reason}: ${fields.join(", ")}` : reason,
      };
    }
    case "SENDER_ID_MISMATCH":
    case "THIRD_PARTY_AUTH_ERROR":
      return { kind: "failed", reason };
    case "QUOTA_EXCEEDED":
      return { kind: "retry", reason, after: after ?? 60_000 };
    case "UNAVAILABLE":
      return { kind: "retry", reason, after: after ?? 10_000, all: true };
    case "INTERNAL":
      return { kind: "retry", reason, after: after ?? 10_000 };
    case "UNAUTHENTICATED":
      return { kind: "retry", reason, after: 60_000, all: true };
    default: {
      const outcome = outcomeOf(status, after);
      // only UNREGISTERED says that a token is gone: another 404 is a wrong project
      return outcome.kind === "gone" ? { kind: "failed", reason } : { ...outcome, reason };
    }
  }
}

const grantSchema = z.object({ access_token: z.string().min(1), expires_in: z.number().positive() });

const errorSchema = z.object({
  error: z.object({
    status: z.string().optional(),
    details: z.array(z.object({
      errorCode: z.string().optional(),
      fieldViolations: z.array(z.object({ field: z.string().default("") })).optional(),
    })).default([]),
  }),
});

function clip(text: string): string {
  const head = cutText(text, TEXT_LIMIT);
  return head.length < text.length ? `${head}…` : text;
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined; // an answer that is not JSON says nothing
  }
}

async function bounded(response: Response): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const part of response.body ?? []) {
    text += decoder.decode(part, { stream: true });
    if (text.length > MAX_ANSWER) break;
  }
  return text.slice(0, MAX_ANSWER);
}
