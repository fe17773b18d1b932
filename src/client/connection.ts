/**
 * One connection to the gateway, kept up: does what `states.ts` says, keeps the cursor, drops what came twice.
 *
 * Holds: whatever the transport and however often it changes, the feed goes on from the cursor; an item is told once; the
 * cursor moves only after what lies before it was told; nothing is told after `close()`.
 * @module
 */
import type { Chance, Clock } from "../clock.ts";
import type { Item } from "../notification.ts";
import type {
  ClientFrame,
  InboxChange,
  InboxCount,
  Problem,
  ResetReason,
  ServerFrame,
  Welcome,
} from "../protocol.ts";
import type { Credentials } from "./credentials.ts";
import type { Memory, Recent } from "./memory.ts";
import { isProblem, problemOf, refusal, TidingsClientError } from "./problem.ts";
import {
  type Action,
  type Event,
  type Machine,
  machine,
  type State,
  step,
  type Transport,
} from "./states.ts";
import {
  type Ending,
  endingOf,
  feedUrl,
  type Link,
  type LinkEars,
  type LinkTools,
  requestInit,
} from "./link.ts";
import { OPEN } from "./transports.ts";
import type { World } from "./world.ts";

/** What a connection tells. */
export interface ConnectionEars {
  items(items: Item[], cursor: string): void;
  inbox(count: InboxCount, changes: InboxChange[] | undefined): void;
  reset(reason: ResetReason): void;
  changed(): void;
  /** Every frame, as it travels. */
  frame(direction: "in" | "out", transport: Transport, frame: ServerFrame | ClientFrame): void;
}

/** What a connection needs. */
export interface ConnectionOptions {
  base: URL;
  credentials: Credentials;
  /** The name under which the cursor is kept. */
  user: string;
  since: string | undefined;
  topics: Iterable<string>;
  transports: readonly Transport[];
  memory: Memory;
  /** What was told already, by this connection or by one before it. */
  recent: Recent;
  tools: LinkTools;
  clock: Clock;
  chance: Chance;
  world: World;
  /** Whether somebody looks at any page of this connection. @default nobody does */
  visible?: () => boolean;
  ears: ConnectionEars;
}

/** Milliseconds: for an answer, for a ping, between two looks at whether to store and acknowledge the cursor. */
const ANSWER = 15_000;
const PING = 1_500;
const SETTLE = 200;

interface Waiting {
  resolve(ids: string[]): void;
  reject(error: TidingsClientError): void;
  act: string;
}

/** The connection; `open()` once, `close()` at any time. */
export class Connection {
  readonly #o: ConnectionOptions;
  #machine: Machine;
  #cursor: string | undefined;
  readonly #topics: Set<string>;
  readonly #waiting = new Map<string, Waiting>();
  readonly #hoping: (() => void)[] = [];
  #ref = 0;
  #welcome: Partial<Welcome> = {};
  #problem: Problem | undefined;
  #link: Link | null = null;
  #probe: { link: Link; welcome: Partial<Welcome> | null } | null = null;
  #heard = 0;
  readonly #cancel: Record<"timer" | "silence" | "ping" | "renewal" | "settle", () => void> = {
    timer: () => {},
    silence: () => {},
    ping: () => {},
    renewal: () => {},
    settle: () => {},
  };
  #settling = false;
  #unwatch = () => {};

  constructor(options: ConnectionOptions) {
    this.#o = options;
    this.#cursor = options.since;
    this.#topics = new Set(options.topics);
    this.#machine = machine(options.transports, options.memory.transport(options.world.network()));
  }

  get state(): State {
    return this.#machine.state;
  }

  /** The transport in use; undefined while there is none. */
  get transport(): Transport | undefined {
    const { state, transports, index } = this.#machine;
    return state === "live" || state === "probing" ? transports[index] : undefined;
  }

  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** What the gateway said when this session began. */
  get welcome(): Partial<Welcome> {
    return this.#welcome;
  }

  /** Why it is closed, when the gateway was the reason. */
  get problem(): Problem | undefined {
    return this.#problem;
  }

  open(): void {
    this.#unwatch = this.#o.world.watch({
      online: () => {
        this.#on({ type: "online" });
        // perhaps on another network than before
        this.#check();
      },
      offline: () => this.#on({ type: "offline" }),
      shown: () => this.look(),
      hidden: () => {},
      woke: () => this.#on({ type: "woke" }),
      leaving: () => this.#settle(),
    });
    this.#on({ type: "open" });
  }

  close(): void {
    this.#on({ type: "close" });
  }

  /** Somebody looks at a page: what was waiting tries now, what is live has to prove it. */
  look(): void {
    this.#on({ type: "shown" });
    this.#check();
    // what came while nobody looked is seen now
    if (this.#cursor !== undefined) this.#move(this.#cursor);
  }

  #check(): void {
    if (this.#link === null || this.transport === undefined) return;
    if (this.#link.send !== undefined) this.#ping(() => this.#on({ type: "woke" }));
    else if (this.#o.clock.now() - this.#heard > ANSWER) this.#on({ type: "renew" });
  }

  /** Adds topics to the feed; `since` as for the feed, for these topics only. Rejects when the token does not allow one. */
  async subscribe(topics: readonly string[], since?: string): Promise<void> {
    const added = topics.filter((topic) => !this.#topics.has(topic));
    if (added.length === 0 && since === undefined) return;
    await this.#whenLive("subscribe");
    if (this.talks) {
      const frame: ClientFrame = { op: "subscribe", topics: [...topics], ...(since ? { since } : {}) };
      await this.request("subscribe", frame).catch((error: TidingsClientError) => {
        if (error.code !== "cursor_reset") throw error;
        // subscribed nevertheless, from here on
        this.#o.ears.reset("unknown");
      });
      added.forEach((topic) => this.#topics.add(topic));
      return;
    }
    // asked beside the feed, which a refusal would end; its answer is also what these topics have since then
    const { credentials, tools, base } = this.#o;
    const token = await credentials.token();
    const url = feedUrl({ base, token, since: since ?? "now", topics }, { wait: "0" });
    const response = await tools.fetch(url, requestInit(token, { accept: "application/json" }));
    if (!response.ok) {
      const ending = await endingOf(response);
      if (ending.type === "refused") throw refusal("subscribe", ending.problem);
      throw new TidingsClientError(
        "connection_lost",
        "Cannot subscribe: the gateway cannot be reached; try again",
      );
    }
    const answer = await response.json() as { items?: Item[] };
    added.forEach((topic) => this.#topics.add(topic));
    if (since !== undefined && this.#cursor !== undefined) this.#items(answer.items ?? [], this.#cursor);
    this.#on({ type: "renew" });
  }

  async unsubscribe(topics: readonly string[]): Promise<void> {
    const gone = topics.filter((topic) => this.#topics.delete(topic));
    if (gone.length === 0) return;
    if (this.talks) await this.request("unsubscribe", { op: "unsubscribe", topics: gone });
    else this.#on({ type: "renew" });
  }

  /** Whether `request()` can be used at the moment. */
  get talks(): boolean {
    return this.transport !== undefined && this.#link?.send !== undefined;
  }

  /** Sends a frame and waits for its `ok`; resolves to the ids it brought. */
  request(act: string, frame: ClientFrame): Promise<string[]> {
    return new Promise((resolve, reject) => {
      const ref = String(++this.#ref);
      const cancel = this.#o.clock.after(ANSWER, () => {
        this.#waiting.delete(ref);
        reject(
          new TidingsClientError("connection_lost", `Cannot ${act}: the gateway did not answer in time`),
        );
      });
      this.#waiting.set(ref, {
        act,
        resolve: (ids) => (cancel(), resolve(ids)),
        reject: (error) => (cancel(), reject(error)),
      });
      this.#send({ ...frame, ref });
    });
  }

  #whenLive(act: string): Promise<void> {
    if (this.transport !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#hoping.push(() => {
        if (this.transport !== undefined) resolve();
        else reject(new TidingsClientError("closed", `Cannot ${act}: the connection is closed`));
      });
      if (this.state === "closed") this.#hope();
    });
  }

  #hope(): void {
    for (const run of this.#hoping.splice(0)) run();
  }

  #on(event: Event): void {
    const { clock, chance, world, credentials } = this.#o;
    const before = this.#machine;
    const { machine, actions, timer } = step(before, event, {
      now: clock.now(),
      chance,
      online: world.online(),
      hidden: world.hidden(),
      renewable: credentials.renewable,
    });
    this.#machine = machine;
    if (timer !== undefined) {
      this.#cancel.timer();
      this.#cancel.timer = timer === null
        ? () => {}
        : clock.after(timer, () => this.#on({ type: "elapsed" }));
    }
    for (const action of actions) this.#do(action);
    if (machine.state === before.state && machine.index === before.index) return;
    if (machine.state === "live" || machine.state === "closed") this.#hope();
    this.#o.ears.changed();
  }

  #do(action: Action): void {
    switch (action.do) {
      case "authorize":
        return void this.#authorize(action.fresh);
      case "connect":
        this.#drop();
        this.#link = this.#open(action.transport, () => this.#link, {
          welcomed: (welcome) => this.#welcomed(welcome),
          ended: (ending) => this.#on(ending),
        });
        return;
      case "drop":
        return this.#drop();
      case "probe":
        this.#dropProbe();
        this.#probe = {
          welcome: null,
          link: this.#open(action.transport, () => this.#probe?.link ?? null, {
            welcomed: (welcome) => {
              if (this.#probe !== null) this.#probe.welcome = welcome;
              this.#on({ type: "probed" });
            },
            ended: () => this.#on({ type: "unprobed" }),
          }),
        };
        return;
      case "drop_probe":
        return this.#dropProbe();
      case "adopt": {
        const probe = this.#probe;
        this.#probe = null;
        this.#drop();
        if (probe === null) return;
        this.#link = probe.link;
        this.#greet(probe.welcome ?? {});
        return;
      }
      case "remember":
        return this.#o.memory.keepTransport(this.#o.world.network(), action.transport, action.probes);
      case "end":
        this.#problem = action.problem;
        this.#settle();
        this.#drop();
        this.#dropProbe();
        this.#unwatch();
        for (const cancel of Object.values(this.#cancel)) cancel();
    }
  }

  async #authorize(fresh: boolean): Promise<void> {
    const asked = this.#machine;
    let event: Event = { type: "authorized" };
    try {
      await this.#o.credentials.token(fresh);
    } catch (error) {
      // a token that cannot be renewed ends it; one that cannot be had right now is asked for again
      event = error instanceof TidingsClientError && error.code === "token_expired"
        ? { type: "refused", problem: problemOf(401, error.code, error.message) }
        : { type: "unauthorized" };
    }
    if (this.#machine === asked) this.#on(event);
  }

  #open(
    transport: Transport,
    current: () => Link | null,
    ears: Pick<LinkEars, "welcomed" | "ended">,
  ): Link {
    const { base, credentials, tools, clock } = this.#o;
    const holder: { link: Link | null; over: boolean } = { link: null, over: false };
    const mine = () => !holder.over && (holder.link === current() || holder.link === this.#link);
    const request = {
      base,
      token: undefined as string | undefined,
      since: this.#cursor,
      topics: [...this.#topics],
    };
    let close = () => {};
    let send: ((frame: ClientFrame) => void) | undefined;
    let patience: number | undefined;
    const begin = (token: string | undefined) => {
      if (holder.over) return;
      const link = OPEN[transport]({ ...request, token }, {
        welcomed: (welcome) => {
          if (!mine()) return;
          patience = link.patience;
          ears.welcomed(welcome);
        },
        frame: (frame) => {
          if (!mine()) return;
          this.#o.ears.frame("in", transport, frame);
          this.#frame(frame);
        },
        alive: () => {
          if (mine()) this.#heard = clock.now();
        },
        ended: (ending: Ending) => {
          if (!mine()) return;
          // once adopted, a probe ends like any other
          if (holder.link === this.#link) this.#on(ending);
          else ears.ended(ending);
        },
      }, tools);
      close = () => link.close();
      send = link.send?.bind(link);
    };
    holder.link = {
      get patience() {
        return patience;
      },
      close: () => {
        holder.over = true;
        close();
      },
    };
    if (transport === "websocket") {
      holder.link.send = (frame) => {
        this.#o.ears.frame("out", transport, frame);
        send?.(frame);
      };
    }
    credentials.token().then(begin, () => mine() && ears.ended({ type: "lost" }));
    return holder.link;
  }

  #welcomed(welcome: Partial<Welcome>): void {
    this.#greet(welcome);
    this.#on({ type: "welcomed" });
  }

  #greet(welcome: Partial<Welcome>): void {
    const { clock, credentials } = this.#o;
    this.#welcome = { ...this.#welcome, ...welcome };
    this.#heard = clock.now();
    if (this.#cursor === undefined && welcome.cursor !== undefined) this.#move(welcome.cursor);
    if (welcome.inbox !== undefined) this.#o.ears.inbox(welcome.inbox, undefined);
    this.#cancel.silence();
    this.#watchSilence();
    this.#cancel.renewal();
    this.#cancel.renewal = credentials.whenDue(() => void this.#renew());
  }

  #frame(frame: ServerFrame): void {
    switch (frame.op) {
      case "items":
        return this.#items(frame.items, frame.cursor);
      case "cursor":
        return this.#move(frame.cursor);
      case "inbox":
        return this.#o.ears.inbox({ unread: frame.unread, unseen: frame.unseen }, frame.changes);
      case "reset":
        this.#move(frame.cursor);
        return this.#o.ears.reset(frame.reason);
      case "reconnect":
        return this.#on({ type: "again", within: frame.after * 1000 });
      case "ok":
      case "error":
        return this.#answered(frame);
    }
  }

  #items(items: Item[], cursor: string): void {
    const news = items.filter((item) => this.#o.recent.add(item.id));
    if (news.length > 0) this.#o.ears.items(news, cursor);
    this.#move(cursor);
  }

  #move(cursor: string): void {
    if (cursor === "" || cursor === undefined) return;
    this.#cursor = cursor;
    if (this.#settling) return;
    this.#settling = true;
    this.#cancel.settle = this.#o.clock.after(SETTLE, () => this.#settle());
  }

  /** Stores the cursor, and tells the gateway how far it was heard. */
  #settle(): void {
    if (!this.#settling || this.#cursor === undefined) return;
    this.#cancel.settle();
    this.#settling = false;
    this.#o.memory.keepCursor(this.#o.user, this.#cursor);
    if (!this.talks) return;
    const visible = this.#o.visible?.() === true;
    this.#send({ op: "ack", cursor: this.#cursor, ...(visible ? { visible } : {}) });
  }

  #answered(frame: Extract<ServerFrame, { op: "ok" | "error" }>): void {
    const waiting = frame.ref === undefined ? undefined : this.#waiting.get(frame.ref);
    if (waiting === undefined) return;
    this.#waiting.delete(frame.ref!);
    if (frame.op === "ok") waiting.resolve(frame.ids ?? []);
    else if (isProblem(frame.problem)) waiting.reject(refusal(waiting.act, frame.problem));
    else {waiting.reject(
        new TidingsClientError("unexpected_answer", `Cannot ${waiting.act}: no reason was given`),
      );}
  }

  #watchSilence(): void {
    const link = this.#link;
    if (link === null || link.patience === undefined) return;
    const { clock } = this.#o;
    const left = Math.max(0, this.#heard + link.patience - clock.now());
    this.#cancel.silence = clock.after(left + 1, () => {
      if (this.#link !== link) return;
      if (clock.now() - this.#heard <= link.patience!) return this.#watchSilence();
      if (link.send === undefined) return this.#on({ type: "mute" });
      this.#ping(() => this.#on({ type: "mute" }), () => this.#watchSilence());
    });
  }

  /** Asks for a sign of life. */
  #ping(dead: () => void, alive: () => void = () => {}): void {
    const link = this.#link;
    const { clock } = this.#o;
    const asked = clock.now();
    this.#send({ op: "ping" });
    this.#cancel.ping();
    this.#cancel.ping = clock.after(PING, () => {
      if (this.#link !== link) return;
      if (this.#heard >= asked) alive();
      else dead();
    });
  }

  /** A fresh token before the old one expires; the feed does not stop for it where it can be told. */
  async #renew(): Promise<void> {
    const link = this.#link;
    try {
      const token = await this.#o.credentials.token();
      if (this.#link !== link || link === null || token === undefined) return;
      if (this.talks) await this.request("renew the token", { op: "auth", token });
      else this.#on({ type: "renew" });
    } catch {
      // not now: ask again soon, and when it is too late the gateway says `expired`
      if (this.#link !== link || link === null) return;
      const { clock, chance } = this.#o;
      this.#cancel.renewal = clock.after(1_000 + chance() * 4_000, () => void this.#renew());
      return;
    }
    if (this.#link === link) this.#cancel.renewal = this.#o.credentials.whenDue(() => void this.#renew());
  }

  #send(frame: ClientFrame): void {
    this.#link?.send?.(frame);
  }

  #drop(): void {
    const link = this.#link;
    this.#link = null;
    link?.close();
    this.#cancel.silence();
    this.#cancel.ping();
    this.#cancel.renewal();
    if (link === null) return;
    for (const { reject, act } of this.#waiting.values()) {
      reject(
        new TidingsClientError("connection_lost", `Cannot ${act}: the connection was lost before the answer`),
      );
    }
    this.#waiting.clear();
  }

  #dropProbe(): void {
    const probe = this.#probe;
    this.#probe = null;
    probe?.link.close();
  }
}
