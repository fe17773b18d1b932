/**
 * Gateways within the test's own process, on free ports: as many as wanted on one database, all with the same secret, so that
 * a token and a cursor of one are good at the others.
 *
 * ```ts
 * await using database = await testDatabase();
 * await using gateway = await startGateway(database);
 * const token = await gateway.token("ann", { subscribe: ["climb:**"] });
 * await fetch(`${gateway.url}/v1/feed?since=earliest`, { headers: { authorization: `Bearer ${token}` } });
 * ```
 * @module
 */
import { type Clock, systemClock } from "../../src/clock.ts";
import { readConfig } from "../../src/config.ts";
import type { LogStore } from "../../src/database/log_store.ts";
import type { DoorbellOptions } from "../../src/log/doorbell.ts";
import { createGateway } from "../../src/gateway.ts";
import type { ServerLimits } from "../../src/server.ts";
import { type Claims, mint } from "../../src/auth/token.ts";

/** What every test gateway verifies tokens with. */
export const TEST_SECRET = "a secret that is only good for tests, and long enough";

/** How a test's gateway differs from one with nothing but a database and a secret. */
export interface TestGatewayOptions {
  /** Further settings, as in the environment, such as `{ TIDINGS_COOKIE: "session" }`. */
  env?: Record<string, string>;
  /** @default the machine's */
  clock?: Clock;
  /** @default always 0.5 */
  chance?: () => number;
  /** @default one that rejects */
  fetch?: typeof fetch;
  /** Holds it back; released when it stops. */
  brake?: Brake;
  /** Stands between the gateway and the log's statements. */
  store?: (store: LogStore) => LogStore;
  /** When the log is read. @default the program's */
  doorbell?: Partial<DoorbellOptions>;
  /** The HTTP server's bounds. @default the program's, but idle connections end at once when it stops */
  limits?: Partial<ServerLimits>;
}

/** A gateway that runs. Disposing it stops it; without TIDINGS_DRAIN in `env` it drains at once. */
export interface TestGateway extends AsyncDisposable {
  /** Such as `http://127.0.0.1:43117`. */
  readonly url: string;
  /** A token of this user, good for `ttl` seconds. @default 600 */
  token(user: string, rights?: Claims["tidings"], ttl?: number): Promise<string>;
  /** What it counts: the value behind `name` or `name{label="value"}`. */
  metric(line: string): Promise<number>;
  /** What disposing does, for tests that look at it. */
  stop(): Promise<void>;
}

/** Starts a gateway on a migrated database. */
export async function startGateway(
  database: { url: string },
  options: TestGatewayOptions = {},
): Promise<TestGateway> {
  const { env, clock = systemClock, chance = () => 0.5, brake, store = brake?.store, doorbell, limits } =
    options;
  const gateway = createGateway({
    config: readConfig({
      PORT: "0",
      HOST: "127.0.0.1",
      DATABASE_URL: database.url,
      TIDINGS_JWT_SECRET: TEST_SECRET,
      TIDINGS_DRAIN: "0s",
      TIDINGS_DATABASE_POOL: "4",
      // presence writes transactions of its own, and tests of the log count transactions
      TIDINGS_PRESENCE: "off",
      ...env,
    }),
    key: { secret: TEST_SECRET },
    database: { url: database.url, listenUrl: database.url },
    clock,
    chance,
    fetch: options.fetch ?? (() => Promise.reject(new Error("no network in this test"))),
    limits: { idleGrace: 0, ...limits },
    ...(store === undefined ? {} : { store }),
    ...(doorbell === undefined ? {} : { doorbell }),
  });
  await gateway.start();
  const token: TestGateway["token"] = (user, rights, ttl = 600) =>
    mint(TEST_SECRET, { sub: user, ...(rights === undefined ? {} : { tidings: rights }) }, ttl, clock);
  const stop = () => {
    brake?.release();
    return gateway.stop();
  };
  return {
    url: gateway.url,
    token,
    async metric(line) {
      const authorization = `Bearer ${await token("root", { admin: true })}`;
      const text = await (await fetch(`${gateway.url}/metrics`, { headers: { authorization } })).text();
      const found = text.split("\n").find((each) => each.startsWith(`${line} `));
      if (found === undefined) throw new Error(`No ${line} in ${text}`);
      return Number(found.split(" ").at(-1));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Holds a gateway back: while it is pulled, the gateway gets nothing of the log, and so falls behind the others. */
export interface Brake {
  /** What {@link TestGatewayOptions.brake} makes of the log's statements. */
  store(store: LogStore): LogStore;
  /** Resolves when a read that began before, if any, is over. */
  pull(): Promise<void>;
  release(): void;
}

/** A brake that is not pulled. */
export function brake(): Brake {
  let free: Promise<void> | undefined;
  let letGo = () => {};
  const underWay = new Set<Promise<unknown>>();
  return {
    store: (store) => ({
      ...store,
      async read(after, limits) {
        await free;
        const reading = store.read(after, limits);
        const settled = reading.then(() => {}, () => {});
        underWay.add(settled);
        settled.finally(() => underWay.delete(settled));
        return await reading;
      },
      carried: (bell) => free === undefined ? store.carried(bell) : undefined,
    }),
    async pull() {
      const { promise, resolve } = Promise.withResolvers<void>();
      free = promise;
      letGo = () => {
        free = undefined;
        resolve();
      };
      await Promise.all(underWay);
    },
    release: () => letGo(),
  };
}
