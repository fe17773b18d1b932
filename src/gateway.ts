/**
 * The gateway: everything between a migrated database and the network.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Context, Next } from "hono";
import { every } from "hono/combine";

import { assets } from "./api/assets.ts";
import { BodyBudget } from "./api/body.ts";
import { deviceRoutes } from "./api/devices.ts";
import { digestRoutes } from "./api/digests.ts";
import { inboxRoutes } from "./api/inbox.ts";
import { notificationRoutes } from "./api/notifications.ts";
import { preferenceRoutes } from "./api/preferences.ts";
import { presenceRoutes } from "./api/presence.ts";
import { createPublisher } from "./api/publisher.ts";
import { scheduleRoutes } from "./api/schedules.ts";
import { createSender } from "./api/sender.ts";
import { subscriptionRoutes } from "./api/subscriptions.ts";
import { ticketRoutes } from "./api/tickets.ts";
import { topicRoutes } from "./api/topics.ts";
import { workerRoutes } from "./api/worker.ts";
import { createApp } from "./app.ts";
import type { CredentialsDeps } from "./auth/credentials.ts";
import { allowOrigins, authenticate, type AuthEnv } from "./auth/middleware.ts";
import { createOrigins } from "./auth/origin.ts";
import { createTicketStore } from "./auth/ticket_store.ts";
import { createTickets } from "./auth/ticket.ts";
import { createVerifier, type KeySource, mint } from "./auth/token.ts";
import type { Chance, Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import { createInboxStore } from "./database/inbox_store.ts";
import { createLogStore, type LogStore, READING } from "./database/log_store.ts";
import { createDatabase } from "./database/postgres.ts";
import { forgetOldKeys, publishStore } from "./database/publish_store.ts";
import { createControl } from "./feed/control.ts";
import { demoRoutes } from "./demo/routes.ts";
import { createFeed } from "./feed/feed.ts";
import { createHub } from "./feed/hub.ts";
import { createPeople } from "./feed/people.ts";
import { NOT_PRESENT, Presence, presenceTimes } from "./feed/presence.ts";
import { createPresenceStore } from "./feed/presence_store.ts";
import { createReadings } from "./feed/readings.ts";
import { createRights } from "./feed/rights.ts";
import { createShownKeeper } from "./feed/shown.ts";
import { parseCursor } from "./log/cursor.ts";
import type { DoorbellOptions } from "./log/doorbell.ts";
import { createLog } from "./log/log.ts";
import { createMetrics } from "./metrics.ts";
import { PATHS, SUBPROTOCOL } from "./protocol.ts";
import { retention } from "./database/retention.ts";
import { createDigestStore } from "./push/digest_store.ts";
import { createPushes } from "./push/pushes.ts";
import { createReadiness } from "./readiness.ts";
import { createScheduleBook } from "./schedule/schedule_store.ts";
import { scheduler } from "./schedule/scheduler.ts";
import { createScheduleStore } from "./schedule/store.ts";
import { createHttpServer, type ServerLimits } from "./server.ts";
import { compose, type Service } from "./service.ts";
import { createHeart } from "./transports/heart.ts";
import { HEARTBEAT, type TransportDeps } from "./transports/negotiate.ts";
import { feedRoutes, sentAlready } from "./transports/route.ts";
import { sockJsInfo, sockJsPath } from "./transports/sockjs.ts";
import { createStompTransport, STOMP_PROTOCOLS } from "./transports/stomp.ts";
import { createSeen, createStompPositions } from "./transports/stomp_store.ts";
import { createUpgrade } from "./transports/upgrade.ts";
import { createWebSocketTransport } from "./transports/websocket.ts";
import { VERSION } from "./version.ts";

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
  /** When the log is read. @default as it is best */
  doorbell?: Partial<DoorbellOptions>;
  /** The HTTP server's bounds. @default the server's own */
  limits?: Partial<ServerLimits>;
}

/** A running gateway. `stop` drains: clients are told to come back elsewhere, and what was accepted is finished. */
export interface Gateway extends Service {
  /** Where it can be reached from this machine, once started, such as `http://127.0.0.1:8080`. */
  readonly url: string;
}

/** What browsers load; the demo's in dev mode only. */
const SCRIPTS = ["client.js", "bell.js", "push.js", "worker.js"];
/** Milliseconds that a statement may take when everything that was accepted is answered. */
const LAST_STATEMENTS = 2_000;

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
  // One connection, which hears the bell and answers it: whichever of the pool is next would have to wake up first.
  const tailDatabase = createDatabase({
    url: deps.database.listenUrl,
    max: 1,
    prepare: true,
    name: `tidings ${instance} tailer`,
    settings: READING,
  }, { clock });
  const statements = createLogStore(database, tailDatabase);
  const store = deps.store?.(statements) ?? statements;
  const presenceStore = createPresenceStore(database.sql);
  const present = new Presence({
    store: presenceStore,
    clock,
    chance,
    instance,
    times: presenceTimes(config.presence.grace),
    onError: (error) => log.warn("Cannot tell who is here, trying again: {error}", { error }),
  });
  const presence = config.presence.on ? present : { open: () => NOT_PRESENT };
  const hub = createHub();
  const metrics = createMetrics(VERSION, {
    sessions: () => feed.byTransport,
    topics: () => hub.topics,
    windowRows: () => hub.window.size,
    connections: () => server.connections,
    sinceRead: () => (clock.now() - tail.tailer.health.at) / 1_000,
    memory: () => Deno.memoryUsage().rss,
  });
  const tail = createLog({ instance, ...(deps.doorbell === undefined ? {} : { doorbell: deps.doorbell }) }, {
    database,
    tail: tailDatabase,
    store,
    clock,
    chance,
    consumer: {
      startAt: (position, horizon) => hub.startAt(position, horizon),
      advance(stretch, horizon, seen) {
        metrics.read.inc(stretch.rows.length);
        hub.advance(stretch, horizon, seen, clock.now());
      },
    },
    events: {
      failed(error) {
        metrics.failed.inc();
        log.error("Cannot read the log, trying again: {error}", { error });
      },
      carried: () => metrics.carried.inc(),
      recovered: () => log.info("Reading the log"),
      waits: (message) => log.warn("{message}", { message }),
      bell: bellReporter(),
      bellFailed: (error) => log.error("Cannot listen for the bell, trying again: {error}", { error }),
    },
  });
  const inbox = createInboxStore(database);
  const rights = createRights({ store: inbox, clock });
  const personFailed = (error: unknown) => log.warn("Cannot read an inbox, trying again: {error}", { error });
  const shown = createShownKeeper({ hub, store: inbox, clock, chance, failed: personFailed });
  const people = createPeople({ hub, store: inbox, clock, chance, keeper: shown, failed: personFailed });
  const readings = createReadings({ sql: database.sql, hub, clock, instance });
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
    control: createControl({ crowd: people, store: inbox, failed: personFailed }),
    people,
    readings,
    presence,
    reset: (reason) => metrics.resets.inc({ reason }),
    failed: (error) => log.warn("Cannot read on for a session: {error}", { error }),
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
  const budget = new BodyBudget();
  const publications = publishStore(database);
  const publisher = createPublisher(publications, { clock, chance });
  const sender = createSender({
    publisher: {
      async publish(request) {
        const published = await publisher.publish(request);
        if (!published.replayed) metrics.published.inc(request.count);
        return published;
      },
    },
    clock,
  });
  const pushes = createPushes({
    config: config.push,
    keep: config.retention,
    sql: database.sql,
    clock,
    chance,
    onOutcome: (kind, { kind: outcome }) => metrics.pushed.inc({ kind, outcome }),
  });
  const transport: TransportDeps = {
    feed,
    credentials,
    authorize: rights.authorize,
    count: people.count,
    actions: {
      publish: async (identity, publication) => (await sender.send(identity, sender.read(publication))).ids,
      mark: async (identity, mark) => void await inbox.mark(identity.user, mark),
      acknowledge: (identity, session, cursor, visible) => {
        const shown = parseCursor(cursor);
        if (shown !== undefined) readings.acknowledged(session, shown);
        if (visible) pushes.acknowledge(identity.user, cursor);
        return Promise.resolve();
      },
    },
    clock,
  };
  const heart = createHeart(HEARTBEAT, { clock });
  const websocket = createWebSocketTransport({
    ...transport,
    heart,
    failed: (error) => log.error("A WebSocket session failed: {error}", { error }),
  });

  const stomp = createStompTransport({
    ...transport,
    settings: {
      prefixes: config.stomp.prefixes,
      shape: config.stomp.shape,
      heartbeat: 10_000,
      server: "tidings",
    },
    queues: config.stomp.queues,
    actions: {
      publishAll: (identity, publications) => sender.send(identity, sender.read(publications)),
      seen: createSeen(database.sql),
    },
    positions: createStompPositions(database.sql),
    presence,
    failed: (error) => log.error("A STOMP session failed: {error}", { error }),
  });

  const app = createApp({
    version: VERSION,
    clock,
    metrics: metrics.registry,
    openMetrics: config.dev,
    ready: createReadiness({ database, log: tail.tailer.health, feed, clock }),
    authenticate: every(authenticate(credentials), async (c: Context<AuthEnv>, next: Next) => {
      await rights.stands(c.get("identity"));
      await next();
    }),
    allowOrigins: allowOrigins(origins),
    open: [
      assets({ scripts: config.dev ? [...SCRIPTS, "demo.js"] : SCRIPTS, built: !config.dev }),
      workerRoutes(pushes),
      sockJsInfo(config.stomp.path, chance),
      ...(config.dev ? [demoRoutes({ mint: demoMint(), run: demoRun })] : []),
    ],
    routes: [
      ticketRoutes({ tickets }),
      notificationRoutes({ sender, budget }),
      topicRoutes({ sender, budget, clock }),
      scheduleRoutes({ schedules: createScheduleBook(database.sql), budget, clock }),
      deviceRoutes({ ...pushes, budget }),
      digestRoutes({ digests: createDigestStore(database.sql), budget }),
      inboxRoutes({ store: inbox, budget }),
      subscriptionRoutes({ store: inbox, rights }),
      preferenceRoutes({ store: inbox, budget }),
      feedRoutes(transport, heart),
      ...(config.presence.on ? [presenceRoutes({ presence: presenceStore, rights })] : []),
    ],
  });

  const server = createHttpServer({
    host: config.http.host,
    port: config.http.port,
    fetch: async (request, bindings) => sentAlready(await app.fetch(request, bindings)),
    onUpgrade: createUpgrade([
      { paths: [PATHS.feed], protocols: [SUBPROTOCOL], fallback: true, upgrade: websocket.upgrade },
      { paths: [PATHS.feed], protocols: STOMP_PROTOCOLS, upgrade: stomp.upgrade },
      {
        paths: [config.stomp.path, `${config.stomp.path}/websocket`],
        protocols: STOMP_PROTOCOLS,
        fallback: true,
        upgrade: stomp.upgrade,
      },
      {
        paths: [sockJsPath(config.stomp.path)],
        protocols: STOMP_PROTOCOLS,
        fallback: true,
        upgrade: stomp.upgradeSockJs,
      },
    ]),
    clock,
    ...(deps.limits === undefined ? {} : { limits: deps.limits }),
  });

  // Stopped in reverse: first the feed tells its sessions, then the server ends, then the log, last the pool.
  const services = compose("the gateway", [
    database,
    tailDatabase,
    tail,
    publisher,
    pushes.service,
    scheduler({
      store: createScheduleStore(database.sql),
      clock,
      chance,
      onSent: (count) => metrics.scheduled.inc(count),
    }),
    ...(config.presence.on ? [present] : []),
    readings,
    shown,
    retention({
      store: inbox,
      keep: config.retention,
      clock,
      chance,
      alongside: () => forgetOldKeys(publications),
    }),
    heart,
    stomp,
    // what was accepted is answered by then
    {
      name: "last statements",
      start: () => Promise.resolve(),
      stop: () => Promise.resolve([database, tailDatabase].forEach((used) => used.hasten(LAST_STATEMENTS))),
    },
    server,
    websocket,
    feed,
  ]);
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

  /** Tokens for the demo's members, where this gateway makes tokens at all. */
  function demoMint(): ((user: string) => Promise<string>) | undefined {
    if (!("secret" in deps.key)) return undefined;
    const { secret } = deps.key;
    const claims = {
      ...(issuer?.[0] === undefined ? {} : { iss: issuer[0] }),
      ...(audience?.[0] === undefined ? {} : { aud: audience[0] }),
    };
    return (user) => mint(secret, { sub: user, ...claims }, 600, clock);
  }

  async function demoRun(statement: string, values?: (string | number)[]): Promise<number> {
    const result: unknown = await database.query((sql) => sql.unsafe(statement, values), 10_000);
    return (result as { count?: number | null }).count ?? 0;
  }

  function bellReporter(): (alive: boolean) => void {
    let last: boolean | undefined;
    return (alive) => {
      metrics.bell.set(alive ? 1 : 0);
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
