/**
 * A connected client: hears through the tab that holds the connection, and says what can be said over it there, the rest beside it.
 * @module
 */
import { type Chance, type Clock, systemChance } from "../clock.ts";
import type { Item } from "../notification.ts";
import {
  type ClientFrame,
  type InboxChange,
  type InboxCount,
  type MarkState,
  PATHS,
  type Publication,
  type ResetReason,
  type ServerFrame,
} from "../protocol.ts";
import { Connection } from "./connection.ts";
import { CALL, within } from "./deadline.ts";
import { Emitter, iterate } from "./events.ts";
import { call, type HttpOptions } from "./http.ts";
import type { InboxPage, InboxQuery, Marked } from "./inbox.ts";
import type { LinkTools } from "./link.ts";
import type { Transport } from "./machine.ts";
import { defaultStore, type KeyValueStore, Memory, Recent } from "./memory.ts";
import { type ConnectOptions, httpOf, transportsOf } from "./options.ts";
import { TidingsClientError } from "./problem.ts";
import { type Snapshot, Tab, tabTools } from "./tabs.ts";
import { realWorld } from "./world.ts";

/** What `on()` can hear. */
export interface ClientEvents<I extends Item = Item> {
  /** A notification, once. `present`: of all tabs it is this one that shows it and sounds. */
  item: I & { readonly present?: boolean };
  /** The counts, and what changed when it is known. */
  inbox: InboxCount & { changes?: InboxChange[] };
  /** The cursor could not be used: reload what you show. */
  reset: { reason: ResetReason };
  /** The connection changed. */
  state: Snapshot;
  /** The connection is closed for good, and why. */
  error: TidingsClientError;
  /** Each frame, for those who want to look; only in the tab that holds the connection. */
  frame: { direction: "in" | "out"; transport: Transport; frame: ServerFrame | ClientFrame };
}

/**
 * A connected client; iterating over it gives the notifications. Every call ends within a minute: `connection_lost` where the
 * gateway could not be reached or did not answer, and the gateway's own code where it said no.
 */
export interface TidingsClient<I extends Item = Item> extends AsyncIterable<I> {
  readonly snapshot: Snapshot;
  /** The returned function takes the listener away again. */
  on<K extends keyof ClientEvents<I>>(event: K, listener: (value: ClientEvents<I>[K]) => void): () => void;
  /** Notifications of one type only. */
  onType<T extends I["type"]>(type: T, listener: (item: Extract<I, { type: T }> | I) => void): () => void;
  /** Sends; resolves to the ids. A connection lost midway is tried again without sending twice. */
  publish(publication: Publication): Promise<string[]>;
  mark(what: Marked, state: MarkState): Promise<void>;
  inbox(query?: InboxQuery): Promise<InboxPage>;
  count(): Promise<InboxCount>;
  /**
   * Adds topics to this session, as soon as it is connected and over connections that break meanwhile; `follow()` is what lasts.
   * Rejects when one is not allowed, and when there was no connection in time.
   */
  subscribe(topics: string | string[], since?: string): Promise<void>;
  unsubscribe(topics: string | string[]): Promise<void>;
  follow(topic: string): Promise<void>;
  unfollow(topic: string): Promise<void>;
  close(): void;
}

/** Notifications that may wait for an iteration. */
const WAITING = 1_000;
/** Milliseconds until getToken is asked again at the start. */
const AGAIN = 2_000;

/** The client behind `connect()`. */
export class Client<I extends Item> implements TidingsClient<I> {
  readonly #emitter = new Emitter<ClientEvents<I>>();
  readonly #http: HttpOptions;
  readonly #clock: Clock;
  readonly #chance: Chance;
  readonly #closing = new AbortController();
  #tab: Tab | null = null;
  #snapshot: Snapshot = { state: "authorizing" };
  readonly #beginning: Promise<void>;

  /** Throws a TidingsClientError for settings that cannot work. */
  constructor(options: ConnectOptions) {
    this.#http = httpOf(options);
    this.#clock = this.#http.clock;
    this.#chance = options.chance ?? systemChance;
    this.#beginning = this.#begin(options, transportsOf(options));
  }

  get snapshot(): Snapshot {
    return this.#tab === null ? this.#snapshot : this.#tab.snapshot;
  }

  on<K extends keyof ClientEvents<I>>(event: K, listener: (value: ClientEvents<I>[K]) => void): () => void {
    return this.#emitter.on(event, listener);
  }

  onType<T extends I["type"]>(type: T, listener: (item: Extract<I, { type: T }> | I) => void): () => void {
    return this.on("item", (item) => item.type === type && listener(item));
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<I> {
    return iterate<I>(WAITING, (push, end) => {
      const stops = [this.on("item", push), this.on("state", ({ state }) => state === "closed" && end())];
      return () => stops.forEach((stop) => stop());
    }, this.snapshot.state === "closed");
  }

  async publish(publication: Publication): Promise<string[]> {
    // with a key of its own, sending it again sends it once
    const dedupeKey = publication.dedupeKey ?? `client:${this.#random()}${this.#random()}`;
    const keyed = { ...publication, dedupeKey };
    const said = await this.#say("publish", { op: "publish", ...keyed });
    if (said !== undefined) return said;
    const { ids } = await this.#call("publish", "POST", PATHS.notifications, {}, keyed) as { ids: string[] };
    return ids;
  }

  async mark(what: Marked, state: MarkState): Promise<void> {
    const which = typeof what === "string" ? { ids: [what] } : Array.isArray(what) ? { ids: what } : what;
    // marking twice is no error, so it can be tried on the other way
    if (await this.#say("mark", { op: "mark", ...which, state }) !== undefined) return;
    await this.#call("mark", "POST", `${PATHS.inbox}/mark`, {}, { ...which, state });
  }

  async inbox(query: InboxQuery = {}): Promise<InboxPage> {
    return await this.#call("read the inbox", "GET", PATHS.inbox, { ...query }) as InboxPage;
  }

  async count(): Promise<InboxCount> {
    return await this.#call("count the inbox", "GET", `${PATHS.inbox}/count`) as InboxCount;
  }

  async subscribe(topics: string | string[], since?: string): Promise<void> {
    await (await this.#begun("subscribe")).subscribe([topics].flat(), since);
  }

  async unsubscribe(topics: string | string[]): Promise<void> {
    await (await this.#begun("unsubscribe")).unsubscribe([topics].flat());
  }

  async follow(topic: string): Promise<void> {
    await this.#call("follow", "PUT", `${PATHS.subscriptions}/${encodeURIComponent(topic)}`);
  }

  async unfollow(topic: string): Promise<void> {
    await this.#call("unfollow", "DELETE", `${PATHS.subscriptions}/${encodeURIComponent(topic)}`);
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    if (this.#tab !== null) return this.#tab.close();
    this.#changed({ state: "closed" });
  }

  /** The tab, as soon as it is known whose it is. */
  async #begun(act: string): Promise<Tab> {
    await within(this.#clock, CALL, act, "there is no token yet; see getToken", this.#beginning);
    if (this.#tab === null) throw new TidingsClientError("closed", `Cannot ${act}: the client is closed`);
    return this.#tab;
  }

  /** Over the connection; undefined where there is none, or it broke: it has to go beside it. */
  async #say(act: string, frame: ClientFrame): Promise<string[] | undefined> {
    const connection = this.#tab?.connection;
    try {
      return connection?.talks ? await connection.request(act, frame) : undefined;
    } catch (error) {
      if ((error as TidingsClientError).code !== "connection_lost") throw error;
      return undefined;
    }
  }

  #call(act: string, method: string, path: string, query = {}, body?: unknown): Promise<unknown> {
    return call(this.#http, act, method, path, query, body);
  }

  /** Tabs are shared by person, and who the person is stands in the token: that comes first. */
  async #begin(options: ConnectOptions, transports: readonly Transport[]): Promise<void> {
    const { base, credentials } = this.#http;
    const { signal } = this.#closing;
    // not before whoever called connect() could listen
    await Promise.resolve();
    this.#changed(this.#snapshot);
    for (
      let user = options.user ?? credentials.user;
      !signal.aborted && user === undefined && !credentials.cookie;
    ) {
      try {
        await credentials.token();
        user = credentials.user ?? "";
      } catch {
        // getToken failed: the application's server may be restarting; said by the state, and tried again, unless closed meanwhile
        await this.#clock.sleep(this.#chance() * AGAIN, signal).catch(() => undefined);
      }
    }
    if (signal.aborted) return;
    // without a name nobody can tell whether two tabs are the same person's
    const name = options.user ?? credentials.user;
    const user = name ?? "";
    const recent = new Recent();
    const world = options.world ?? realWorld(this.#clock);
    const memory = new Memory(
      options.storage === null ? pageOnly() : options.storage ?? defaultStore(),
      base,
      this.#clock,
    );
    const tools: LinkTools = {
      fetch: this.#http.fetch,
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      clock: this.#clock,
    };
    const usable = tools.WebSocket === undefined && transports.length > 1
      ? transports.filter((transport) => transport !== "websocket")
      : transports;
    this.#tab = new Tab({
      tools: options.tabs === false || user === "" ? undefined : tabTools(),
      name: `tidings:${base.href}:${user}`,
      id: this.#random(),
      user: name,
      topics: options.topics ?? [],
      recent,
      world,
      clock: this.#clock,
      connect: (since, topics, connectionEars) =>
        new Connection({
          base,
          credentials,
          user,
          since: since ?? memory.cursor(user) ?? options.since,
          topics,
          transports: usable,
          memory,
          recent,
          tools,
          clock: this.#clock,
          chance: this.#chance,
          world,
          // a program has no eyes
          visible: () => globalThis.document !== undefined && this.#tab?.visible === true,
          ears: connectionEars,
        }),
      ears: this.#ears(),
    });
    this.#tab.open();
  }

  #ears(): ConstructorParameters<typeof Tab>[0]["ears"] {
    const emitter = this.#emitter;
    return {
      items: (items, _, present) => {
        for (const item of items) {
          emitter.emit("item", Object.defineProperty({ ...item } as I, "present", { value: present }));
        }
      },
      inbox: (count, changes) => emitter.emit("inbox", changes === undefined ? count : { ...count, changes }),
      reset: (reason) => emitter.emit("reset", { reason }),
      changed: (snapshot) => this.#changed(snapshot),
      frame: (direction, transport, frame) => emitter.emit("frame", { direction, transport, frame }),
    };
  }

  #changed(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.#emitter.emit("state", snapshot);
    const problem = this.#tab?.connection?.problem;
    if (snapshot.state !== "closed" || problem === undefined) return;
    const message = `Cannot stay connected: ${problem.detail ?? problem.title}`;
    this.#emitter.emit("error", new TidingsClientError(problem.code, message, { problem }));
  }

  #random(): string {
    return Math.floor(this.#chance() * 2 ** 52).toString(36);
  }
}

function pageOnly(): KeyValueStore {
  return { getItem: () => null, setItem: () => {} };
}
