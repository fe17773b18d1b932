/**
 * The inbox of a scripted gateway: its log as somebody's entries with their states, and how it is counted, marked and read in pages.
 * @module
 */
import type { Item } from "../../src/notification.ts";
import type { InboxChange, InboxCount } from "../../src/protocol.ts";

/** How far somebody came with an entry. */
export type State = "unseen" | "seen" | "read" | "archived";

/** What is marked as what. */
export interface Mark {
  ids?: string[];
  all?: true;
  before?: string;
  state: "seen" | "read" | "unread" | "archived";
}

/** The entries, one for each notification of the log that is kept. */
export class ScriptedInbox {
  readonly states = new Map<string, State>();
  readonly #log: readonly Item[];

  constructor(log: readonly Item[]) {
    this.#log = log;
  }

  get count(): InboxCount {
    const states = this.#entries().map(({ state }) => state);
    return {
      unread: states.filter((state) => ["unseen", "seen"].includes(state)).length,
      unseen: states.filter((state) => state === "unseen").length,
    };
  }

  /** Marks; the answer is what everybody is told about it. */
  mark(change: Mark): InboxCount & { changes: InboxChange[] } {
    const { ids, all, before, state } = change;
    for (const { id, state: now } of this.#entries()) {
      if (!all && !ids?.includes(id) && !(before !== undefined && Number(id) <= Number(before))) continue;
      if (state === "seen" && now !== "unseen") continue;
      this.states.set(id, state === "unread" ? "seen" : state);
    }
    return {
      ...this.count,
      changes: [{ state, ...(ids ? { ids } : {}), ...(all ? { all } : {}), ...(before ? { before } : {}) }],
    };
  }

  /** A page, from the newest on, as the parameters of `/v1/inbox` ask for it. */
  page(query: URLSearchParams): { items: Item[]; next?: string } {
    const [state, before, limit] = [
      query.get("state"),
      query.get("before"),
      Number(query.get("limit") ?? 20),
    ];
    const all = this.#entries()
      .reverse()
      .filter((item) => before === null || Number(item.id) < Number(before))
      .filter((item) => {
        if (state === null) return item.state !== "archived";
        return state === "unread" ? ["unseen", "seen"].includes(item.state) : item.state === state;
      });
    const items = all.slice(0, limit);
    return { items, ...(all.length > limit ? { next: items.at(-1)!.id } : {}) };
  }

  #entries(): (Item & { state: State })[] {
    return this.#log.filter((item) => item.transient !== true)
      .map((item) => ({ ...item, state: this.states.get(item.id) ?? "unseen" }));
  }
}
