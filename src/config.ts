/**
 * What the program runs with, read from the environment; the only module that reads it. What each setting is stands in
 * settings.ts.
 *
 * - An empty variable counts as absent, so that `${NAME:-}` works in compose files.
 * - All violations are reported at once, a line each, with the name, what was given and what was expected; what a secret holds is
 *   never shown.
 * - A variable `TIDINGS_…` that is not a setting is a violation too: it is a typing error more often than not.
 * @module
 */
import { z } from "zod";
import type { KeySource } from "./auth/token.ts";
import { distance } from "./edit_distance.ts";
import { StartError } from "./errors.ts";
import { metaOf } from "./setting.ts";
import { SETTINGS } from "./settings.ts";
import type { BodyShape } from "./transports/stomp_body.ts";
import type { StompPrefixes } from "./transports/stomp_destination.ts";

/** What the program runs with. Times in milliseconds. */
export interface Config {
  readonly http: { readonly port: number; readonly host: string };
  readonly database: {
    /** Absent: the embedded one. */
    readonly url?: string;
    /** For LISTEN and for migrations. Absent: `url` serves. */
    readonly listenUrl?: string;
    readonly pool: number;
  };
  /** The folder of the embedded database and of what is made at the first start. */
  readonly data: string;
  readonly auth: {
    /** Absent in dev mode only: the program then makes a secret and keeps it. */
    readonly key?: KeySource;
    readonly issuer?: readonly string[];
    readonly audience?: readonly string[];
    readonly cookie?: string;
    readonly allowedOrigins: readonly string[];
  };
  readonly retention: number;
  readonly limits: { readonly sessions: number; readonly sessionsPerUser: number };
  readonly drain: number;
  readonly stomp: {
    readonly prefixes: StompPrefixes;
    readonly path: string;
    readonly shape: BodyShape;
    readonly queues: ReadonlyMap<string, readonly string[]>;
  };
  readonly presence: { readonly on: boolean; readonly grace: number };
  readonly push: {
    readonly vapid?: { readonly publicKey: string; readonly privateKey: string; readonly subject: string };
    /** The key file's content. */
    readonly fcmServiceAccount?: string;
    /** Absent: Google's. */
    readonly fcmUrl?: string;
    readonly hosts: readonly string[];
  };
  readonly dev: boolean;
  readonly log: {
    readonly level: "debug" | "info" | "warning" | "error";
    readonly format: "auto" | "json" | "pretty";
  };
}

/**
 * Reads the settings from an environment.
 * @throws StartError with a line for each violation
 */
export function readConfig(env: Readonly<Record<string, string | undefined>> = Deno.env.toObject()): Config {
  const given: Record<string, string> = {};
  const violations: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || value === "") continue;
    if (name in SETTINGS) given[name] = value;
    else if (name.startsWith("TIDINGS_") && !name.startsWith("TIDINGS_TEST_")) violations.push(unknown(name));
  }
  const parsed = schema.safeParse(given);
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0]);
    violations.push(`${name}${shown(name, given[name])}: ${issue.message}`);
  }
  if (parsed.success) violations.push(...contradictions(parsed.data));
  if (violations.length > 0 || !parsed.success) throw new StartError(violations.join("\n"));
  return toConfig(parsed.data);
}

const schema = z.object(SETTINGS);
type Values = z.output<typeof schema>;

function toConfig(values: Values): Config {
  const { HOST, DATABASE_URL, LISTEN_DATABASE_URL, TIDINGS_VAPID_PUBLIC_KEY: vapidKey } = values;
  const key = keyOf(values);
  return {
    http: { port: values.PORT, host: HOST ?? defaultHost(values) },
    database: {
      ...present("url", DATABASE_URL),
      ...present("listenUrl", LISTEN_DATABASE_URL),
      pool: values.TIDINGS_DATABASE_POOL,
    },
    data: values.TIDINGS_DATA,
    auth: {
      ...present("key", key),
      ...present("issuer", values.TIDINGS_JWT_ISSUER),
      ...present("audience", values.TIDINGS_JWT_AUDIENCE),
      ...present("cookie", values.TIDINGS_COOKIE),
      allowedOrigins: values.TIDINGS_ALLOWED_ORIGINS,
    },
    retention: values.TIDINGS_RETENTION,
    limits: {
      sessions: values.TIDINGS_MAX_SESSIONS,
      sessionsPerUser: values.TIDINGS_MAX_SESSIONS_PER_USER,
    },
    drain: values.TIDINGS_DRAIN,
    stomp: {
      prefixes: {
        user: values.TIDINGS_STOMP_USER_PREFIX,
        topic: values.TIDINGS_STOMP_TOPIC_PREFIX,
        publish: values.TIDINGS_STOMP_PUBLISH_PREFIX,
      },
      path: values.TIDINGS_STOMP_PATH,
      shape: values.TIDINGS_STOMP_BODY,
      queues: values.TIDINGS_STOMP_QUEUES,
    },
    presence: { on: values.TIDINGS_PRESENCE, grace: values.TIDINGS_PRESENCE_GRACE },
    push: {
      ...(vapidKey === undefined ? {} : {
        vapid: {
          publicKey: vapidKey,
          privateKey: values.TIDINGS_VAPID_PRIVATE_KEY ?? "",
          subject: values.TIDINGS_VAPID_SUBJECT ?? "",
        },
      }),
      ...present("fcmServiceAccount", values.TIDINGS_FCM_SERVICE_ACCOUNT),
      ...present("fcmUrl", values.TIDINGS_FCM_URL),
      hosts: values.TIDINGS_PUSH_HOSTS,
    },
    dev: isDev(values),
    log: { level: values.TIDINGS_LOG_LEVEL, format: values.TIDINGS_LOG_FORMAT },
  };
}

/** What each value allows and their combination does not. */
function contradictions(values: Values): string[] {
  const lines: string[] = [];
  const keys = KEYS.filter((name) => values[name] !== undefined);
  if (keys.length > 1) lines.push(`${keys.join(", ")}: expected only one of these`);
  if (keys.length === 0 && !isDev(values)) {
    lines.push(
      `TIDINGS_JWT_SECRET: expected this, TIDINGS_JWT_PUBLIC_KEY or TIDINGS_JWKS_URL, because ${
        whyNotDev(values)
      }; for development, set none of the JWT settings and leave HOST on loopback, or set TIDINGS_DEV=1`,
    );
  }
  if (values.LISTEN_DATABASE_URL !== undefined && values.DATABASE_URL === undefined) {
    lines.push("LISTEN_DATABASE_URL: expected DATABASE_URL beside it");
  }
  const vapid = VAPID.filter((name) => values[name] === undefined);
  if (vapid.length > 0 && vapid.length < VAPID.length) {
    for (const name of vapid) lines.push(`${name}: expected it beside the other TIDINGS_VAPID settings`);
  }
  return lines;
}

const KEYS = ["TIDINGS_JWT_SECRET", "TIDINGS_JWT_PUBLIC_KEY", "TIDINGS_JWKS_URL"] as const;
const VAPID = ["TIDINGS_VAPID_PUBLIC_KEY", "TIDINGS_VAPID_PRIVATE_KEY", "TIDINGS_VAPID_SUBJECT"] as const;

function keyOf(values: Values): KeySource | undefined {
  const {
    TIDINGS_JWT_SECRET: secret,
    TIDINGS_JWT_PUBLIC_KEY: publicKey,
    TIDINGS_JWKS_URL: jwksUrl,
  } = values;
  if (secret !== undefined) return { secret };
  if (publicKey !== undefined) return { publicKey };
  return jwksUrl === undefined ? undefined : { jwksUrl };
}

function hasJwtSetting(values: Values): boolean {
  return keyOf(values) !== undefined || values.TIDINGS_JWT_ISSUER !== undefined ||
    values.TIDINGS_JWT_AUDIENCE !== undefined;
}

function defaultHost(values: Values): string {
  return hasJwtSetting(values) ? "0.0.0.0" : "127.0.0.1";
}

function isDev(values: Values): boolean {
  return values.TIDINGS_DEV ?? (!hasJwtSetting(values) && isLoopback(values.HOST ?? defaultHost(values)));
}

function whyNotDev(values: Values): string {
  if (values.TIDINGS_DEV === false) return "TIDINGS_DEV is off";
  if (hasJwtSetting(values)) return "there are other JWT settings";
  return `HOST=${values.HOST} can be reached from elsewhere`;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function present<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { [P in K]: V };
}

function shown(name: string, value: string | undefined): string {
  const secret = metaOf(SETTINGS[name as keyof typeof SETTINGS]).secret === true;
  if (value === undefined || secret) return "";
  return `=${JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value)}`;
}

function unknown(name: string): string {
  const [best] = Object.keys(SETTINGS).map((known) => ({ known, far: distance(name, known) }))
    .sort((a, b) => a.far - b.far);
  const hint = best !== undefined && best.far <= 4 ? `; did you mean ${best.known}?` : "";
  return `${name}: there is no such setting${hint}`;
}
