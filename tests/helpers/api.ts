/**
 * The HTTP interface alone, on real sockets and a real database: the app with the routes of `src/api/` and no feed behind it.
 * @module
 */
import { Registry } from "prom-client";
import { BodyBudget } from "../../src/api/body.ts";
import { notificationRoutes } from "../../src/api/notifications.ts";
import { createPublisher, type PublisherLimits } from "../../src/api/publisher.ts";
import type { RateLimits } from "../../src/api/rate.ts";
import { createSender, type Sender } from "../../src/api/sender.ts";
import type { Readiness } from "../../src/api/system.ts";
import { topicRoutes } from "../../src/api/topics.ts";
import { createApp } from "../../src/app.ts";
import { allowOrigins, authenticate, type AuthEnv } from "../../src/auth/middleware.ts";
import { createOrigins } from "../../src/auth/origin.ts";
import { type Claims, createVerifier, mint } from "../../src/auth/token.ts";
import { systemChance, systemClock } from "../../src/clock.ts";
import { createDatabase, type Database } from "../../src/database/postgres.ts";
import { type PublishStore, publishStore } from "../../src/database/publish_store.ts";
import { createHttpServer } from "../../src/server.ts";
import { compose } from "../../src/service.ts";
import type { Hono } from "hono";

/** What a test may change. */
export interface TestApiOptions {
  origins?: string[];
  limits?: Partial<PublisherLimits>;
  rate?: RateLimits;
  budget?: BodyBudget;
  /** Stands between the publisher and its statements. */
  store?: (store: PublishStore) => PublishStore;
  ready?: () => Promise<Readiness>;
  openMetrics?: boolean;
  /** Whether the database is opened. @default true */
  database?: boolean;
  /** Further routes that need an identity. */
  routes?: Hono<AuthEnv>[];
}

/** The interface of one gateway. */
export interface TestApi extends AsyncDisposable {
  url: string;
  database: Database;
  sender: Sender;
  metrics: Registry;
  /** A token of a user; without rights given it may send to `user:*` and `climb:**`. */
  token(user?: string, rights?: Claims["tidings"]): Promise<string>;
  /** Requests with a token of `token()`. */
  call(path: string, init?: RequestInit, token?: string): Promise<Response>;
  /** Sends JSON to `/v1/notifications`. */
  send(body: unknown, headers?: Record<string, string>, token?: string): Promise<Response>;
}

const SECRET = "a secret of at least thirty-two bytes, for tests";

/** Starts the interface on a database. */
export async function testApi(database: { url: string }, options: TestApiOptions = {}): Promise<TestApi> {
  const clock = systemClock;
  const metrics = new Registry();
  const pool = createDatabase({ url: database.url, max: 10, prepare: true, name: "test" }, { clock });
  const statements = publishStore(pool);
  const publisher = createPublisher(
    options.store?.(statements) ?? statements,
    { clock, chance: systemChance },
    options.limits,
  );
  const sender = createSender({
    publisher,
    clock,
    ...(options.rate === undefined ? {} : { rate: options.rate }),
  });
  const origins = createOrigins(options.origins ?? []);
  const budget = options.budget ?? new BodyBudget();
  const app = createApp({
    version: "0.0.0",
    clock,
    metrics,
    openMetrics: options.openMetrics ?? false,
    ready: options.ready ?? (() => Promise.resolve({ ok: true, checks: { log: "ok" } })),
    authenticate: authenticate({
      verifier: createVerifier({ key: { secret: SECRET } }, { clock, fetch }),
      origins,
      tickets: {
        create: () => Promise.reject(new Error("no tickets here")),
        redeem: () => Promise.reject(new Error("no tickets here")),
      },
    }),
    allowOrigins: allowOrigins(origins),
    routes: [
      notificationRoutes({ sender, budget }),
      topicRoutes({ sender, budget, clock }),
      ...options.routes ?? [],
    ],
  });
  const server = createHttpServer({
    host: "127.0.0.1",
    port: 0,
    fetch: (request, bindings) => app.fetch(request, bindings),
    limits: { idleGrace: 1 },
  });
  const services = compose("the test's interface", [
    ...(options.database === false ? [] : [pool]),
    publisher,
    server,
  ]);
  await services.start();

  const token = (user = "ann", rights: Claims["tidings"] = { publish: ["user:*", "climb:**"] }) =>
    mint(SECRET, { sub: user, tidings: rights }, 600, clock);
  const usual = await token();
  const call: TestApi["call"] = (path, init = {}, given = usual) => {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${given}`);
    return fetch(`${server.url}${path}`, { ...init, headers });
  };
  return {
    url: server.url,
    database: pool,
    sender,
    metrics,
    token,
    call,
    send: (body, headers = {}, given) =>
      call("/v1/notifications", {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        headers: { "content-type": "application/json", ...headers },
      }, given),
    [Symbol.asyncDispose]: () => services.stop(),
  };
}
