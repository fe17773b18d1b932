/**
 * The gateway: everything between a migrated database and the network.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { Hono } from "hono";
import { ticketRoutes } from "./api/tickets.ts";
import type { CredentialsDeps } from "./auth/credentials.ts";
import { allowOrigins, authenticate, type AuthEnv } from "./auth/middleware.ts";
import { createOrigins } from "./auth/origin.ts";
import { createTicketStore } from "./auth/ticket_store.ts";
import { createTickets } from "./auth/ticket.ts";
import { createVerifier, type KeySource } from "./auth/token.ts";
import type { Chance, Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import { createLogStore, type LogStore } from "./database/log_store.ts";
import { createDatabase } from "./database/postgres.ts";
import { TidingsError, toProblem } from "./errors.ts";
import { createFeed } from "./feed/feed.ts";
import { createHub } from "./feed/hub.ts";
import { createLog } from "./log/log.ts";
import { PATHS, SUBPROTOCOL } from "./protocol.ts";
import { createHttpServer, type ServerLimits } from "./server.ts";
import { compose, type Service } from "./service.ts";
import { createHeart } from "./transports/heart.ts";
import { authorizeByToken, HEARTBEAT, type TransportDeps } from "./transports/negotiate.ts";
import { feedRoutes, sentAlready } from "./transports/route.ts";
import { createUpgrade } from "./transports/upgrade.ts";
import { createWebSocketTransport } from "./transports/websocket.ts";

/** What a gateway is made of. */
export interface GatewayDeps {
  config: Config;
  /** What tokens are verified with: the configured one, or the secret of dev mode. */
  key: KeySource;
  /** A migrated database. Both are the same unless a pooler stands in between. */
  database: { url: string; listenUrl: string };
  clock: Clock;
  chance: Chance;
  fetch: typeof fetch;
  /** Stands between the gateway and the log's statements, where a test holds them back. */
  store?: (store: LogStore) => LogStore;
  /** The HTTP server's bounds. @default the server's own */
  limits?: Partial<ServerLimits>;
}

/** A running gateway. `stop` drains: clients are told to come back elsewhere, and what was accepted is finished. */
export interface Gateway extends Service {
  /** Where it can be reached from this machine, once started, such as `http://127.0.0.1:8080`. */
  readonly url: string;
}

/** Assembles a gateway. */
export function createGateway(deps: GatewayDeps): Gateway {
  const { config, clock, chance } = deps;
  const log = getLogger(["tidings", "gateway"]);
  const instance = crypto.randomUUID().slice(0, 8);
  const pooled = deps.database.url !== deps.database.listenUrl;

  const database = createDatabase({
    url: deps.database.url,
    max: config.database.pool,
    prepare: !pooled,
    name: `tidings ${instance}`,
  }, { clock });
  const statements = createLogStore(database);
  const store = deps.store?.(statements) ?? statements;
  const hub = createHub();
  const tail = createLog({ listenUrl: deps.database.listenUrl, instance }, {
    database,
    store,
    clock,
    chance,
    consumer: {
      startAt: (position, horizon) => hub.startAt(position, horizon),
      advance: (stretch, horizon, seen) => hub.advance(stretch, horizon, seen, clock.now()),
    },
    events: {
      failed: (error) => log.error("Cannot read the log, trying again: {error}", { error }),
      recovered: () => log.info("Reading the log"),
      bell: bellReporter(),
    },
  });
  const feed = createFeed({
    drain: config.drain,
    sessions: config.limits.sessions,
    perUser: config.limits.sessionsPerUser,
  }, {
    hub,
    store,
    clock,
    chance,
    refresh: (signal) => tail.tailer.refresh(signal),
    control: () => undefined,
    followed: () => Promise.resolve([]),
    failed: (error) => log.warn("Cannot read history, trying again: {error}", { error }),
  });

  const origins = createOrigins(config.auth.allowedOrigins);
  const tickets = createTickets(createTicketStore(database.sql), { clock });
  const { issuer, audience, cookie } = config.auth;
  const credentials: CredentialsDeps = {
    verifier: createVerifier({
      key: deps.key,
      ...(issuer === undefined ? {} : { issuer: [...issuer] }),
      ...(audience === undefined ? {} : { audience: [...audience] }),
    }, { clock, fetch: deps.fetch }),
    tickets,
    origins,
    ...(cookie === undefined ? {} : { cookie }),
  };
  const transport: TransportDeps = {
    feed,
    credentials,
    authorize: (identity, topics) => Promise.resolve(authorizeByToken(identity, topics)),
    count: () => Promise.resolve({ unread: 0, unseen: 0 }),
    actions: { publish: unknownOperation, mark: unknownOperation, acknowledge: unknownOperation },
    clock,
  };
  const heart = createHeart(HEARTBEAT, { clock });
  const websocket = createWebSocketTransport({
    ...transport,
    heart,
    failed: (error) => log.error("A WebSocket session failed: {error}", { error }),
  });

  const app = new Hono<AuthEnv>();
  app.onError((error, c) => {
    const problem = toProblem(error);
    if (problem.code === "internal") log.error("A request failed: {error}", { error });
    return c.json(problem, problem.status as 500, { "content-type": "application/problem+json" });
  });
  app.use(allowOrigins(origins));
  app.use("/v1/*", authenticate(credentials));
  app.route("/", ticketRoutes({ tickets }));
  app.route("/", feedRoutes(transport, heart));

  const server = createHttpServer({
    host: config.http.host,
    port: config.http.port,
    fetch: async (request, bindings) => sentAlready(await app.fetch(request, bindings)),
    onUpgrade: createUpgrade([
      { paths: [PATHS.feed], protocols: [SUBPROTOCOL], fallback: true, upgrade: websocket.upgrade },
    ]),
    clock,
    ...(deps.limits === undefined ? {} : { limits: deps.limits }),
  });

  // Stopped in reverse: first the feed tells its sessions, then the server ends, then the log, last the pool.
  const services = compose("the gateway", [database, tail, heart, server, feed]);
  return {
    name: "the gateway",
    start: services.start,
    stop() {
      server.stopAccepting();
      return services.stop();
    },
    get url() {
      return server.url;
    },
  };

  function bellReporter(): (alive: boolean) => void {
    let last: boolean | undefined;
    return (alive) => {
      if (alive !== last && (last !== undefined || !alive)) {
        if (alive) log.info("The bell rings again");
        else {log.warn(
            "The bell does not ring: LISTEN_DATABASE_URL must reach the server directly; until then notifications come late",
          );}
      }
      last = alive;
    };
  }
}

function unknownOperation(): Promise<never> {
  return Promise.reject(new TidingsError("not_found", "This gateway does not offer that operation"));
}
