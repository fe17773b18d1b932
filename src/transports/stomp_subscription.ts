/**
 * One STOMP subscription: what was sent on it and waits to be acknowledged, and how far it has come. Pure.
 *
 * Invariants: at most `prefetch` messages wait; the position never passes a message that waits, so whoever goes on from it
 * gets every message that was not settled. In `auto` mode a message is settled when the client has shown that it came (by the
 * answer to a ping that was sent after it), not when it was sent: a socket takes messages for a client that is long gone.
 * @module
 */
import { parseSource, type Source, type StompPrefixes } from "./stomp_destination.ts";
import type { StompFrame, StompVersion } from "./stomp_frame.ts";
import { boundedName, frameRefused, required } from "./stomp_header.ts";

/** When a message counts as settled: when it came, when it or a later one is acknowledged, when it is acknowledged itself. */
export type AckMode = "auto" | "client" | "client-individual";

/** Where a subscription's position is kept between connections. */
export interface DurableKey {
  /** The CONNECT frame's `client-id`, or what the transport knows the client by. */
  client: string;
  /** The subscription's id, or empty where the client library merely counts. */
  name: string;
  destination: string;
}

/** What SUBSCRIBE asked for. */
export interface SubscriptionRequest {
  id: string;
  destination: string;
  source: Source;
  /** Further topics in the same order as the person's own, separated by commas; a person's destinations only. */
  topics: string | undefined;
  ack: AckMode;
  /** Messages that may wait for an ACK at once. */
  prefetch: number;
  /** Where to start, as the client said; undefined: at the durable position, or now. */
  since: string | undefined;
  /** Undefined: nothing is kept. */
  durable: DurableKey | undefined;
  /** Whether joins and leaves of the topic are wanted. */
  presence: boolean;
  /** Whether the person's counts are wanted; a person's destinations only. */
  inbox: boolean;
  /** Whether the client gave the id; 1.0 may leave it out. */
  named: boolean;
}

/** Most messages that may wait for an ACK on one subscription, and how many do unless `prefetch-count` says less. */
export const PREFETCH_MAX = 1_000;

/** Ids that `@stomp/stompjs` hands out by counting: the same id means another thing on another page. */
const COUNTED_ID = /^sub-\d+$/;
const ACKS: readonly string[] = ["auto", "client", "client-individual"] satisfies AckMode[];

/** Reads a SUBSCRIBE frame. Throws `protocol_error` or `invalid_request`, naming the header. */
export function readSubscribe(
  frame: StompFrame,
  session: { version: StompVersion; client: string; prefixes: StompPrefixes },
): SubscriptionRequest {
  const { headers } = frame;
  const destination = required(frame, "destination");
  const named = headers["id"] !== undefined && headers["id"] !== "";
  const id = named || session.version !== "1.0"
    ? boundedName(frame, "id", required(frame, "id"))
    : destination;
  const ack = headers["ack"] ?? "auto";
  if (!ACKS.includes(ack)) throw frameRefused(frame, "ack", `expected one of ${ACKS.join(", ")}`);
  const source = parseSource(destination, session.prefixes);
  const topics = headers["topics"];
  if (topics !== undefined && source.kind === "topic") {
    throw frameRefused(frame, "topics", "expected a person's destination beside it");
  }
  const inbox = headers["inbox"] === "true";
  if (inbox && source.kind === "topic") {
    throw frameRefused(frame, "inbox", "expected a person's destination beside it");
  }
  const since = headers["since"];
  const forgotten = since !== undefined || headers["durable"] === "false";
  const name = !named || COUNTED_ID.test(id) ? "" : id;
  return {
    id,
    destination,
    source,
    topics,
    ack: ack as AckMode,
    prefetch: readPrefetch(frame),
    since,
    durable: forgotten ? undefined : { client: session.client, name, destination },
    presence: readPresence(frame),
    inbox,
    named,
  };
}

interface Waiting {
  item: string;
  cursor: string;
  settled: boolean;
}

/** A subscription of a session. */
export class StompSubscription {
  readonly request: SubscriptionRequest;
  #waiting: Waiting[] = [];
  #position: string | undefined;
  #sent: string | undefined;
  #settled = 0;
  #marked: string | undefined;
  /** In `auto` mode: whether something was sent of which the client has not shown that it came. */
  #unproved = false;

  constructor(request: SubscriptionRequest) {
    this.request = request;
  }

  get id(): string {
    return this.request.id;
  }

  /** How many times the position moved by messages. */
  get settled(): number {
    return this.#settled;
  }

  /** Whether everything that was sent is settled. */
  get idle(): boolean {
    return this.#waiting.length === 0 && !this.#unproved;
  }

  /** Messages that may be sent now. */
  get room(): number {
    return this.request.ack === "auto" ? Infinity : this.request.prefetch - this.#waiting.length;
  }

  /** The cursor behind which everything is settled; undefined: nothing has come yet. */
  get position(): string | undefined {
    return this.#position;
  }

  /** Notes that a message went out. */
  sent(item: string, cursor: string): void {
    this.#sent = cursor;
    if (this.request.ack === "auto") this.#unproved = true;
    else this.#waiting.push({ item, cursor, settled: false });
  }

  /** Notes that the feed moved on without a message. */
  moved(cursor: string): void {
    this.#sent = cursor;
    if (this.idle) this.#position = cursor;
  }

  /** Notes the place in what was sent that the next `prove` is about. */
  mark(): void {
    this.#marked = this.#sent;
  }

  /** The client has what was sent up to the mark: in `auto` mode that settles it. */
  prove(): void {
    if (!this.#unproved || this.#marked === undefined) return;
    this.#position = this.#marked;
    this.#unproved = this.#sent !== this.#marked;
    this.#settled++;
  }

  /** Settles one message, and in `client` mode all before it; returns the ids that this settled. */
  settle(item: string): string[] {
    const at = this.#waiting.findIndex((each) => each.item === item);
    const upTo = this.#waiting[at];
    if (upTo === undefined) return [];
    const settled = this.request.ack === "client" ? this.#waiting.slice(0, at + 1) : [upTo];
    const items = settled.filter((each) => !each.settled).map((each) => each.item);
    for (const each of settled) each.settled = true;
    if (items.length > 0) this.#settled++;
    let done = 0;
    while (this.#waiting[done]?.settled === true) done++;
    const last = this.#waiting[done - 1];
    this.#waiting.splice(0, done);
    if (last !== undefined) this.#position = this.#waiting.length === 0 ? this.#sent : last.cursor;
    return items;
  }
}

function readPresence(frame: StompFrame): boolean {
  const header = frame.headers["presence"] ?? "false";
  if (header === "true" || header === "false") return header === "true";
  throw frameRefused(frame, "presence", "expected true or false");
}

function readPrefetch(frame: StompFrame): number {
  const header = frame.headers["prefetch-count"];
  if (header === undefined) return PREFETCH_MAX;
  const count = /^\d{1,6}$/.test(header) ? Number(header) : 0;
  if (count >= 1) return Math.min(count, PREFETCH_MAX);
  throw frameRefused(frame, "prefetch-count", "expected a number of at least 1");
}
