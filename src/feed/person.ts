/**
 * One person with sessions open here: what they follow, what is hidden from them, and their counts.
 *
 * Invariants:
 * - What is known comes from one snapshot of the database. Rows after that snapshot are added to the counts as the hub hands
 *   them out; any row that changes more than that (`tidings.*`) has it read anew.
 * - The last counts that a session was told are those of the person.
 * @module
 */
import { type Chance, type Clock, jitter, rest } from "../clock.ts";
import { screenOf } from "../database/hidden_rules.ts";
import type { InboxStore, OpenedInbox } from "../database/inbox_store.ts";
import type { Batch } from "../log/batch.ts";
import { type Cursor, isBehind } from "../log/cursor.ts";
import { isControl, itemOf, type Row } from "../log/row.ts";
import type { InboxCount } from "../protocol.ts";
import type { Hub, Subscriber } from "./hub.ts";
import type { Followed } from "./interests.ts";
import type { Session } from "./session.ts";
import { ALL, userTopic } from "./topic.ts";
import { revoke, signOut, WITHDRAWALS } from "./withdrawal.ts";

/** What a person needs. */
export interface PersonDeps {
  hub: Hub;
  store: InboxStore;
  clock: Clock;
  chance: Chance;
  /** A read that failed; it is tried again. */
  failed(error: unknown): void;
}

const RETRY = 1_000;
/** Milliseconds that a question for the counts waits for what is being read. */
const PATIENCE = 5_000;
const ALL_WITHIN = 2_000;
/** Rows of the window that are added up after a read; with more it is read again. */
const CATCH_UP = 1_000;

/** A person. `changed` is told when the counts may have. */
export class Person implements Subscriber {
  readonly user: string;
  /** What each was told last; undefined: nothing yet. */
  readonly sessions = new Map<Session, InboxCount | undefined>();
  /** Sessions that are about to open. */
  entering = 0;
  followed: Followed[] = [];
  count: InboxCount | undefined;
  readonly #deps: PersonDeps;
  readonly #changed: (person: Person) => void;
  /** Sessions without the person's own topic: rows that withdraw something reach them from here. */
  readonly #others = new Set<Session>();
  readonly #topics = new Set<string>();
  readonly #ended = new AbortController();
  #at: Cursor | undefined;
  /** Whether the person does not want to see a row; undefined: they said nothing of that. */
  #screen: ((row: Row) => boolean) | undefined;
  #begun = 0;
  #applied = 0;
  #reading: Promise<void> | undefined;
  #again = false;
  #cancelExpiry: () => void = () => undefined;

  constructor(user: string, deps: PersonDeps, changed: (person: Person) => void) {
    this.user = user;
    this.#deps = deps;
    this.#changed = changed;
    deps.hub.watch(this);
    this.#join(userTopic(user));
    this.#join(ALL);
  }

  get deserted(): boolean {
    return this.entering === 0 && this.sessions.size === 0 && this.#others.size === 0;
  }

  /** The counts, when they are from after the row. */
  after(row: Row): InboxCount | undefined {
    return this.#at !== undefined && isBehind(this.#at, row) ? this.count : undefined;
  }

  admit(session: Session, personal: boolean): void {
    if (personal) this.sessions.set(session, this.count);
    else this.#others.add(session);
    session.screen = this.#screen;
  }

  dismiss(session: Session): void {
    this.sessions.delete(session);
    this.#others.delete(session);
  }

  /** Reads what is known of the person anew. */
  async load(topics: readonly string[] = []): Promise<OpenedInbox> {
    const { hub, store } = this.#deps;
    const number = ++this.#begun;
    const { epoch } = hub.position;
    const opened = await store.open(this.user, topics);
    if (number > this.#applied && !this.#ended.signal.aborted) {
      this.#applied = number;
      this.#apply(opened, epoch);
    }
    return opened;
  }

  /** From the hub. */
  deliver(batch: Batch): void {
    let counted = false;
    for (const row of batch.rows) {
      if (!isControl(row)) counted = (this.#counts(row) && this.#add(row)) || counted;
      else if (row.topic === ALL) this.#reloadLater();
      else {
        this.#withdraw(row);
        this.reload();
      }
    }
    if (counted) this.#changed(this);
  }

  #withdraw(row: Row): void {
    for (const session of [...this.#others]) {
      if (row.type === WITHDRAWALS.signOut) signOut(itemOf(row).data as { before: number }, session);
      if (row.type === WITHDRAWALS.revoke) {
        revoke((itemOf(row).data ?? {}) as { topic?: string }, this.user, session, this.#deps);
      }
    }
  }

  /** From the hub: another history. */
  restart(): void {
    this.#at = undefined;
    this.reload();
  }

  /** Reads anew, soon; once for all who ask meanwhile. */
  reload(): void {
    this.#again = true;
    if (this.#reading !== undefined || this.#ended.signal.aborted) return;
    this.#reading = this.#read().finally(() => {
      this.#reading = undefined;
      this.#changed(this);
    });
  }

  /** The counts once what is being read is read; undefined when that takes long. */
  async settled(): Promise<InboxCount | undefined> {
    if (this.#reading === undefined) return this.count;
    const late = new AbortController();
    const patience = rest(this.#deps.clock, PATIENCE, late.signal);
    await Promise.race([this.#reading, patience]);
    late.abort();
    return this.#reading === undefined ? this.count : undefined;
  }

  /** Everybody has to: not all at once. */
  #reloadLater(): void {
    this.#deps.clock.after(this.#deps.chance() * ALL_WITHIN, () => this.reload());
  }

  /** Tells the sessions that were told otherwise. What is being read anew is told after that. */
  tell(): void {
    const { count } = this;
    if (count === undefined || this.#reading !== undefined) return;
    for (const [session, last] of this.sessions) {
      if (last?.unread === count.unread && last.unseen === count.unseen) continue;
      this.sessions.set(session, count);
      session.tell(count);
    }
  }

  end(): void {
    this.#ended.abort();
    this.#cancelExpiry();
    const { hub } = this.#deps;
    hub.unwatch(this);
    for (const topic of this.#topics) hub.leave(topic, this);
  }

  async #read(): Promise<void> {
    const { clock, chance, failed } = this.#deps;
    while (this.#again && !this.#ended.signal.aborted) {
      this.#again = false;
      try {
        await this.load();
      } catch (error) {
        failed(error);
        this.#again = true;
        await rest(clock, jitter(RETRY, chance), this.#ended.signal);
      }
    }
  }

  #apply(opened: OpenedInbox, epoch: string): void {
    const { hub } = this.#deps;
    const { count, rules, stretches } = opened;
    this.#at = { epoch, ...count.at };
    this.followed = stretches.map(({ id, topic, since, until }) => ({
      id,
      topic,
      since: { epoch, ...since },
      ...(until === undefined ? {} : { until: { epoch, ...until } }),
    }));
    this.#screen = screenOf(rules);
    for (const session of [...this.sessions.keys(), ...this.#others]) session.screen = this.#screen;
    const topics = new Set([userTopic(this.user), ALL]);
    for (const { topic, until } of this.followed) if (until === undefined) topics.add(topic);
    for (const topic of topics) this.#join(topic);
    for (const topic of this.#topics) {
      if (topics.has(topic)) continue;
      this.#topics.delete(topic);
      hub.leave(topic, this);
    }
    this.count = { unread: count.unread, unseen: count.unseen };
    this.#expect(count.expiry);
    // What the hub has handed out already, and the snapshot did not have.
    const since = hub.window.read(
      this.#at,
      hub.position,
      (row) => !isControl(row) && this.#counts(row),
      CATCH_UP,
    );
    if (since === undefined || since.rows.length >= CATCH_UP) this.#again = true;
    else for (const row of since.rows) this.#add(row);
    this.#changed(this);
  }

  /** Whether this row is in the inbox, shown, and not in the counts yet. */
  #counts(row: Row): boolean {
    if (row.transient === true || this.#at === undefined || isBehind(this.#at, row)) return false;
    if (this.#screen?.(row) === true) return false;
    if (row.topic === ALL || row.topic === userTopic(this.user)) return true;
    return this.followed.some(({ topic, since, until }) =>
      topic === row.topic && (since === undefined || !isBehind(since, row)) &&
      (until === undefined || isBehind(until, row))
    );
  }

  #add(row: Row): boolean {
    if (this.count === undefined) return false;
    this.count = { unread: this.count.unread + 1, unseen: this.count.unseen + 1 };
    if (row.expiresAt !== undefined && row.expiresAt < this.#expiry) this.#expect(row.expiresAt);
    return true;
  }

  #expiry = Infinity;

  /** The counts change by themselves then. */
  #expect(expiry: number | undefined): void {
    const { clock, chance } = this.#deps;
    this.#cancelExpiry();
    this.#expiry = expiry ?? Infinity;
    if (expiry === undefined) return;
    const wait = Math.max(0, expiry - clock.now()) + jitter(200, chance);
    this.#cancelExpiry = clock.after(wait, () => this.reload());
  }

  #join(topic: string): void {
    if (this.#topics.has(topic)) return;
    this.#topics.add(topic);
    this.#deps.hub.join(topic, this);
  }
}
