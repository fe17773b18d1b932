/**
 * One connection to the gateway, kept up: does what `states.ts` says, keeps the cursor, drops what came twice.
 *
 * Holds: whatever the transport and however often it changes, the feed goes on from the cursor; an item is told once; the
 * cursor moves only after what lies before it was told; nothing is told after `close()`.
 * @module
 */
import type { Item } from "../notification.ts";
import { type ClientFrame, PATHS, type Problem, type ServerFrame, type Welcome } from "../protocol.ts";
import { Bookmark } from "./bookmark.ts";
import type { ConnectionOptions } from "./connection_options.ts";
import { CALL, within } from "./deadline.ts";
import { call } from "./http.ts";
import type { Link, LinkEars } from "./link.ts";
import { type Action, type Event, type Machine, machine, type State, type Transport } from "./machine.ts";
import { problemOf, TidingsClientError } from "./problem.ts";
import { Pulse } from "./pulse.ts";
import { Requests } from "./requests.ts";
import { step } from "./states.ts";
import { openLink } from "./transports.ts";

/** Milliseconds until a call that failed for no reason of its own is tried again, at most. */
const AGAIN = 1_000;
/** A link that cannot be asked for a sign of life, and was silent for so many milliseconds, is opened anew. */
const SILENT = 15_000;

/** The connection; `open()` once, `close()` at any time. */
export class Connection {
  readonly #o: ConnectionOptions;
  #machine: Machine;
  readonly #bookmark: Bookmark;
  readonly #topics: Set<string>;
  readonly #requests: Requests;
  readonly #pulse: Pulse;
  readonly #hoping: (() => void)[] = [];
  #welcome: Partial<Welcome> = {};
  #problem: Problem | undefined;
  #link: Link | null = null;
  #probe: Link | null = null;
  /** What the probe was welcomed with. */
  #probed: Partial<Welcome> = {};
  #cancelTimer = () => {};
  #cancelRenewal = () => {};
  #unwatch = () => {};

  constructor(options: ConnectionOptions) {
    this.#o = options;
    this.#bookmark = new Bookmark(options.clock, options.since, (cursor) => this.#keep(cursor));
    this.#topics = new Set(options.topics);
    this.#requests = new Requests(options.clock);
    this.#pulse = new Pulse(options.clock, () => this.#on({ type: "mute" }));
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
    return this.#bookmark.cursor;
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
      leaving: () => this.#bookmark.settle(),
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
    this.#bookmark.move(this.cursor);
  }

  #check(): void {
    if (this.#link === null || this.transport === undefined) return;
    if (this.#link.send !== undefined) this.#pulse.ping(() => this.#on({ type: "woke" }));
    else if (this.#pulse.silence > SILENT) this.#on({ type: "renew" });
  }

  /**
   * Adds topics to the feed; `since` as for the feed, for these topics only. Rejects when the token does not allow one, and when
   * it came to nothing in time; a connection that is lost meanwhile is waited for.
   */
  async subscribe(topics: readonly string[], since?: string): Promise<void> {
    const added = topics.filter((topic) => !this.#topics.has(topic));
    if (added.length === 0 && since === undefined) return;
    const { clock, chance } = this.#o;
    const act = "subscribe";
    const end = clock.now() + CALL;
    for (;;) {
      await within(
        clock,
        end - clock.now(),
        act,
        "there was no connection in time; try again",
        this.#whenLive(act),
      );
      try {
        const tell = await this.#join(act, topics, since);
        // closed meanwhile: nothing is told, and waiting for the next connection says so
        if (this.state === "closed") continue;
        tell();
        added.forEach((topic) => this.#topics.add(topic));
        // a link that was opened before does not bring them
        if (!this.talks || this.#probe !== null) this.#on({ type: "renew" });
        return;
      } catch (error) {
        const { problem } = error as TidingsClientError;
        if (problem !== undefined && problem.status < 500 || clock.now() >= end) throw error;
        await clock.sleep(chance() * AGAIN);
      }
    }
  }

  /** Asks for topics; resolves to what tells what came of it. */
  async #join(act: string, topics: readonly string[], since: string | undefined): Promise<() => void> {
    const wanted = since === undefined ? {} : { since };
    try {
      if (this.talks) {
        await this.request(act, { op: "subscribe", topics: [...topics], ...wanted });
        return () => {};
      }
      // asked beside the feed, which a refusal would end; its answer is also what these topics have since then
      const query = { since: "now", ...wanted, topics: topics.join(), wait: 0 };
      const { items } = await call(
        { ...this.#o, fetch: this.#o.tools.fetch },
        act,
        "GET",
        PATHS.feed,
        query,
      ) as { items: Item[] };
      return () => since !== undefined && this.cursor !== undefined && this.#items(items, this.cursor);
    } catch (error) {
      if ((error as TidingsClientError).code !== "cursor_reset") throw error;
      // subscribed nevertheless, from here on
      return () => this.#o.ears.reset("unknown");
    }
  }

  async unsubscribe(topics: readonly string[]): Promise<void> {
    const gone = topics.filter((topic) => this.#topics.delete(topic));
    if (gone.length === 0) return;
    try {
      if (this.talks) return void await this.request("unsubscribe", { op: "unsubscribe", topics: gone });
    } catch (error) {
      if ((error as TidingsClientError).problem !== undefined) throw error;
    }
    // what could not be said is not asked for by the next connection
    this.#on({ type: "renew" });
  }

  /** Whether `request()` can be used at the moment. */
  get talks(): boolean {
    return this.transport !== undefined && this.#link?.send !== undefined;
  }

  /** Sends a frame and waits for its `ok`; resolves to the ids it brought. */
  request(act: string, frame: ClientFrame): Promise<string[]> {
    return this.#requests.ask(act, (ref) => this.#send({ ...frame, ref }));
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
      this.#cancelTimer();
      this.#cancelTimer = timer === null ? () => {} : clock.after(timer, () => this.#on({ type: "elapsed" }));
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
        this.#link = this.#open(action.transport, (welcome) => {
          this.#greet(welcome);
          this.#on({ type: "welcomed" });
        });
        return;
      case "drop":
        return this.#drop();
      case "probe":
        this.#dropProbe();
        this.#probe = this.#open(action.transport, (welcome) => {
          this.#probed = welcome;
          this.#on({ type: "probed" });
        });
        return;
      case "drop_probe":
        return this.#dropProbe();
      case "adopt": {
        const link = this.#probe;
        this.#probe = null;
        this.#drop();
        this.#link = link;
        return this.#greet(this.#probed);
      }
      case "remember":
        return this.#o.memory.keepTransport(this.#o.world.network(), action.transport, action.probes);
      case "end":
        this.#problem = action.problem;
        this.#bookmark.settle();
        this.#drop();
        this.#dropProbe();
        this.#unwatch();
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

  #open(transport: Transport, welcomed: LinkEars["welcomed"]): Link {
    const { base, credentials, tools, ears } = this.#o;
    const request = { base, since: this.cursor, topics: [...this.#topics] };
    const link: Link = openLink(
      transport,
      request,
      {
        welcomed,
        frame: (frame) => {
          ears.frame("in", transport, frame);
          this.#frame(frame);
        },
        sent: (frame) => ears.frame("out", transport, frame),
        alive: () => link === this.#link && this.#pulse.beat(),
        // once adopted, a probe ends like any other
        ended: (ending) => this.#on(link === this.#probe ? { type: "unprobed" } : ending),
      },
      tools,
      credentials,
    );
    return link;
  }

  #greet(welcome: Partial<Welcome>): void {
    this.#welcome = { ...this.#welcome, ...welcome };
    if (this.cursor === undefined) this.#bookmark.move(welcome.cursor);
    if (welcome.inbox !== undefined) this.#o.ears.inbox(welcome.inbox, undefined);
    this.#pulse.watch(this.#link);
    this.#renewInTime();
  }

  #frame(frame: ServerFrame): void {
    switch (frame.op) {
      case "items":
        return this.#items(frame.items, frame.cursor);
      case "cursor":
        return this.#bookmark.move(frame.cursor);
      case "inbox":
        return this.#o.ears.inbox({ unread: frame.unread, unseen: frame.unseen }, frame.changes);
      case "reset":
        this.#bookmark.move(frame.cursor);
        return this.#o.ears.reset(frame.reason);
      case "reconnect":
        return this.#on({ type: "again", within: frame.after * 1000 });
      case "ok":
      case "error":
        return this.#requests.answered(frame);
    }
  }

  #items(items: Item[], cursor: string): void {
    const news = items.filter((item) => this.#o.recent.add(item.id));
    if (news.length > 0) this.#o.ears.items(news, cursor);
    this.#bookmark.move(cursor);
  }

  /** Stores the cursor, and tells the gateway how far it was heard. */
  #keep(cursor: string): void {
    this.#o.memory.keepCursor(this.#o.user, cursor);
    if (!this.talks) return;
    const visible = this.#o.visible?.() === true;
    this.#send({ op: "ack", cursor, ...(visible ? { visible } : {}) });
  }

  #renewInTime(): void {
    this.#cancelRenewal();
    this.#cancelRenewal = this.#o.credentials.whenDue(() => void this.#renew());
  }

  /** A fresh token before the old one expires; the feed does not stop for it where it can be told. */
  async #renew(): Promise<void> {
    const link = this.#link;
    try {
      const token = await this.#o.credentials.token(true);
      if (this.#link !== link || link === null || token === undefined) return;
      if (this.talks) await this.request("renew the token", { op: "auth", token });
      else this.#on({ type: "renew" });
    } catch {
      // not now: ask again soon, and when it is too late the gateway says `expired`
      if (this.#link !== link || link === null) return;
      const { clock, chance } = this.#o;
      this.#cancelRenewal = clock.after(1_000 + chance() * 4_000, () => void this.#renew());
      return;
    }
    if (this.#link === link) this.#renewInTime();
  }

  #send(frame: ClientFrame): void {
    this.#link?.send?.(frame);
  }

  #drop(): void {
    const link = this.#link;
    this.#link = null;
    link?.close();
    this.#pulse.watch(null);
    this.#cancelRenewal();
    this.#requests.lost();
  }

  #dropProbe(): void {
    this.#probe?.close();
    this.#probe = null;
  }
}
