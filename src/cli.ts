/**
 * The commands beside the server: `deno task token`, `deno task vapid`, `deno task docs`, and `health` for containers.
 * @module
 */
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { mint } from "./auth/token.ts";
import { systemClock } from "./clock.ts";
import { readConfig } from "./config.ts";
import { devSecret } from "./dev_secret.ts";
import { DURATION_EXPECTED, parseDuration } from "./duration.ts";
import { StartError, TidingsError } from "./errors.ts";
import { vapidEnvironment } from "./push/vapid.ts";
import { withTables } from "./reference.ts";

const USAGE = `deno task token --sub 42 [--subscribe 'room:*']… [--publish 'room:*']… [--admin] [--ttl 1d]
  prints a token for the user 42, signed with the gateway's secret; --ttl none: it does not expire
deno task vapid --subject mailto:you@example.com
  prints a new pair of keys for Web Push, as lines for the environment
deno task docs
  makes the tables of settings and errors in README.md anew
deno run -A src/cli.ts health
  whether the gateway that has these settings answers on this machine: exit code 0 or 1`;

/** Milliseconds that the gateway may take to say that it is there. */
const HEALTH_TIMEOUT = 3_000;

const COMMANDS: Readonly<Record<string, (args: string[]) => Promise<string>>> = {
  token,
  vapid,
  docs,
  health,
};

if (import.meta.main) {
  const [command = "", ...args] = Deno.args;
  try {
    const run = COMMANDS[command];
    if (run === undefined) throw new StartError(USAGE);
    console.log(await run(args));
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    console.error(error.message);
    Deno.exit(1);
  }
}

async function token(args: string[]): Promise<string> {
  const { sub, subscribe, publish, admin, ttl } = read(args, {
    sub: { type: "string" },
    subscribe: { type: "string", multiple: true, default: [] },
    publish: { type: "string", multiple: true, default: [] },
    admin: { type: "boolean", default: false },
    ttl: { type: "string", default: "1d" },
  });
  if (sub === undefined) throw new StartError(`Cannot make a token: --sub is missing\n${USAGE}`);
  const seconds = ttl === "none" ? undefined : (parseDuration(ttl) ?? NaN) / 1_000;
  if (seconds !== undefined && !(seconds >= 1)) {
    throw new StartError(
      `Cannot make a token: --ttl ${ttl}: ${DURATION_EXPECTED}, of a second or more, or none`,
    );
  }
  const { auth, data } = readConfig();
  const key = auth.key ?? { secret: await devSecret(data) };
  if (!("secret" in key)) {
    throw new StartError(
      "Cannot make a token: the gateway verifies tokens with a public key, so only their issuer can make them",
    );
  }
  const claims = {
    sub,
    ...(auth.issuer?.[0] === undefined ? {} : { iss: auth.issuer[0] }),
    ...(auth.audience?.[0] === undefined ? {} : { aud: auth.audience[0] }),
    tidings: { subscribe, publish, admin },
  };
  try {
    return await mint(key.secret, claims, seconds, systemClock);
  } catch (error) {
    if (!(error instanceof TidingsError)) throw error;
    throw new StartError(`Cannot make a token: ${error.message}`, { cause: error });
  }
}

function vapid(args: string[]): Promise<string> {
  const { subject = "" } = read(args, { subject: { type: "string" } });
  if (!/^(mailto:.+@|https:\/\/)/.test(subject)) {
    throw new StartError(`Cannot make keys: --subject: expected mailto:… or https://…\n${USAGE}`);
  }
  return Promise.resolve(vapidEnvironment(subject));
}

async function docs(): Promise<string> {
  const readme = new URL("../README.md", import.meta.url);
  await writeFile(readme, withTables(await readFile(readme, "utf8")));
  return "README.md is current";
}

async function health(args: string[]): Promise<string> {
  read(args, {});
  const { host, port } = readConfig().http;
  const here = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  const url = `http://${here.includes(":") ? `[${here}]` : here}:${port}/healthz`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(HEALTH_TIMEOUT) });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    return `${url} answers`;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(`Cannot reach the gateway at ${url}: ${reason}`, { cause: error });
  }
}

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>["options"]>;

function read<const O extends Options>(args: string[], options: O) {
  try {
    return parseArgs({ args, options, strict: true }).values;
  } catch (error) {
    throw new StartError(`${error instanceof Error ? error.message : error}\n${USAGE}`);
  }
}
