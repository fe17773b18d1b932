/**
 * The pages of the inbox that the bell shows: loaded, extended, marked and kept true. Knows nothing of the screen.
 *
 * Holds: what is shown is what the gateway said, plus what this person just marked; a newer answer is never overwritten by
 * an older one; at most one request for the first page is under way.
 * @module
 */
import type { InboxChange, MarkState } from "../protocol.ts";
import type { InboxItem, InboxPage, InboxQuery, Marked } from "./inbox.ts";

/** Which part is shown. */
export type Filter = "all" | "unread" | "archived";

/** What the inbox needs of the client. */
export interface InboxSource {
  inbox(query: InboxQuery): Promise<InboxPage>;
  mark(what: Marked, state: MarkState): Promise<void>;
}

/** Items on a page, unless another number is given. */
const PAGE = 20;
/** Items that are kept; beyond it there is no more "older". */
const MOST = 1_000;

/** The bell's inbox. */
export class BellInbox {
  readonly #source: InboxSource;
  readonly #changed: () => void;
  readonly #size: number;
  #items: InboxItem[] = [];
  #next: string | undefined;
  #filter: Filter = "all";
  /** Answers to questions asked before this changed are not wanted any more. */
  #era = 0;
  #running: Promise<void> | null = null;
  #again = false;
  failed = false;
  loaded = false;
  busy = false;

  constructor(source: InboxSource, changed: () => void, size = PAGE) {
    this.#source = source;
    this.#changed = changed;
    this.#size = size;
  }

  get items(): readonly InboxItem[] {
    return this.#items;
  }

  get filter(): Filter {
    return this.#filter;
  }

  /** Whether there is an older page. */
  get more(): boolean {
    return this.#next !== undefined && this.#items.length < MOST;
  }

  show(filter: Filter): Promise<void> {
    this.#filter = filter;
    this.#era++;
    this.#items = [];
    this.#next = undefined;
    this.loaded = false;
    this.#changed();
    return this.refresh();
  }

  /** Loads the first page anew and keeps the older ones that are shown. */
  refresh(): Promise<void> {
    if (this.#running !== null) {
      this.#again = true;
      return this.#running;
    }
    this.#running = this.#first().finally(() => {
      this.#running = null;
      if (!this.#again) return;
      this.#again = false;
      return this.refresh();
    });
    return this.#running;
  }

  async older(): Promise<void> {
    const before = this.#next;
    if (before === undefined || this.busy) return;
    const page = await this.#load({ before });
    if (page === null) return;
    const known = new Set(this.#items.map((item) => item.id));
    this.#items = [...this.#items, ...page.items.filter((item) => !known.has(item.id))];
    this.#next = page.next;
    this.#changed();
  }

  /** Marks here at once and at the gateway; where that fails, the truth is loaded again and the error thrown. */
  async mark(what: Marked, state: MarkState): Promise<void> {
    const change = typeof what === "string" ? { ids: [what] } : Array.isArray(what) ? { ids: what } : what;
    if ("ids" in change && change.ids.length === 0) return;
    this.apply([{ ...change, state }]);
    try {
      await this.#source.mark(what, state);
    } catch (error) {
      await this.refresh();
      throw error;
    }
  }

  /** Marks what was marked elsewhere. */
  apply(changes: readonly InboxChange[]): void {
    for (const change of changes) {
      const touched = (item: InboxItem) =>
        change.all === true || change.ids?.includes(item.id) === true ||
        (change.before !== undefined && compareIds(item.id, change.before) <= 0);
      this.#items = this.#items
        .map((item) => touched(item) ? { ...item, state: after(item.state, change) } : item)
        .filter((item) => !touched(item) || this.#belongs(item));
    }
    this.#changed();
  }

  /** Only what was marked leaves the list: an item just read stays among the unread until the next look. */
  #belongs(item: InboxItem): boolean {
    return (item.state === "archived") === (this.#filter === "archived");
  }

  async #first(): Promise<void> {
    const page = await this.#load({});
    if (page === null) return;
    const last = page.items.at(-1);
    const older = last === undefined || page.next === undefined
      ? []
      : this.#items.filter((item) => compareIds(item.id, last.id) < 0);
    this.#items = [...page.items, ...older];
    if (older.length === 0) this.#next = page.next;
    this.loaded = true;
    this.#changed();
  }

  async #load(query: InboxQuery): Promise<InboxPage | null> {
    const era = this.#era;
    this.busy = true;
    this.failed = false;
    this.#changed();
    try {
      const state = this.#filter === "all" ? {} : { state: this.#filter };
      const page = await this.#source.inbox({ ...query, ...state, limit: this.#size });
      return era === this.#era ? page : null;
    } catch {
      // said on the panel, with a button to try again
      if (era === this.#era) this.failed = true;
      return null;
    } finally {
      this.busy = false;
      this.#changed();
    }
  }
}

/** Ids are decimal digits of any length. */
function compareIds(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

function after(state: InboxItem["state"], { state: marked }: InboxChange): InboxItem["state"] {
  if (marked === "unread") return "seen";
  if (marked === "seen") return state === "unseen" ? "seen" : state;
  return state === "archived" && marked === "read" ? "archived" : marked;
}
