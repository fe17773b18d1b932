/**
 * Opens sessions: where a client begins, whether its cursor can be used, and how many there may be.
 * @module
 */
import { type Chance, type Clock, jitter, rest } from "../clock.ts";
import { TidingsError } from "../errors.ts";
import { type Cursor, cutAt, isPast } from "../log/cursor.ts";
import { HistoryChanged, type LogStore } from "../database/log_store.ts";
import type { InboxCount, ResetReason } from "../protocol.ts";
import type { Service } from "../service.ts";
import { createHistory } from "./history.ts";
import type { Hub } from "./hub.ts";
import type { Followed } from "./interests.ts";
import type { Readings } from "./readings.ts";
import { NOT_PRESENT, type Presence, type PresenceHold, presenceTopic } from "./presence.ts";
import { type Control, Session, type SessionDeps } from "./session.ts";
import type { Sink } from "./sink.ts";
import { ALL, userTopic } from "./topic.ts";

/** Where a client begins. */
export type Since = { at: "now" } | { at: "earliest" } | { at: "ago"; ms: number } | {
  at: "cursor";
  cursor: Cursor;
};

/** What a person has besides the log: the inbox's side of a feed. */
export interface People {
  /**
   * A session of this person is about to open, with these topics. What it resolves to is as it is after this call began.
   * @throws {TidingsError} `invalid_token` when the person was signed out since, `forbidden` when a topic is refused
   */
  enter(request: Pick<OpenRequest, "user" | "topics" | "issuedAt" | "admin">): Promise<Entry>;
  count(user: string): Promise<InboxCount>;
}

/** A person at the door. */
export interface Entry {
  /** What the person follows. */
  followed: Followed[];
  /** The session is there. One that is not personal is told nothing of the inbox. */
  admit(session: Session, personal: boolean): void;
  /** It did not come to one. */
  turnBack(): void;
}

/** How to serve. */
export interface FeedOptions {
  /** Rows of one page: fewer cost a query too often, more a client that reads slowly. @default 500 */
  page?: number;
  /** History reads at a time. @default 8 */
  readers?: number;
  /** Sessions at most, of everybody and of one person. @default 50000 and 100 */
  sessions?: number;
  perUser?: number;
}

/** Who opens a session. Its topics are already allowed. */
export interface OpenRequest {
  user: string;
  topics: readonly string[];
  since: Since;
  /** When the token was issued, in milliseconds since the epoch. */
  issuedAt?: number;
  /** May read everything, whatever the application's policy says. */
  admin?: boolean;
  /** Rows of one page; @default the feed's */
  page?: number;
  /** Whether the person's own topic, `all` and what they follow are included. @default true */
  personal?: boolean;
  /** False: a further reading of a client that is counted already. @default true */
  counted?: boolean;
  /** What carries it: `websocket`, `sse`, `longpoll` (short polls too), `stomp`. */
  transport: string;
  /** The client, for presence; absent: presence is not told of this session. */
  client?: { userAgent: string | undefined };
  /** Whether joins and leaves of its topics are wanted. It is open when the database knows that. */
  watch?: boolean;
}

/** An open session that does not deliver yet: `session.open()` begins. */
export interface Opened {
  session: Session;
  /** Its cursor could not be used: it begins at the present instead, and the client has to be told. */
  reset?: ResetReason;
  /** Where the session is present; ends with it. */
  presence: PresenceHold;
}

/** A session's way to be told that the gateway stops; called once. */
export interface Reconnectable {
  /** Tell the client to come back, then end. */
  reconnect(): void;
}

/** The feed. Its `stop` tells every session to come back, each at a random moment within the drain time. */
export interface Feed extends Service {
  open(request: OpenRequest, sink: Sink & Reconnectable): Promise<Opened>;
  /** Where a client begins, or why its cursor cannot be used. */
  locate(since: Since): Promise<Cursor | ResetReason>;
  /** Whether it is stopping: nobody is let in. */
  readonly draining: boolean;
  readonly sessions: number;
  /** The same, by transport. */
  readonly byTransport: ReadonlyMap<string, number>;
}

const PLAUSIBLE_WAIT = 5_000;

/** The feed of one gateway. */
export function createFeed(
  options: FeedOptions & { drain: number },
  deps: {
    hub: Hub;
    store: LogStore;
    clock: Clock;
    chance: Chance;
    /** Resolves when everything that was committed before the call is known to the hub, or a page of it. */
    refresh(signal: AbortSignal): Promise<void>;
    control: Control;
    people: Pick<People, "enter">;
    /** Absent: nothing is kept of what was delivered. */
    readings?: Pick<Readings, "opened">;
    /** Absent: nobody is told who is here. */
    presence?: Pick<Presence, "open">;
    /** A client's cursor could not be used. */
    reset?(reason: ResetReason): void;
    failed(error: unknown): void;
  },
): Feed {
  const { page = 500, readers = 8, sessions: most = 50_000, perUser = 100, drain } = options;
  const { hub, store, clock, chance } = deps;
  const history = createHistory(store, readers);
  const open = new Map<Session, Reconnectable>();
  const users = new Map<string, number>();
  const byTransport = new Map<string, number>();
  let reserved = 0;
  let draining = false;

  /** Resolves when everything that was committed before the call has been read, or a page of it. */
  async function readOn(): Promise<void> {
    const wait = AbortSignal.timeout(PLAUSIBLE_WAIT);
    try {
      await deps.refresh(wait);
    } catch (error) {
      if (!wait.aborted) throw error;
      throw new TidingsError("unavailable", "The log cannot be read at the moment", {
        retryAfter: 1,
        cause: error,
      });
    }
  }

  async function locate(since: Since): Promise<Cursor | ResetReason> {
    const here = hub.position;
    switch (since.at) {
      case "now":
        // What was committed before the question is not news, though this gateway may not have read it yet.
        await readOn();
        return hub.position;
      case "earliest":
        return cutAt(here, hub.horizon + 1);
      case "ago":
        // What is in progress here stays after the cursor, however low its xid is.
        return cutAt(here, Math.max(hub.horizon + 1, await store.xidSince(since.ms)));
      case "cursor": {
        const { cursor } = since;
        if (cursor.epoch !== here.epoch) return "history";
        if (cursor.xmax > hub.seen) {
          // Another instance may be a little ahead; what the database has not begun yet, nobody was given.
          await readOn();
          if (cursor.epoch !== hub.position.epoch) return "history";
          if (cursor.xmax > hub.seen) return "unknown";
        }
        return isPast(cursor, hub.horizon, hub.position) ? cursor : "retention";
      }
    }
  }

  function hold(session: Session, { user, topics, transport, client, watch }: OpenRequest): PresenceHold {
    if (client === undefined || deps.presence === undefined) return NOT_PRESENT;
    const { userAgent } = client;
    const presence = deps.presence.open({
      id: session.id,
      user,
      transport,
      ...(userAgent === undefined ? {} : { userAgent }),
    });
    for (const topic of topics) presence.join(topic, watch);
    session.onWithdraw((withdrawn) => withdrawn.forEach((topic) => presence.part(topic)));
    return presence;
  }

  function admit(): () => void {
    if (!draining) return () => undefined;
    throw new TidingsError("restarting", "This gateway is restarting: come back in a moment", {
      retryAfter: 1,
    });
  }

  function reserve(user: string): () => void {
    admit();
    const mine = users.get(user) ?? 0;
    if (mine >= perUser || reserved >= most) {
      throw new TidingsError(
        "too_many_sessions",
        mine >= perUser
          ? `Cannot open another session: this user has ${mine}; close one`
          : "Cannot open another session: this gateway is full; try another",
        { retryAfter: 5 },
      );
    }
    reserved++;
    users.set(user, mine + 1);
    return () => {
      reserved--;
      const left = (users.get(user) ?? 1) - 1;
      if (left === 0) users.delete(user);
      else users.set(user, left);
    };
  }

  const common: Omit<SessionDeps, "page"> = {
    hub,
    history,
    control: deps.control,
    ...(deps.reset === undefined ? {} : { reset: deps.reset }),
    failed(error) {
      if (!(error instanceof HistoryChanged)) deps.failed(error);
    },
    pause: (attempt, signal) =>
      rest(clock, jitter(Math.min(5_000, 100 * 2 ** Math.min(attempt, 10)), chance), signal),
  };

  return {
    name: "feed",
    locate,
    get draining() {
      return draining;
    },
    byTransport,
    get sessions() {
      return open.size;
    },
    async open(request, sink) {
      const { transport, personal = true, counted = true } = request;
      const release = counted ? reserve(request.user) : admit();
      let entry: Entry | undefined;
      let opened: Opened;
      try {
        const start = await locate(request.since);
        let reset = typeof start === "string" ? start : undefined;
        // First the position, then what is followed: a follow in between comes as a row after the position.
        let position = typeof start === "string" ? hub.position : start;
        entry = await deps.people.enter(request);
        if (position.epoch !== hub.position.epoch) {
          position = hub.position;
          reset = "history";
        }
        admit();
        const own = personal ? [userTopic(request.user), ALL] : [];
        const watched = request.watch === true ? request.topics.map(presenceTopic) : [];
        const topics = [...own, ...request.topics, ...watched].map((topic) => ({ topic }));
        const session = new Session(
          { ...common, page: request.page ?? page },
          sink,
          position,
          topics,
          personal ? entry.followed : [],
        );
        session.issuedAt = request.issuedAt;
        entry.admit(session, personal);
        deps.readings?.opened(session, request.user, transport);
        byTransport.set(transport, (byTransport.get(transport) ?? 0) + 1);
        open.set(session, sink);
        const presence = hold(session, request);
        session.onEnd(() => {
          open.delete(session);
          byTransport.set(transport, byTransport.get(transport)! - 1);
          release();
          presence.close();
        });
        if (reset !== undefined) deps.reset?.(reset);
        opened = reset === undefined ? { session, presence } : { session, presence, reset };
      } catch (error) {
        entry?.turnBack();
        release();
        throw error;
      }
      try {
        if (request.watch === true && request.client !== undefined) await opened.presence.told();
        return opened;
      } catch (error) {
        opened.session.end();
        throw error;
      }
    },
    start() {
      draining = false;
      return Promise.resolve();
    },
    async stop() {
      draining = true;
      await Promise.all([...open].map(async ([session, sink]) => {
        await rest(clock, chance() * drain, session.signal);
        if (!session.closed) sink.reconnect();
      }));
    },
  };
}
