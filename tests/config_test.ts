import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { readConfig } from "../src/config.ts";
import { StartError } from "../src/errors.ts";
import { TABLES, withTables } from "../src/reference.ts";
import { metaOf } from "../src/setting.ts";
import { SETTINGS } from "../src/settings.ts";

const SECRET = "a secret of this test, long enough to be one";

/** The lines that stop the start. */
function violations(env: Record<string, string>): string[] {
  try {
    readConfig(env);
  } catch (error) {
    assert.ok(error instanceof StartError);
    return error.message.split("\n");
  }
  return [];
}

Deno.test("readConfig() of nothing is dev mode on loopback with the embedded database", () => {
  assert.deepEqual(readConfig({}), {
    http: { port: 8080, host: "127.0.0.1" },
    database: { pool: 10 },
    data: ".data",
    auth: { allowedOrigins: [] },
    retention: 30 * 86_400_000,
    limits: { sessions: 50_000, sessionsPerUser: 100 },
    drain: 10_000,
    stomp: {
      prefixes: { user: ["/user"], topic: ["/topic"], publish: ["/app", "/publish"] },
      path: "/ws",
      shape: "item",
      queues: new Map(),
    },
    presence: { on: true, grace: 5_000 },
    push: { hosts: [] },
    dev: true,
    log: { level: "info", format: "auto" },
  });
});

Deno.test("readConfig() reads every setting", () => {
  const env = {
    PORT: "9000",
    HOST: "::",
    DATABASE_URL: "postgres://me:pw@db:6432/app",
    LISTEN_DATABASE_URL: "postgresql://me:pw@db/app",
    TIDINGS_DATABASE_POOL: "20",
    TIDINGS_DATA: "/var/lib/tidings",
    TIDINGS_JWT_SECRET: SECRET,
    TIDINGS_JWT_ISSUER: "https://id.example.com",
    TIDINGS_JWT_AUDIENCE: "tidings, other",
    TIDINGS_COOKIE: "session",
    TIDINGS_ALLOWED_ORIGINS: "https://app.example.com, https://*.example.com",
    TIDINGS_RETENTION: "12h",
    TIDINGS_MAX_SESSIONS: "10",
    TIDINGS_MAX_SESSIONS_PER_USER: "2",
    TIDINGS_DRAIN: "1m30s",
    TIDINGS_STOMP_USER_PREFIX: "/user,/member",
    TIDINGS_STOMP_TOPIC_PREFIX: "/topic,/sub",
    TIDINGS_STOMP_PUBLISH_PREFIX: "/pub",
    TIDINGS_STOMP_BODY: '{"message":"body"}',
    TIDINGS_STOMP_QUEUES: "match=match.found",
    TIDINGS_STOMP_PATH: "/socket/ws",
    TIDINGS_PRESENCE: "off",
    TIDINGS_PRESENCE_GRACE: "2s",
    TIDINGS_VAPID_PUBLIC_KEY: "B".repeat(87),
    TIDINGS_VAPID_PRIVATE_KEY: "p".repeat(43),
    TIDINGS_VAPID_SUBJECT: "mailto:ops@example.com",
    TIDINGS_FCM_SERVICE_ACCOUNT: '{"project_id":"x"}',
    TIDINGS_FCM_URL: "http://127.0.0.1:9099",
    TIDINGS_PUSH_HOSTS: "push.example.com",
    TIDINGS_DEV: "off",
    TIDINGS_LOG_LEVEL: "debug",
    TIDINGS_LOG_FORMAT: "json",
  };
  const alone = ["TIDINGS_JWT_PUBLIC_KEY", "TIDINGS_JWKS_URL"];
  assert.deepEqual(Object.keys(env), Object.keys(SETTINGS).filter((name) => !alone.includes(name)));
  assert.deepEqual(readConfig(env), {
    http: { port: 9000, host: "::" },
    database: { url: env.DATABASE_URL, listenUrl: env.LISTEN_DATABASE_URL, pool: 20 },
    data: "/var/lib/tidings",
    auth: {
      key: { secret: SECRET },
      issuer: ["https://id.example.com"],
      audience: ["tidings", "other"],
      cookie: "session",
      allowedOrigins: ["https://app.example.com", "https://*.example.com"],
    },
    retention: 12 * 3_600_000,
    limits: { sessions: 10, sessionsPerUser: 2 },
    drain: 90_000,
    stomp: {
      prefixes: { user: ["/user", "/member"], topic: ["/topic", "/sub"], publish: ["/pub"] },
      path: "/socket/ws",
      shape: { message: "body" },
      queues: new Map([["match", ["match.found"]]]),
    },
    presence: { on: false, grace: 2_000 },
    push: {
      vapid: {
        publicKey: "B".repeat(87),
        privateKey: "p".repeat(43),
        subject: "mailto:ops@example.com",
      },
      fcmServiceAccount: '{"project_id":"x"}',
      fcmUrl: "http://127.0.0.1:9099",
      hosts: ["push.example.com"],
    },
    dev: false,
    log: { level: "debug", format: "json" },
  });
});

Deno.test("readConfig() takes a public key or a JWKS URL instead of a secret", () => {
  const { publicKey } = generateKeyPairSync("ed25519");
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  assert.deepEqual(readConfig({ TIDINGS_JWT_PUBLIC_KEY: pem }).auth.key, { publicKey: pem });
  assert.deepEqual(readConfig({ TIDINGS_JWKS_URL: "https://id.example.com/jwks" }).auth.key, {
    jwksUrl: "https://id.example.com/jwks",
  });
});

Deno.test("readConfig() counts an empty variable as absent, and leaves other programs' variables alone", () => {
  assert.deepEqual(
    readConfig({ PORT: "", DATABASE_URL: "", TIDINGS_JWT_SECRET: "", PATH: "/bin", PGUSER: "x" }),
    readConfig({}),
  );
});

Deno.test("dev mode: asked for, or no JWT setting on loopback; without either, no JWT setting is an error", () => {
  const outcome = (env: Record<string, string>) => {
    const lines = violations(env);
    if (lines.length > 0) return lines.map((line) => line.slice(0, line.indexOf(":"))).join();
    const { dev, http } = readConfig(env);
    return `${dev ? "dev" : "not dev"} on ${http.host}`;
  };
  const cases: [Record<string, string>, string][] = [
    [{}, "dev on 127.0.0.1"],
    [{ HOST: "localhost" }, "dev on localhost"],
    [{ HOST: "::1" }, "dev on ::1"],
    [{ HOST: "127.1.2.3" }, "dev on 127.1.2.3"],
    [{ HOST: "0.0.0.0" }, "TIDINGS_JWT_SECRET"],
    [{ HOST: "127.example.com" }, "TIDINGS_JWT_SECRET"],
    [{ HOST: "0.0.0.0", TIDINGS_DEV: "1" }, "dev on 0.0.0.0"],
    [{ TIDINGS_DEV: "1" }, "dev on 127.0.0.1"],
    [{ TIDINGS_DEV: "0" }, "TIDINGS_JWT_SECRET"],
    [{ TIDINGS_JWT_ISSUER: "me" }, "TIDINGS_JWT_SECRET"],
    [{ TIDINGS_JWT_SECRET: SECRET }, "not dev on 0.0.0.0"],
    [{ TIDINGS_JWT_SECRET: SECRET, HOST: "127.0.0.1" }, "not dev on 127.0.0.1"],
    [{ TIDINGS_JWT_SECRET: SECRET, TIDINGS_DEV: "1" }, "dev on 0.0.0.0"],
    [{ TIDINGS_JWKS_URL: "https://id.example.com" }, "not dev on 0.0.0.0"],
  ];
  for (const [env, expected] of cases) assert.equal(outcome(env), expected, JSON.stringify(env));
});

Deno.test("every wrong value gets a line of its own: the name, what was given, what was expected", () => {
  assert.deepEqual(
    violations({
      PORT: "eighty",
      DATABASE_URL: "mysql://root:hunter2@db/app",
      TIDINGS_JWT_SECRET: "hunter2",
      TIDINGS_RETENTION: "30 parsecs",
      TIDINGS_ALLOWED_ORIGINS: "app.example.com",
      TIDINGS_LOG_LEVEL: "loud",
      TIDINGS_FCM_SERVICE_ACCOUNT: "/nowhere/hunter2.json",
      TIDINGS_RETENTOIN: "1d",
      TIDINGS_NONSENSE_ALTOGETHER: "1",
    }),
    [
      "TIDINGS_RETENTOIN: there is no such setting; did you mean TIDINGS_RETENTION?",
      "TIDINGS_NONSENSE_ALTOGETHER: there is no such setting",
      'PORT="eighty": expected a whole number from 0 to 65535',
      "DATABASE_URL: expected a URL that begins with postgres:// or postgresql://",
      "TIDINGS_JWT_SECRET: it has 7 bytes, and 32 or more are needed; make one with: openssl rand -base64 48",
      'TIDINGS_ALLOWED_ORIGINS="app.example.com": expected an origin such as "https://app.example.com", ' +
      '"https://*.example.com", or "*"; separated by commas, at most 1000',
      'TIDINGS_RETENTION="30 parsecs": expected a duration such as "30s", "10m", "2h", "7d" or "1h30m" ' +
      "(units: ms, s, m, h, d, w), from 1m to 3650d",
      "TIDINGS_FCM_SERVICE_ACCOUNT: expected the key file's JSON, or the path of a readable file with it",
      'TIDINGS_LOG_LEVEL="loud": expected debug, info, warning, error',
    ],
  );
});

Deno.test("settings that contradict each other are named", () => {
  assert.deepEqual(
    violations({
      TIDINGS_JWT_SECRET: SECRET,
      TIDINGS_JWKS_URL: "https://id.example.com",
      LISTEN_DATABASE_URL: "postgres://db/app",
      TIDINGS_VAPID_PUBLIC_KEY: "B".repeat(87),
    }),
    [
      "TIDINGS_JWT_SECRET, TIDINGS_JWKS_URL: expected only one of these",
      "LISTEN_DATABASE_URL: expected DATABASE_URL beside it",
      "TIDINGS_VAPID_PRIVATE_KEY: expected it beside the other TIDINGS_VAPID settings",
      "TIDINGS_VAPID_SUBJECT: expected it beside the other TIDINGS_VAPID settings",
    ],
  );
});

Deno.test("whatever the environment holds, readConfig() returns or names the variable, and never shows a secret", () => {
  const names = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[];
  const secretive = names.filter((name) => metaOf(SETTINGS[name]).secret === true);
  const value = fc.string({ minLength: 1, maxLength: 60 }).map((text) => `hunter2${text}`);
  const env = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 6 });
  fc.assert(
    fc.property(env, (env) => {
      for (const line of violations(env)) {
        assert.match(line, /^(PORT|HOST|(LISTEN_)?DATABASE_URL|TIDINGS_[A-Z_]+)[=:,]/);
        for (const name of secretive) assert.ok(!line.startsWith(name) || !line.includes("hunter2"), line);
      }
    }),
    { seed: 20261121, numRuns: 500 },
  );
});

Deno.test("README's tables of settings and errors are current (deno task docs makes them)", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  assert.equal(withTables(readme), readme);
  assert.match(TABLES.settings?.() ?? "", /\| `PORT` \| .* \| `8080` \|/);
  assert.throws(() => withTables("# no place"), RangeError);
});
