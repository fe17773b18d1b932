/**
 * What the conformance suite needs of a transport: a client of somebody else's making, and what it got.
 * @module
 */
import type { Item } from "../../src/notification.ts";
import type { InboxCount, Problem, ResetReason } from "../../src/protocol.ts";

/** Where and as whom a client connects. */
export interface OpenRequest {
  url: string;
  token: string;
  since?: string;
  topics?: readonly string[];
  /** Whether joins and leaves of the topics are wanted. */
  presence?: boolean;
}

/** A transport as its clients use it. */
export interface Adapter {
  name: string;
  /** Resolves when the client is welcome; rejects with {@link Refused}. */
  open(request: OpenRequest): Promise<Client>;
}

/** A transport whose tests are declared. */
export interface Suite extends Adapter {
  /** Declares a test, named after the transport. */
  test(sentence: string, run: () => Promise<void>): void;
}

/** One item, and the cursor after it where the transport gives one there. */
export interface Received {
  item: Item;
  cursor?: string;
}

/** What a client was told besides items. */
export type Told =
  | {
    event: "welcome";
    cursor: string;
    inbox?: InboxCount;
    topics?: string[];
    user?: string;
    session?: string;
  }
  | { event: "reset"; reason: ResetReason; cursor: string }
  | ({ event: "inbox" } & InboxCount)
  | { event: "reconnect" }
  | { event: "error"; problem: Problem }
  | { event: "closed"; code?: number };

/** One client. */
export interface Client {
  readonly received: readonly Received[];
  readonly told: readonly Told[];
  /** Items' titles and the counts of the inbox, in the order in which they came. */
  readonly heard: readonly (string | InboxCount)[];
  /** The items' JSON as it came, in whatever it was wrapped. */
  readonly raw: readonly string[];
  /** Where to go on from. */
  readonly cursor: string;
  /** Resolves when it holds; rejects when it does not come to that, saying so. */
  until(what: string, holds: () => boolean): Promise<void>;
  /** Breaks off without a word. Nothing is received after it. */
  cut(): Promise<void>;
}

/** The gateway's refusal. */
export class Refused extends Error {
  override readonly name = "Refused";
  readonly problem: Problem;
  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}`);
    this.problem = problem;
  }
}

/** The last counts that it was told. */
export function lastCount(client: Client): InboxCount | undefined {
  return client.heard.findLast((one) => typeof one === "object");
}

/** The titles of what came, in order. */
export function titles(client: Client): (string | undefined)[] {
  return client.received.map(({ item }) => item.title);
}

/** Waits for so many items. */
export function has(client: Client, count: number): Promise<void> {
  return client.until(`${count} items`, () => client.received.length >= count);
}

/** How long anything may take; milliseconds. */
const PATIENCE = 120_000;

/** What a client got, as its transport writes it down. */
export class Notes {
  readonly received: Received[] = [];
  readonly told: Told[] = [];
  readonly heard: (string | InboxCount)[] = [];
  readonly raw: string[] = [];
  cursor = "";
  #changed = new Set<() => void>();
  #over = false;

  items(items: Item[], cursor: string, raw: string): void {
    if (this.#over) return;
    this.raw.push(raw);
    for (const [index, item] of items.entries()) {
      this.received.push(index === items.length - 1 ? { item, cursor } : { item });
      this.heard.push(item.title ?? "");
    }
    this.cursor = cursor;
    this.#change();
  }

  tell(told: Told): void {
    if (this.#over) return;
    this.told.push(told);
    if (told.event === "inbox") this.#count(told);
    if (told.event === "welcome" && told.inbox !== undefined) this.#count(told.inbox);
    if ("cursor" in told) this.cursor = told.cursor;
    this.#change();
  }

  move(cursor: string): void {
    if (this.#over) return;
    this.cursor = cursor;
    this.#change();
  }

  #count({ unread, unseen }: InboxCount): void {
    this.heard.push({ unread, unseen });
  }

  /** The client whose notes these are; once it breaks off, nothing is written down any more. */
  client(breakOff: () => void | Promise<void>): Client {
    const cursor = () => this.cursor;
    return {
      received: this.received,
      told: this.told,
      heard: this.heard,
      raw: this.raw,
      get cursor() {
        return cursor();
      },
      until: (what, holds) => this.until(what, holds),
      cut: async () => {
        this.#over = true;
        await breakOff();
      },
    };
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      () =>
        late.reject(
          new Error(`Not in time: ${what}; got ${this.received.length} items, ${JSON.stringify(this.told)}`),
        ),
      PATIENCE,
    );
    try {
      while (!holds()) {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.#changed.add(resolve);
        await Promise.race([promise, late.promise]);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #change(): void {
    const waiting = this.#changed;
    this.#changed = new Set();
    for (const resolve of waiting) resolve();
  }
}

/** The feed's address with a request's parameters. */
export function feedUrl(
  { url, since, topics, presence }: OpenRequest,
  more: Record<string, string> = {},
): URL {
  const address = new URL("/v1/feed", url);
  if (since !== undefined) address.searchParams.set("since", since);
  if (topics !== undefined && topics.length > 0) address.searchParams.set("topics", topics.join(","));
  if (presence === true) address.searchParams.set("presence", "true");
  for (const [name, value] of Object.entries(more)) address.searchParams.set(name, value);
  return address;
}
