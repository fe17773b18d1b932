/**
 * The program around a gateway: settings, logs, the database, migrations, and then the gateway; in reverse when it is told to stop.
 *
 * - What keeps it from starting is a line on stderr for the person who started it, and exit code 1.
 * - SIGTERM or SIGINT stops it, within the drain time and a little more; a second one ends it at once.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type KeySource, mint } from "./auth/token.ts";
import { type Clock, systemChance, systemClock } from "./clock.ts";
import { type Config, readConfig } from "./config.ts";
import { type Embedded, embedded, URL_FILE } from "./database/embedded.ts";
import { migrate } from "./database/migrate.ts";
import { devSecret } from "./dev_secret.ts";
import { devVapid } from "./dev_vapid.ts";
import { StartError } from "./errors.ts";
import type { Gateway, GatewayDeps } from "./gateway.ts";
import { logging, mask } from "./logging.ts";
import { compose, type Service } from "./service.ts";

/** Beyond the drain time, how long stopping may take before it is cut short, in milliseconds. */
export const STOP_GRACE = 20_000;

/** Runs until it is told to stop, and then ends the process. */
export async function runProgram(
  createGateway: (deps: GatewayDeps) => Gateway,
  grace: number = STOP_GRACE,
): Promise<never> {
  const clock = systemClock;
  const asked = stopSignal(clock);
  let program: Service | undefined;
  try {
    const config = readConfig();
    program = await assemble(config, createGateway);
    await program.start();
    await asked;
    const limit = config.drain + grace;
    clock.after(limit, () => {
      console.error(`Cannot stop in time: something was still open after ${limit / 1_000} s`);
      Deno.exit(1);
    });
    await program.stop();
  } catch (error) {
    console.error(mask(explain(error)));
    Deno.exit(1);
  }
  Deno.exit(0);
}

async function assemble(read: Config, createGateway: (deps: GatewayDeps) => Gateway): Promise<Service> {
  const config = await withDevKeys(read);
  const log = getLogger(["tidings"]);
  const key = config.auth.key ?? { secret: await devSecret(config.data) };
  const own: Embedded | undefined = config.database.url === undefined
    ? embedded({ folder: config.data, notice: (line) => log.info("{line}", { line }) })
    : undefined;
  const url = () => config.database.url ?? own?.url ?? "";
  const listenUrl = () => config.database.listenUrl ?? url();
  let gateway: Gateway | undefined;

  return compose("Tidings", [
    logging(config.log),
    ...(own === undefined ? [] : [own]),
    {
      name: "the schema",
      async start() {
        const applied = await migrate(listenUrl());
        if (applied.length > 0) log.info("Applied the migrations {applied}", { applied });
      },
      stop: () => Promise.resolve(),
    },
    {
      name: "the gateway",
      async start() {
        gateway = createGateway({
          config,
          key,
          database: { url: url(), listenUrl: listenUrl() },
          clock: systemClock,
          chance: systemChance,
          fetch,
        });
        await gateway.start();
        log.info("Listening on {url}", { url: gateway.url });
        if (config.dev) console.log(await welcome(config, key, gateway.url, own));
      },
      stop: async () => await gateway?.stop(),
    },
  ]);
}

/** In dev mode, what is needed for pushes is made and kept. */
async function withDevKeys(config: Config): Promise<Config> {
  if (!config.dev || config.push.vapid !== undefined) return config;
  return { ...config, push: { ...config.push, vapid: await devVapid(config.data) } };
}

/** What a developer sees: the address, a token, and a line each to listen and to send. */
async function welcome(
  config: Config,
  key: KeySource,
  url: string,
  database: Embedded | undefined,
): Promise<string> {
  const lines = ["", `Tidings is at ${url}`];
  if ("secret" in key) {
    const { issuer = [], audience = [] } = config.auth;
    const token = await mint(
      key.secret,
      {
        sub: "me",
        ...(issuer[0] === undefined ? {} : { iss: issuer[0] }),
        ...(audience[0] === undefined ? {} : { aud: audience[0] }),
        tidings: { subscribe: ["**"], publish: ["**"], admin: true },
      },
      DEV_TOKEN_SECONDS,
      systemClock,
    );
    const bearer = `-H 'Authorization: Bearer ${token}'`;
    lines.push(
      `A token for the user "me", who may do everything, for 30 days:\n\n${token}\n`,
      `Listen:\n\ncurl -N ${bearer} -H 'Accept: text/event-stream' '${url}/v1/feed'\n`,
      `Send:\n\ncurl ${bearer} -H 'Title: It works' -d 'Hello from curl' '${url}/v1/topics/user:me'\n`,
    );
  }
  if (database !== undefined) {
    lines.push(`The database, from this folder:\n\npsql "$(cat ${config.data}/${URL_FILE})"\n`);
  }
  return lines.join("\n");
}

const DEV_TOKEN_SECONDS = 30 * 86_400;

/**
 * Resolves at the first signal to stop; a second one ends the process. Under `deno task`, one Ctrl-C arrives twice within a
 * millisecond or two: from the terminal, and passed on. So what comes right after the first is the same.
 */
function stopSignal(clock: Clock): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let askedAt: number | undefined;
  const signals: [Deno.Signal, number][] = [["SIGINT", 130], ["SIGTERM", 143]];
  for (const [signal, code] of signals) {
    if (Deno.build.os === "windows" && signal === "SIGTERM") continue;
    Deno.addSignalListener(signal, () => {
      if (askedAt !== undefined && clock.now() - askedAt >= SAME_SIGNAL) Deno.exit(code);
      if (askedAt !== undefined) return;
      askedAt = clock.now();
      getLogger(["tidings"]).info("Stopping on {signal}", { signal });
      resolve();
    });
  }
  return promise;
}

/** Milliseconds. */
const SAME_SIGNAL = 300;

function explain(error: unknown): string {
  if (error instanceof StartError) return error.message;
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
