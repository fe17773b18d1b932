/**
 * One client's reading of the log, whatever its transport: the one place where history meets live.
 *
 * A session is either *live*, and the hub hands it its rows; or it *catches up*: it reads pages after its own position, from
 * the hub's window or from the database, until it has reached the hub's position, and is live from that moment on. Nothing
 * is buffered for it. Opening with an old cursor, a slow reader, a new subscription and a followed topic are all the same
 * thing: catching up from a position.
 *
 * Invariants:
 * - Everything behind `position` is delivered or was not meant for it; nothing after it is delivered. So its cursor may be
 *   handed out at any time.
 * - A row that the client holds already (its cursor is ahead of this hub) is not delivered again.
 * - After the sink said "no more", nothing is written until it has drained.
 * @module
 */
import { TidingsError } from "../errors.ts";
import type { InboxCount, ResetReason } from "../protocol.ts";
import { Batch } from "../log/batch.ts";
import { covers, type Cursor, formatCursor, isBehind, isPast, merge } from "../log/cursor.ts";
import { isControl, type Row } from "../log/row.ts";
import { type Backfill, begin, giveUp } from "./backfill.ts";
import { Ending } from "./ending.ts";
import { type Patience, readPatiently, readWindow, type Span } from "./history.ts";
import type { Hub, Subscriber } from "./hub.ts";
import { type Followed, Interests } from "./interests.ts";
import { presenceTopic } from "./presence.ts";
import type { InboxEvent, Sink } from "./sink.ts";
import { Valve } from "./valve.ts";

/** Steers a session by a `tidings.*` row of its own log. */
export type Control = (row: Row, session: Session) => void;

/** What a session needs. */
export interface SessionDeps extends Patience {
  hub: Hub;
  control: Control;
  /** Its cursor could not be used. */
  reset?(reason: ResetReason): void;
}

/** One client's reading. */
export class Session implements Subscriber {
  /** Unique over all gateways. */
  readonly id = crypto.randomUUID();
  readonly #deps: SessionDeps;
  readonly #sink: Sink;
  readonly #valve: Valve;
  readonly #interests: Interests;
  readonly #ending = new Ending();
  /** Where it began, or began anew. */
  #start: Cursor;
  /** Made when it is asked for: most sessions never are. */
  #withdrawals: ((topics: readonly string[]) => void)[] | undefined;
  /** Its own position while it catches up; undefined: live, the hub's. */
  #position: Cursor | undefined;
  /** What the client holds beyond the hub's position. */
  #ahead: Cursor | undefined;
  #catching = false;
  #opened = false;
  /** Another history began before it was opened. */
  #missed = false;
  /** Counts resets: what was read before one is void. */
  #resets = 0;
  #backfills: Backfill[] = [];
  #hold: Promise<void> | undefined;
  #horizon: number;
  /** What the person does not want to see, when they said so. */
  screen: ((row: Row) => boolean) | undefined;
  /** When the token that the session goes by was issued (ms since the epoch), where it says so. */
  issuedAt: number | undefined;

  /** `topics` are those that it asks for; `followed` those that the person follows. */
  constructor(
    deps: SessionDeps,
    sink: Sink,
    start: Cursor,
    topics: Iterable<Omit<Followed, "until">>,
    followed: Iterable<Followed> = [],
  ) {
    this.#deps = deps;
    this.#sink = sink;
    this.#valve = new Valve(sink);
    this.#start = start;
    this.#position = start;
    this.#horizon = deps.hub.horizon;
    this.#interests = new Interests(deps.hub, this);
    deps.hub.watch(this);
    this.subscribe(topics);
    for (const stretch of followed) this.#interests.follow(stretch, start);
  }

  /** Begins to deliver. */
  open(): void {
    this.#opened = true;
    if (this.#missed) this.#sink.reset("history", this.cursor);
    this.#catchUp();
  }

  get topics(): readonly string[] {
    return this.#interests.topics;
  }

  has(topic: string): boolean {
    return this.#interests.has(topic);
  }

  get closed(): boolean {
    return this.#ending.over;
  }

  /** Aborted when the session ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Runs once when the session ends; at once when it has. */
  onEnd(run: () => void): void {
    this.#ending.on(run);
  }

  /** Takes topics away that the person may no longer read, and who is in them. */
  withdraw(topics: readonly string[]): void {
    this.unsubscribe([...topics, ...topics.map(presenceTopic)]);
    for (const run of this.#withdrawals ?? []) run(topics);
  }

  /** Runs whenever topics are withdrawn. */
  onWithdraw(run: (topics: readonly string[]) => void): void {
    (this.#withdrawals ??= []).push(run);
  }

  /** Whether its sink was given any row. */
  get wasSent(): boolean {
    return this.#valve.used;
  }

  /** Grows whenever its topics change. */
  get revision(): number {
    return this.#interests.revision;
  }

  /** Whether the hub delivers to it. */
  get live(): boolean {
    return this.#position === undefined;
  }

  /** Everything behind this is delivered. */
  get position(): Cursor {
    if (this.#position !== undefined) return this.#position;
    const { position } = this.#deps.hub;
    return this.#ahead === undefined ? position : merge(this.#ahead, position);
  }

  /** The position, written. */
  get cursor(): string {
    return formatCursor(this.position);
  }

  /** Adds topics from the session's position on; those of `since`, from there (a place that is not reached yet). */
  subscribe(topics: Iterable<Omit<Followed, "until">>): void {
    for (const { topic, since } of topics) this.#interests.ask(topic, this.position, since);
  }

  unsubscribe(topics: Iterable<string>): void {
    for (const topic of topics) this.#interests.drop(topic);
  }

  /** The person follows from `since` on. What the session asked for itself stays as it is. */
  follow(id: string, topic: string, since: Cursor): void {
    if (!this.#interests.lacks(id, topic)) return;
    this.#enqueue({ topics: [topic], since, followed: id, resolve: () => {} });
  }

  /**
   * The person no longer follows: what is behind `until` still counts.
   * @returns up to where the client has been given the topic, be it behind `until` or not
   */
  unfollow(id: string, topic: string, until: Cursor): Cursor {
    const { position } = this;
    // Who opened after the unfollow never went beyond its end; the client may have before, up to where it goes on.
    return this.#interests.unfollow(id, topic, until, position) ? position : this.#start;
  }

  /**
   * Adds topics and delivers their rows from `since` up to the session's position, before anything newer of any topic.
   * Until it resolves the session's cursor says nothing about these topics. Resolves as well when the session ends.
   */
  backfill(topics: readonly string[], since: Cursor): Promise<void> {
    return new Promise((resolve) => this.#enqueue({ topics, since, resolve }));
  }

  /** Delivers nothing more until this has settled, which must not reject. */
  holdFor(work: Promise<void>): void {
    this.#position = this.position;
    const before = this.#hold;
    this.#hold = before === undefined ? work : before.then(() => work);
    this.#catchUp();
  }

  /** The sink can take more. */
  drained(): void {
    this.#valve.drained();
  }

  /** For the control: tells the client of its inbox, in the place of the row that it steers by. */
  inbox(event: InboxEvent): void {
    if (this.closed || this.#valve.inbox(event)) return;
    this.#position ??= this.position;
    this.#catchUp();
  }

  /** Tells the client its counts; one that takes no more at the moment gets the last of them later. */
  tell(count: InboxCount): void {
    if (this.#valve.shut) this.#valve.owe(count);
    else this.inbox(count);
  }

  /** From the hub. */
  deliver(batch: Batch): void {
    if (this.#position !== undefined || this.closed) return;
    let mine = batch;
    if (this.#ahead !== undefined) {
      const held = this.#ahead;
      mine = batch.filter((row) => !isBehind(held, row), held);
      if (covers(this.#deps.hub.position, held)) this.#ahead = undefined;
    }
    mine = this.#sift(mine);
    if (mine.rows.length > 0 && !this.#emit(mine)) this.#catchUp();
    else this.#interests.settle(this.position);
  }

  /** From the hub: another history began. */
  restart(): void {
    if (!this.closed) this.#reset("history");
  }

  /** Ends without telling the sink. */
  end(): void {
    if (!this.#ending.come()) return;
    this.#deps.hub.unwatch(this);
    this.#interests.leave();
    for (const { resolve } of this.#backfills.splice(0)) resolve();
    this.#valve.end();
  }

  /** Ends and tells the sink why. */
  close(error: TidingsError): void {
    if (this.closed) return;
    this.end();
    this.#sink.close(error);
  }

  #enqueue(backfill: Backfill): void {
    this.#position = this.position;
    this.#backfills.push(backfill);
    this.#catchUp();
  }

  /** Drops what is outside of the topics' stretches, and what the person does not want to see. */
  #sift(batch: Batch): Batch {
    const { screen } = this;
    const mine = this.#interests.sift(batch);
    return screen === undefined ? mine : mine.filter((row) => isControl(row) || !screen(row));
  }

  /** Begins again at the hub's position. */
  #reset(reason: ResetReason): void {
    const { hub } = this.#deps;
    this.#resets++;
    this.#deps.reset?.(reason);
    this.#position = hub.position;
    this.#start = hub.position;
    this.#ahead = undefined;
    if (reason === "history") this.#interests.startOver();
    this.#horizon = hub.horizon;
    for (const one of this.#backfills.splice(0)) giveUp(one, this.#interests, this.position);
    if (this.#opened) this.#sink.reset(reason, this.cursor);
    else this.#missed = true;
    this.#catchUp();
  }

  /**
   * Hands rows to the sink; control rows to the control. False: the session is no longer live (the sink is full, or a
   * control row changed what it wants) and has a position of its own.
   */
  #emit(batch: Batch): boolean {
    const { rows } = batch;
    const at = rows.findIndex(isControl);
    if (at < 0) {
      if (this.#valve.items(batch)) return true;
      this.#position ??= batch.end;
      return false;
    }
    // Up to the control row; what is beyond is read again from there, with the topics as they are then.
    if (at > 0) {
      this.#position = batch.positionAt(at - 1);
      if (!this.#valve.items(batch.slice(0, at))) return false;
    }
    this.#position = batch.positionAt(at);
    this.#deps.control(rows[at]!, this);
    return false;
  }

  /** Reads on until the hub's position is reached. Runs at most once at a time. */
  #catchUp(): void {
    if (this.#catching || this.closed || !this.#opened) return;
    this.#catching = true;
    this.#run().catch((error) => {
      if (error instanceof TidingsError) return this.close(error);
      this.#deps.failed(error);
      this.close(new TidingsError("internal", "The feed failed", { cause: error }));
    });
  }

  async #run(): Promise<void> {
    const { hub } = this.#deps;
    try {
      while (!this.closed && this.#position !== undefined) {
        if (this.#valve.shut) await this.#valve.opened();
        if (this.#hold !== undefined) {
          const hold = this.#hold;
          this.#hold = undefined;
          await hold;
          continue;
        }
        const next = this.#backfills.shift();
        if (next !== undefined) {
          await this.#fill(next);
          next.resolve();
          continue;
        }
        this.#interests.settle(this.position);
        const after = this.#position;
        if (covers(after, hub.position)) {
          this.#position = undefined;
          this.#ahead = covers(hub.position, after) ? undefined : after;
          this.#sink.live?.();
          return;
        }
        const { revision } = this;
        const span = { topics: this.topics, after, until: hub.position };
        const page = await this.#page(span, (row) => this.has(row.topic));
        // What the person was told meanwhile may have filled the sink.
        if (this.#valve.shut) await this.#valve.opened();
        // A reset in between has moved it elsewhere; other topics want other rows.
        if (this.closed || page === undefined || this.#position !== after || this.revision !== revision) {
          continue;
        }
        const mine = this.#sift(page);
        if (mine.rows.length === 0 || this.#emit(mine) || !mine.rows.some(isControl)) {
          this.#position = page.end;
        }
      }
    } finally {
      // At once, not a turn later: a delivery in between must be able to start it again.
      this.#catching = false;
    }
  }

  async #fill(backfill: Backfill): Promise<void> {
    const until = this.position;
    const resets = this.#resets;
    const { topics, after: since } = begin(backfill, this.#interests, until);
    // Control rows of the past have steered already.
    const wants = (row: Row) =>
      this.has(row.topic) && isBehind(until, row) && !isControl(row) && this.screen?.(row) !== true;
    const wanted = new Set(topics);
    for (let after = since; !this.closed && topics.length > 0 && !covers(after, until);) {
      const page = await this.#page({ topics, after, until }, (row) => wanted.has(row.topic) && wants(row));
      if (page === undefined || this.#resets !== resets) return;
      after = page.end;
      const rows = page.rows.filter(wants);
      // The position is the session's all along: a page's own lies further back, and would bring other topics twice.
      if (rows.length === 0) continue;
      if (this.#valve.shut) await this.#valve.opened();
      if (!this.closed) this.#valve.items(new Batch([{ rows, from: until, to: until }], until, until));
      if (this.#resets !== resets) return;
    }
  }

  /** The next page; undefined when the session ended or was reset meanwhile. */
  async #page(span: Span, wants: (row: Row) => boolean): Promise<Batch | undefined> {
    const { hub, page } = this.#deps;
    const kept = readWindow(hub, span, wants, page);
    if (kept !== undefined) return kept;
    const resets = this.#resets;
    const read = await readPatiently(
      span,
      this.#deps,
      () => !this.closed && this.#resets === resets,
      this.signal,
    );
    if (read === undefined) return undefined;
    if (read.horizon > this.#horizon && !isPast(span.after, read.horizon, hub.position)) {
      this.#reset("retention");
      return undefined;
    }
    return read.batch;
  }
}
