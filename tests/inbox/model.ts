/**
 * The simple inbox that the real one is compared with: every notification, who followed what when, and each state written
 * down one by one. A transaction's operations take effect at its commit; what it could see, it saw when it ran.
 * @module
 */

/** States from below. */
export const STATES = ["unseen", "seen", "read", "archived"] as const;
export type State = typeof STATES[number];
export type Mark = "seen" | "read" | "unread" | "archived";

/** One sent notification. `at` is its place in the order of the log, known once it is committed. */
export interface Sent {
  id: string;
  topic: string;
  type: string;
  transient: boolean;
}

interface Stretch {
  topic: string;
  /** Ids of the topic that were visible when it began: not part of it. */
  before: Set<string>;
  /** Ids that were visible when it ended. */
  upTo?: Set<string>;
}

interface Person {
  stretches: Stretch[];
  states: Map<string, State>;
  hiddenTypes: Set<string>;
  hiddenTopics: Set<string>;
}

/** The whole model. `visible` are the committed ones; `own` are those of the transaction that acts. */
export class Model {
  readonly visible = new Map<string, Sent>();
  readonly #people = new Map<string, Person>();

  person(user: string): Person {
    const known = this.#people.get(user);
    if (known !== undefined) return known;
    const fresh: Person = {
      stretches: [],
      states: new Map(),
      hiddenTypes: new Set(),
      hiddenTopics: new Set(),
    };
    this.#people.set(user, fresh);
    return fresh;
  }

  commit(sent: Iterable<Sent>): void {
    for (const one of sent) this.visible.set(one.id, one);
  }

  remove(id: string): void {
    this.visible.delete(id);
    for (const person of this.#people.values()) person.states.delete(id);
  }

  follow(user: string, topic: string, seen: ReadonlySet<string>): void {
    const { stretches } = this.person(user);
    if (stretches.some((s) => s.topic === topic && s.upTo === undefined)) return;
    stretches.push({ topic, before: new Set(seen) });
  }

  unfollow(user: string, topic: string, seen: ReadonlySet<string>): void {
    const open = this.person(user).stretches.find((s) => s.topic === topic && s.upTo === undefined);
    if (open !== undefined) open.upTo = new Set(seen);
  }

  /** Whether the notification was sent to this person. */
  sentTo(user: string, one: Sent): boolean {
    if (one.topic === "all" || one.topic === `user:${user}`) return true;
    return this.person(user).stretches.some((s) =>
      s.topic === one.topic && !s.before.has(one.id) && (s.upTo === undefined || s.upTo.has(one.id))
    );
  }

  state(user: string, id: string): State {
    return this.person(user).states.get(id) ?? "unseen";
  }

  /** Marks; `among` limits it to what was visible. Archived ones are left alone unless they are named. */
  mark(user: string, ids: Iterable<string>, mark: Mark, named: boolean): void {
    const { states } = this.person(user);
    for (const id of ids) {
      const old = this.state(user, id);
      if (!named && old === "archived") continue;
      const next = mark === "unread" ? "seen" : later(old, mark);
      if (next !== old) states.set(id, next);
    }
  }

  /** Everything in the inbox, archived and hidden ones included. */
  inbox(user: string): Sent[] {
    return [...this.visible.values()].filter((one) => !one.transient && this.sentTo(user, one));
  }

  /** What is shown. */
  shown(user: string, states: readonly State[], topic?: string, type?: string): Sent[] {
    const { hiddenTopics, hiddenTypes } = this.person(user);
    return this.inbox(user).filter((one) =>
      !hiddenTopics.has(one.topic) && !hiddenTypes.has(one.type) &&
      states.includes(this.state(user, one.id)) &&
      (topic === undefined || topic === one.topic) && (type === undefined || type === one.type)
    );
  }

  count(user: string): { unread: number; unseen: number } {
    return {
      unread: this.shown(user, ["unseen", "seen"]).length,
      unseen: this.shown(user, ["unseen"]).length,
    };
  }
}

function later(a: State, b: State): State {
  return STATES.indexOf(a) >= STATES.indexOf(b) ? a : b;
}
