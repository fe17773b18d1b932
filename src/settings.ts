/**
 * Every setting: its name in the environment, what it means, its default, and what its text must look like. The table of
 * settings in README is generated from it (reference.ts); config.ts reads it out of the environment.
 * @module
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { MIN_SECRET_BYTES, parsePublicKey, parseSecret } from "./auth/key.ts";
import { isOriginEntry, ORIGIN_EXPECTED } from "./auth/origin.ts";
import { accepted, duration, flag, integer, list, matching, oneOf, parsed, setting, url } from "./setting.ts";
import { parseQueues, parseShape, QUEUES_EXPECTED, SHAPE_EXPECTED } from "./transports/stomp_body.ts";
import { STOMP_PREFIXES } from "./transports/stomp_destination.ts";

const PATH = /^(\/[A-Za-z0-9._~-]+)+$/;

/** The settings, in the order of the documentation. Each takes the variable's text. */
export const SETTINGS = {
  PORT: setting(integer(0, 65_535).default(8080), {
    help: "Port to listen on; `0` takes a free one and prints it",
  }),
  HOST: setting(matching(/^[A-Za-z0-9_.:-]{1,255}$/, "expected a host name or an address").optional(), {
    help: "Address to listen on",
    otherwise: "`127.0.0.1` without any JWT setting, else `0.0.0.0`",
  }),
  DATABASE_URL: setting(url("postgres:", "postgresql:").optional(), {
    help: "PostgreSQL 14 or newer: `postgres://user:password@host:port/database`",
    otherwise: "an embedded PostgreSQL 18, data under `TIDINGS_DATA`",
    secret: true,
  }),
  LISTEN_DATABASE_URL: setting(url("postgres:", "postgresql:").optional(), {
    help: "A direct connection to the same database, where `DATABASE_URL` is a pooler in transaction mode",
    otherwise: "`DATABASE_URL`",
    secret: true,
  }),
  TIDINGS_DATABASE_POOL: setting(integer(2, 1_000).default(10), {
    help: "Connections to the database for statements; one more listens and reads the log",
  }),
  TIDINGS_DATA: setting(z.string().default(".data"), {
    help: "Folder of the embedded database and of what is made at the first start in dev mode",
  }),
  TIDINGS_JWT_SECRET: setting(accepted(sharedSecret).optional(), {
    help: `Verifies tokens signed with HS256: at least ${MIN_SECRET_BYTES} bytes, used as they are written`,
    otherwise: "in dev mode, one made at the first start and kept",
    secret: true,
  }),
  TIDINGS_JWT_PUBLIC_KEY: setting(accepted(publicKey).optional(), {
    help:
      "Verifies tokens signed with RS, PS, ES or EdDSA: a public key as PEM (`\\n` for line ends will do) or JWK",
  }),
  TIDINGS_JWKS_URL: setting(url("https:", "http:").optional(), {
    help: "Verifies tokens with the keys that an identity provider publishes there",
  }),
  TIDINGS_JWT_ISSUER: setting(list(10).optional(), {
    help: "Tokens must carry this `iss`, or one of these, separated by commas",
  }),
  TIDINGS_JWT_AUDIENCE: setting(list(10).optional(), {
    help: "Tokens must carry this `aud`, or one of these, separated by commas",
  }),
  TIDINGS_COOKIE: setting(
    matching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/, "expected the name of a cookie").optional(),
    { help: "Name of a cookie that holds a token", otherwise: "cookies are not looked at" },
  ),
  TIDINGS_ALLOWED_ORIGINS: setting(list(1_000, isOriginEntry, ORIGIN_EXPECTED).default([]), {
    help:
      "Origins of pages that may connect, separated by commas: `https://app.example.com`, `https://*.example.com`, `*`",
    otherwise: "the gateway's own",
  }),
  TIDINGS_RETENTION: setting(duration("1m", "3650d").default(30 * 86_400_000), {
    help: "How long notifications are kept, such as `12h`, `30d`",
    otherwise: "`30d`",
  }),
  TIDINGS_MAX_SESSIONS: setting(integer(1, 1_000_000).default(50_000), {
    help: "Connected clients of one gateway; more are turned away with `too_many_sessions`",
  }),
  TIDINGS_MAX_SESSIONS_PER_USER: setting(integer(1, 1_000_000).default(100), {
    help: "Connected clients of one person on one gateway",
  }),
  TIDINGS_DRAIN: setting(duration("0s", "1h").default(10_000), {
    help: "On SIGTERM, clients are told to come back at a random moment within this time",
    otherwise: "`10s`",
  }),
  TIDINGS_STOMP_USER_PREFIX: setting(
    list(10, isPath, 'expected prefixes such as "/user"').default([...STOMP_PREFIXES.user]),
    {
      help: "STOMP: what a person's own destinations begin with; several separated by commas",
      otherwise: "`/user`",
    },
  ),
  TIDINGS_STOMP_TOPIC_PREFIX: setting(
    list(10, isPath, 'expected prefixes such as "/topic"').default([...STOMP_PREFIXES.topic]),
    {
      help: "STOMP: what topics' destinations begin with; several separated by commas",
      otherwise: "`/topic`",
    },
  ),
  TIDINGS_STOMP_PUBLISH_PREFIX: setting(
    list(10, isPath, 'expected prefixes such as "/app"').default([...STOMP_PREFIXES.publish]),
    {
      help: "STOMP: further destinations that SEND publishes to; several separated by commas",
      otherwise: "`/app,/publish`",
    },
  ),
  TIDINGS_STOMP_BODY: setting(parsed(parseShape, SHAPE_EXPECTED).default("item"), {
    help:
      "STOMP: what a MESSAGE's body is: `item`, `data` (what the sender attached), or a JSON object of names and paths: " +
      '`{"memberId":"user","notificationId":"number:id","message":"body","redirectPath":"link"}`',
    otherwise: "`item`",
  }),
  TIDINGS_STOMP_QUEUES: setting(parsed(parseQueues, QUEUES_EXPECTED).default(new Map()), {
    help: "STOMP: queues that show some types only, and alone: `match=match.found,match.made;errors=error`",
    otherwise: "every queue of a person shows every type",
  }),
  TIDINGS_STOMP_PATH: setting(matching(PATH, 'expected a path such as "/ws"').default("/ws"), {
    help: "STOMP: where it is served besides `/v1/feed`",
  }),
  TIDINGS_PRESENCE: setting(flag().default(true), {
    help: "Whether the database is told who is connected; `off` for large gateways that need no presence",
    otherwise: "on",
  }),
  TIDINGS_PRESENCE_GRACE: setting(duration("1s", "5m").default(5_000), {
    help:
      "How long a person may be away without having left; a gateway that died is noticed within five times as long",
    otherwise: "`5s`",
  }),
  TIDINGS_VAPID_PUBLIC_KEY: setting(
    matching(/^[A-Za-z0-9_-]{87}$/, "expected 87 characters of base64url").optional(),
    {
      help: "Web Push: the public key, from `deno task vapid`",
      otherwise: "in dev mode, made at the first start and kept",
    },
  ),
  TIDINGS_VAPID_PRIVATE_KEY: setting(
    matching(/^[A-Za-z0-9_-]{43}$/, "expected 43 characters of base64url").optional(),
    {
      help: "Web Push: the private key",
      secret: true,
    },
  ),
  TIDINGS_VAPID_SUBJECT: setting(url("mailto:", "https:").optional(), {
    help: "Web Push: how a push service reaches you: `mailto:you@example.com` or an `https:` address",
  }),
  TIDINGS_FCM_SERVICE_ACCOUNT: setting(accepted(serviceAccount).optional(), {
    help: "FCM: the service account's key as JSON, or the path of its file",
    otherwise: "no FCM",
    secret: true,
  }),
  TIDINGS_FCM_URL: setting(url("https:", "http:").optional(), {
    help: "FCM: where it is, when another server stands in for it",
    otherwise: "`https://fcm.googleapis.com`",
  }),
  TIDINGS_PUSH_HOSTS: setting(list(100).default([]), {
    help:
      "Web Push and webhooks: further hosts that may be sent to, separated by commas; `*.example.com` covers " +
      "subdomains, `http://127.0.0.1:9000` exactly that origin",
    otherwise: "the known push services",
  }),
  TIDINGS_DEV: setting(flag().optional(), {
    help: "Dev mode: a demo page, a development token, and a secret made at the first start",
    otherwise: "on without any JWT setting on a loopback `HOST`",
  }),
  TIDINGS_LOG_LEVEL: setting(oneOf("debug", "info", "warning", "error").default("info"), {
    help: "The least that is logged: `debug`, `info`, `warning` or `error`",
  }),
  TIDINGS_LOG_FORMAT: setting(oneOf("auto", "json", "pretty").default("auto"), {
    help: "`json`, `pretty`, or `auto`: pretty on a terminal",
  }),
} as const;

function sharedSecret(text: string): string {
  return reworded(() => void parseSecret(text), text);
}

function publicKey(text: string): string {
  return reworded(() => void parsePublicKey(text), text);
}

/** What the key module says about a key, without its opening: the setting's name stands there already. */
function reworded(check: () => void, text: string): string {
  try {
    check();
    return text;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(error.message.replace(/^Cannot use the JWT [a-z ]+: /, ""));
  }
}

function serviceAccount(text: string): string {
  let json = text;
  try {
    if (!text.trimStart().startsWith("{")) json = readFileSync(text, "utf8");
    JSON.parse(json);
    return json;
  } catch {
    throw new RangeError("expected the key file's JSON, or the path of a readable file with it");
  }
}

function isPath(text: string): boolean {
  return PATH.test(text);
}
