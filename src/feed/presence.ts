/**
 * Who is connected here, told to the database: one gateway's part in presence. The database decides who joined and who left
 * (sql/030_session.sql); this service says which sessions there are, in batches, and beats so that it is known to live.
 *
 * Invariants: what is to be said is derived from the sessions that are open, so nothing queues up while the database is away,
 * and after any failure everything is said again. A gateway that was taken for dead says everything anew.
 * @module
 */
import { type Chance, type Clock, jitter, systemChance } from "../clock.ts";
import { TidingsError } from "../errors.ts";
import { ALL, userTopic } from "./topic.ts";
import type { PresenceStore, SessionRecord } from "./presence_store.ts";
import type { Service } from "../service.ts";

/** A connected client, as presence needs to know it. */
export interface PresentSession {
  /** Unique over all gateways and times. */
  id: string;
  user: string;
  /** `websocket`, `sse`, `longpoll`, `stomp`. */
  transport: string;
  userAgent?: string;
}

/** An open session's hold on presence. */
export interface PresenceHold {
  /** The session is now in this topic; `watch`: it wants to hear who joins and leaves. */
  join(topic: string, watch?: boolean): void;
  part(topic: string): void;
  /**
   * Resolves when the database knows what was joined and watched so far: whoever asks who is here from then on, and is told of
   * who joins and leaves, knows all.
   * @throws {TidingsError} `unavailable` when that takes longer than 5 s, `invalid_request` where presence is not kept
   */
  told(): Promise<void>;
  /** The client gave a sign of life. */
  active(): void;
  /** The session is over. Twice is once. */
  close(): void;
}

/** The hold of a session that presence is not told of. */
export const NOT_PRESENT: PresenceHold = {
  join() {},
  part() {},
  told: () =>
    Promise.reject(notWatchable("expected none: this gateway keeps no presence (TIDINGS_PRESENCE)")),
  active() {},
  close() {},
};

/** Times in milliseconds. */
export interface PresenceTimes {
  /** Between two beats. @default 5000 */
  beat: number;
  /** How long a gateway is believed after a beat. @default 15000 */
  lease: number;
  /** How long a person may be away without having left. @default 5000 */
  grace: number;
  /** How long changes are gathered before they are told. @default 100 */
  gather: number;
}

/** The times that go with a grace. The last list is true at most lease + beat + grace after a gateway died: five graces. */
export function presenceTimes(grace: number): PresenceTimes {
  return { beat: grace, lease: 3 * grace, grace, gather: Math.min(100, grace / 10) };
}

/** The defaults: true at most 25 s after a gateway died. */
export const PRESENCE_TIMES: PresenceTimes = presenceTimes(5_000);

/** Joins and leaves of a topic travel in the log on this topic, to those who watch. */
export function presenceTopic(topic: string): string {
  return PRESENCE + topic;
}

/** Whether joins and leaves travel on this topic. */
export function isPresenceTopic(topic: string): boolean {
  return topic.startsWith(PRESENCE);
}

/** Topics longer than this cannot be watched: their presence topic would be no topic. */
export const WATCHED_TOPIC_MAX = 183;

/** Returns the topics. @throws TidingsError `invalid_request` for one that cannot be watched */
export function checkWatchable(topics: readonly string[]): readonly string[] {
  if (topics.length === 0) throw notWatchable("expected topics beside it, which are to be watched");
  if (topics.every((topic) => topic.length <= WATCHED_TOPIC_MAX)) return topics;
  throw notWatchable(`expected topics of at most ${WATCHED_TOPIC_MAX} characters beside it`);
}

function notWatchable(message: string): TidingsError {
  return new TidingsError("invalid_request", `Cannot watch who is here: ${message}`, {
    errors: [{ field: "presence", message }],
  });
}

const PRESENCE = "tidings:presence:";

/** What presence runs with. `onError` hears what is tried again at the next beat. */
export interface PresenceDeps {
  store: PresenceStore;
  clock: Clock;
  /** This gateway's name; a fresh one for each start. */
  instance: string;
  onError: (error: unknown) => void;
  times?: Partial<PresenceTimes>;
  /** @default systemChance */
  chance?: Chance;
}

/** Sessions in one statement; more go in several. */
const BATCH = 500;
const AGENT_MAX = 200;
/** Milliseconds that who watches waits for the database to know. */
const PATIENCE = 5_000;

/** The service. `open` works before it has started and while the database is away. */
export class Presence implements Service {
  readonly name = "presence";
  readonly #deps: PresenceDeps;
  readonly #times: PresenceTimes;
  readonly #open = new Map<string, SessionRecord>();
  /** Sessions that the database may know of. */
  readonly #told = new Set<string>();
  readonly #changed = new Set<string>();
  readonly #closed = new Set<string>();
  readonly #active = new Set<string>();
  #fresh = true;
  #running: Promise<void> | undefined;
  #life = new AbortController();
  #wake: (() => void) | undefined;
  #waiters: { resolve: () => void; after: number }[] = [];
  /** Counts the turns that began. */
  #turn = 0;
  #pending: number | undefined;

  constructor(deps: PresenceDeps) {
    this.#deps = deps;
    this.#times = { ...PRESENCE_TIMES, ...deps.times };
  }

  async start(): Promise<void> {
    this.#life = new AbortController();
    this.#fresh = true;
    await this.#say();
    this.#running = this.#run(this.#life.signal);
  }

  /** Says that this gateway's sessions are over, as far as the database can be reached. */
  async stop(): Promise<void> {
    if (this.#running === undefined) return;
    this.#life.abort();
    await this.#running;
    this.#running = undefined;
    for (const { resolve } of this.#waiters.splice(0)) resolve();
    try {
      await this.#deps.store.beat({ ...this.#empty(), lease: 0, fresh: true });
    } catch (error) {
      this.#deps.onError(error);
    }
  }

  /** A client connected. */
  open(session: PresentSession): PresenceHold {
    const now = this.#deps.clock.now();
    const record: SessionRecord = {
      id: session.id,
      user: session.user,
      transport: session.transport,
      agent: session.userAgent?.slice(0, AGENT_MAX) ?? null,
      since: now,
      active: now,
      topics: { [ALL]: false, [userTopic(session.user)]: false },
    };
    this.#open.set(record.id, record);
    this.#change(record);
    return {
      join: (topic, watch = false) => {
        if (record.topics[topic] === watch) return;
        record.topics[topic] = watch;
        this.#change(record);
      },
      part: (topic) => {
        if (record.topics[topic] === undefined) return;
        if (topic === ALL || topic === userTopic(record.user)) record.topics[topic] = false;
        else delete record.topics[topic];
        this.#change(record);
      },
      told: () => this.#inTime(),
      active: () => {
        record.active = this.#deps.clock.now();
        if (this.#open.has(record.id)) this.#active.add(record.id);
      },
      close: () => {
        if (!this.#open.delete(record.id)) return;
        this.#changed.delete(record.id);
        this.#active.delete(record.id);
        // one that came and went in between was never there
        if (!this.#told.delete(record.id)) return;
        this.#closed.add(record.id);
        this.#wake?.();
      },
    };
  }

  /** Resolves when everything that was known when it was called has been told to the database, or the service stops. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ resolve, after: this.#turn + 1 });
      this.#wake?.();
    });
  }

  async #inTime(): Promise<void> {
    const late = Promise.withResolvers<never>();
    const cancel = this.#deps.clock.after(PATIENCE, () => {
      late.reject(
        new TidingsError("unavailable", "Cannot tell who is here at the moment", { retryAfter: 1 }),
      );
    });
    try {
      await Promise.race([this.settled(), late.promise]);
    } finally {
      cancel();
    }
  }

  #change(record: SessionRecord): void {
    if (!this.#open.has(record.id)) return;
    this.#changed.add(record.id);
    this.#wake?.();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#pause(signal);
      if (signal.aborted) return;
      try {
        await this.#say();
      } catch (error) {
        this.#deps.onError(error);
        await this.#rest(jitter(this.#times.beat, this.#deps.chance ?? systemChance), signal, false);
      }
    }
  }

  /** Until the next beat, the next leave that is due, or a change and the moment it is gathered in. */
  async #pause(signal: AbortSignal): Promise<void> {
    const beat = jitter(this.#times.beat, this.#deps.chance ?? systemChance);
    if (!this.#hasChanges()) await this.#rest(Math.min(beat, this.#pending ?? Infinity), signal, true);
    if (this.#hasChanges()) await this.#rest(this.#times.gather, signal, false);
  }

  #hasChanges(): boolean {
    return this.#changed.size > 0 || this.#closed.size > 0 || this.#waiters.length > 0;
  }

  /** Ends early when the service stops, and where `wakeable` when there is something to tell. */
  #rest(ms: number, signal: AbortSignal, wakeable: boolean): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = () => {
        cancel();
        signal.removeEventListener("abort", done);
        this.#wake = undefined;
        resolve();
      };
      const cancel = this.#deps.clock.after(Math.max(1, Math.ceil(ms)), done);
      signal.addEventListener("abort", done);
      if (wakeable) this.#wake = done;
    });
  }

  /** Tells everything there is to tell. What fails is told again: it stays, or `fresh` covers it. */
  async #say(): Promise<void> {
    const turn = ++this.#turn;
    let more: boolean;
    do {
      if (this.#fresh) this.#sayAllAgain();
      const changed = [...this.#changed].slice(0, BATCH);
      const closed = [...this.#closed].slice(0, BATCH);
      const active = [...this.#active].slice(0, BATCH);
      for (const id of changed) {
        this.#changed.delete(id);
        this.#told.add(id);
      }
      for (const id of closed) this.#closed.delete(id);
      for (const id of active) this.#active.delete(id);
      const fresh = this.#fresh;
      more = this.#changed.size > 0 || this.#closed.size > 0;
      // until the answer is there nobody knows what was done
      this.#fresh = true;
      const result = await this.#deps.store.beat({
        ...this.#empty(),
        fresh,
        put: changed.flatMap((id) => this.#open.get(id) ?? []),
        drop: closed,
        active: Object.fromEntries(active.flatMap((id) => [[id, this.#open.get(id)?.active ?? 0]])),
      });
      this.#fresh = !result.known;
      this.#pending = result.pending;
      // what came meanwhile is gathered for the next turn
    } while (this.#fresh || more);
    const reached = this.#waiters.filter((waiter) => waiter.after <= turn);
    this.#waiters = this.#waiters.filter((waiter) => waiter.after > turn);
    for (const waiter of reached) waiter.resolve();
  }

  #sayAllAgain(): void {
    for (const id of this.#open.keys()) this.#changed.add(id);
    this.#closed.clear();
  }

  #empty() {
    const { lease, grace } = this.#times;
    return { instance: this.#deps.instance, lease, grace, put: [], drop: [], active: {}, fresh: false };
  }
}
