/**
 * All tabs of one person in one browser as one: a Web Lock elects the tab that holds the connection, a BroadcastChannel
 * carries what it hears to the others.
 *
 * Holds: at most one tab is connected; when it goes, the next goes on from the last cursor it saw, so nothing is lost and
 * what comes twice has the same id; of all tabs exactly one is asked to present an item (toast, sound). All tabs hear the
 * topics that any of them asked for. Where Web Locks or BroadcastChannel are missing, each tab is for itself.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Item } from "../notification.ts";
import type { InboxChange, InboxCount, ResetReason } from "../protocol.ts";
import type { Connection } from "./connection.ts";
import type { ConnectionEars } from "./connection_options.ts";
import { CALL, within } from "./deadline.ts";
import type { Recent } from "./memory.ts";
import { TidingsClientError } from "./problem.ts";
import type { State, Transport } from "./machine.ts";
import type { World } from "./world.ts";

/** Where things stand, the same in every tab. */
export interface Snapshot {
  state: State;
  transport?: Transport;
  cursor?: string;
  user?: string;
  session?: string;
  topics?: string[];
  inbox?: InboxCount;
}

/** What a tab tells. */
export interface TabEars extends Pick<ConnectionEars, "frame"> {
  /** `present`: it is this tab that shows and sounds. */
  items(items: Item[], cursor: string, present: boolean): void;
  inbox(count: InboxCount, changes: InboxChange[] | undefined): void;
  reset(reason: ResetReason): void;
  changed(snapshot: Snapshot): void;
}

/** What tabs need of the browser. */
export interface TabTools {
  locks: LockManager;
  /** Opens the channel of that name. */
  channel(name: string): BroadcastChannel;
}

/** What a tab needs. */
export interface TabOptions {
  /** Undefined: this tab is for itself. */
  tools: TabTools | undefined;
  /** One name per gateway and person. */
  name: string;
  /** Who the token says this is; the gateway's word counts more. */
  user: string | undefined;
  /** This tab's own name, unlike any other's. */
  id: string;
  topics: Iterable<string>;
  recent: Recent;
  world: World;
  clock: Clock;
  /** Makes a connection that goes on from a cursor, or from where it was left off. */
  connect(since: string | undefined, topics: Iterable<string>, ears: ConnectionEars): Connection;
  ears: TabEars;
}

type Message =
  | { kind: "here"; id: string; topics: string[]; visible: boolean; looked: number }
  | { kind: "bye"; id: string }
  | { kind: "leader"; snapshot: Snapshot }
  | { kind: "items"; items: Item[]; cursor: string; presenter: string }
  | { kind: "inbox"; count: InboxCount; changes?: InboxChange[] }
  | { kind: "reset"; reason: ResetReason }
  | { kind: "subscribe" | "unsubscribe"; id: string; ref: number; topics: string[]; since?: string }
  | { kind: "done"; id: string; ref: number; error?: { code: string; message: string } };

interface Question {
  kind: "subscribe" | "unsubscribe";
  topics: string[];
  since?: string;
}

/** Waits for the leading tab's answer. */
interface Asked {
  question: Question;
  resolve(): void;
  reject(error: Error): void;
}

/** This tab. */
export class Tab {
  readonly #o: TabOptions;
  readonly #topics: Set<string>;
  readonly #tabs = new Map<string, { visible: boolean; looked: number; topics: string[] }>();
  readonly #asked = new Map<number, Asked>();
  #ref = 0;
  #looked = 0;
  #snapshot: Snapshot = { state: "idle" };
  #connection: Connection | null = null;
  #channel: BroadcastChannel | null = null;
  #release = () => {};
  readonly #closing = new AbortController();
  #unwatch = () => {};

  constructor(options: TabOptions) {
    this.#o = options;
    this.#topics = new Set(options.topics);
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** The connection, when it is this tab that holds it. */
  get connection(): Connection | null {
    return this.#connection;
  }

  open(): void {
    const { tools, name, id, world } = this.#o;
    if (tools === undefined) return this.#lead();
    this.#looked = world.hidden() ? 0 : this.#o.clock.now();
    this.#channel = tools.channel(name);
    this.#channel.onmessage = ({ data }) => this.#hear(data as Message);
    this.#unwatch = world.watch({
      online: () => {},
      offline: () => {},
      shown: () => {
        this.#looked = this.#o.clock.now();
        this.#here();
      },
      hidden: () => this.#here(),
      woke: () => {},
      leaving: () => this.#say({ kind: "bye", id }),
    });
    this.#set({ state: "connecting" });
    const { signal } = this.#closing;
    const hold = (run: string, held: () => Promise<void>) => {
      // rejected only by closing, which is what the signal is for
      tools.locks.request(run, { signal }, held).catch((error) => {
        if (!signal.aborted) throw error;
      });
    };
    // held as long as this tab lives, so that the leader can tell who is gone
    hold(`${name}#${id}`, () => {
      this.#here();
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
    });
    hold(name, () =>
      new Promise((resolve) => {
        this.#release = resolve;
        if (signal.aborted) resolve();
        else this.#lead();
      }));
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#connection?.close();
    this.#say({ kind: "bye", id: this.#o.id });
    this.#release();
    this.#unwatch();
    this.#channel?.close();
    this.#channel = null;
    for (const { reject } of this.#asked.values()) {
      reject(new TidingsClientError("closed", "Cannot subscribe: the client is closed"));
    }
    this.#asked.clear();
    if (this.#snapshot.state !== "closed") this.#set({ ...this.#snapshot, state: "closed" });
  }

  async subscribe(topics: string[], since?: string): Promise<void> {
    const more = since === undefined ? {} : { since };
    if (this.#connection === null) await this.#ask({ kind: "subscribe", topics, ...more });
    else await this.#connection.subscribe(topics, since);
    // not before: a topic that is refused must not be what the next connection begins with
    topics.forEach((topic) => this.#topics.add(topic));
  }

  unsubscribe(topics: string[]): Promise<void> {
    topics.forEach((topic) => this.#topics.delete(topic));
    return this.#connection === null ? this.#ask({ kind: "unsubscribe", topics }) : this.#leave(topics);
  }

  #lead(): void {
    const { ears, connect } = this.#o;
    const { cursor } = this.#snapshot;
    const topics = new Set(this.#topics);
    for (const tab of this.#tabs.values()) tab.topics.forEach((topic) => topics.add(topic));
    this.#connection = connect(cursor, topics, {
      items: (items, cursor) => {
        const presenter = this.#presenter();
        this.#snapshot = { ...this.#snapshot, cursor };
        this.#say({ kind: "items", items, cursor, presenter });
        ears.items(items, cursor, presenter === this.#o.id);
        this.#prune();
      },
      inbox: (count, changes) => {
        this.#snapshot = { ...this.#snapshot, inbox: count };
        this.#say({ kind: "inbox", count, ...(changes === undefined ? {} : { changes }) });
        ears.inbox(count, changes);
      },
      reset: (reason) => {
        this.#say({ kind: "reset", reason });
        ears.reset(reason);
      },
      changed: () => this.#stand(),
      frame: ears.frame,
    });
    this.#connection.open();
    this.#say({ kind: "leader", snapshot: this.#snapshot });
    // what was asked of a leader that is gone, or was not there yet
    for (const [ref, { question, resolve, reject }] of this.#asked) {
      this.#asked.delete(ref);
      this.#perform(question).then(resolve, reject);
    }
  }

  /** Takes over where the connection stands, and tells the others. */
  #stand(): void {
    const connection = this.#connection;
    if (connection === null) return;
    const { state, transport, cursor, welcome } = connection;
    const { user = this.#o.user, session, topics } = welcome;
    const { inbox } = this.#snapshot;
    const known = Object.entries({ state, transport, cursor, user, session, topics, inbox });
    const snapshot = Object.fromEntries(
      known.filter(([, value]) => value !== undefined),
    ) as unknown as Snapshot;
    this.#set(snapshot);
    // a tab that was refused for good leaves the place to those with other credentials
    if (state === "closed" && !this.#closing.signal.aborted) this.#release();
    else this.#say({ kind: "leader", snapshot });
  }

  #hear(message: Message): void {
    const { ears, recent, id } = this.#o;
    switch (message.kind) {
      case "here": {
        const { visible, looked, topics } = message;
        const known = this.#tabs.get(message.id);
        this.#tabs.set(message.id, { visible, looked, topics });
        if (this.#connection === null) return;
        if (known === undefined) {
          this.#say({ kind: "leader", snapshot: { ...this.#snapshot, ...cursorOf(this.#connection) } });
        }
        if (visible && known?.visible !== true) this.#connection.look();
        const added = topics.filter((topic) => !known?.topics.includes(topic));
        // what is forbidden is told to whoever asked by subscribe(); here it is left out
        if (added.length > 0) {
          this.#connection.subscribe(added).catch((error) => this.#say(done(message.id, 0, error)));
        }
        return;
      }
      case "bye":
        return this.#forget(message.id);
      case "leader":
        if (this.#connection !== null) return;
        // a new leader does not know the tabs yet
        if (message.snapshot.session !== this.#snapshot.session) {
          this.#here();
          for (const [ref, { question }] of this.#asked) this.#say({ ...question, id, ref });
        }
        return this.#set(message.snapshot);
      case "items": {
        if (this.#connection !== null) return;
        this.#snapshot = { ...this.#snapshot, cursor: message.cursor };
        const news = message.items.filter((item) => recent.add(item.id));
        if (news.length > 0) ears.items(news, message.cursor, message.presenter === id);
        return;
      }
      case "inbox":
        if (this.#connection !== null) return;
        this.#snapshot = { ...this.#snapshot, inbox: message.count };
        return ears.inbox(message.count, message.changes);
      case "reset":
        return this.#connection === null ? ears.reset(message.reason) : undefined;
      case "subscribe":
      case "unsubscribe": {
        if (this.#connection === null) return;
        const { topics } = message;
        const tab = this.#tabs.get(message.id);
        if (tab !== undefined && message.kind === "unsubscribe") {
          tab.topics = tab.topics.filter((topic) => !topics.includes(topic));
        }
        this.#perform(message).then(() => {
          if (tab !== undefined && message.kind === "subscribe") {
            tab.topics = [...new Set([...tab.topics, ...topics])];
          }
          this.#say(done(message.id, message.ref));
        }, (error) => this.#say(done(message.id, message.ref, error)));
        return;
      }
      case "done": {
        const asked = message.id === id ? this.#asked.get(message.ref) : undefined;
        if (asked === undefined) return;
        this.#asked.delete(message.ref);
        if (message.error === undefined) asked.resolve();
        else asked.reject(new TidingsClientError(message.error.code, message.error.message));
      }
    }
  }

  #ask(question: Question): Promise<void> {
    const ref = ++this.#ref;
    const answer = new Promise<void>((resolve, reject) => {
      this.#asked.set(ref, { question, resolve, reject });
      this.#say({ ...question, id: this.#o.id, ref });
    });
    // a little later than the leading tab, which knows better why
    const why = "the tab that holds the connection did not answer in time";
    return within(this.#o.clock, CALL + 1_000, question.kind, why, answer).finally(() =>
      this.#asked.delete(ref)
    );
  }

  #perform({ kind, topics, since }: Question): Promise<void> {
    if (kind === "unsubscribe") return this.#leave(topics);
    return this.#connection?.subscribe(topics, since) ?? Promise.resolve();
  }

  /** Leaves topics that no tab wants any more. */
  #leave(topics: readonly string[]): Promise<void> {
    const wanted = new Set(this.#topics);
    for (const tab of this.#tabs.values()) tab.topics.forEach((topic) => wanted.add(topic));
    const gone = topics.filter((topic) => !wanted.has(topic));
    return this.#connection === null || gone.length === 0
      ? Promise.resolve()
      : this.#connection.unsubscribe(gone);
  }

  #forget(id: string): void {
    const tab = this.#tabs.get(id);
    this.#tabs.delete(id);
    if (tab === undefined || this.#connection === null || this.#connection.transport === undefined) return;
    // one that fails leaves a topic too many, which the next connection does not ask for
    this.#leave(tab.topics).catch((error) => this.#say(done(id, 0, error)));
  }

  /** Whether somebody looks at any of the tabs. */
  get visible(): boolean {
    return !this.#o.world.hidden() || [...this.#tabs.values()].some((tab) => tab.visible);
  }

  /** The tab somebody looks at; of several the one looked at last; else this one. */
  #presenter(): string {
    const { id, world } = this.#o;
    let best = { id, visible: !world.hidden(), looked: this.#looked };
    for (const [other, tab] of this.#tabs) {
      if (tab.visible && (!best.visible || tab.looked > best.looked)) best = { id: other, ...tab };
    }
    return best.id;
  }

  /** Forgets tabs that went without a word. */
  async #prune(): Promise<void> {
    const { tools, name } = this.#o;
    if (tools === undefined || this.#tabs.size === 0) return;
    const { held = [] } = await tools.locks.query();
    const names = new Set(held.map((lock) => lock.name));
    for (const id of [...this.#tabs.keys()]) if (!names.has(`${name}#${id}`)) this.#forget(id);
  }

  #here(): void {
    const { id, world } = this.#o;
    const visible = !world.hidden();
    this.#say({ kind: "here", id, topics: [...this.#topics], visible, looked: this.#looked });
  }

  #say(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #set(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.#o.ears.changed(snapshot);
  }
}

/** What this browser has for tabs; undefined where something is missing. */
export function tabTools(): TabTools | undefined {
  const locks = globalThis.document === undefined ? undefined : globalThis.navigator?.locks;
  if (locks === undefined || typeof BroadcastChannel === "undefined") return undefined;
  return { locks, channel: (name) => new BroadcastChannel(name) };
}

function cursorOf(connection: Connection): { cursor?: string } {
  return connection.cursor === undefined ? {} : { cursor: connection.cursor };
}

function done(id: string, ref: number, error?: unknown): Message {
  if (error === undefined) return { kind: "done", id, ref };
  const code = error instanceof TidingsClientError ? error.code : "connection_lost";
  return { kind: "done", id, ref, error: { code, message: String((error as Error).message ?? error) } };
}
