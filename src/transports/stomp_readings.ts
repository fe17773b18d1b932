/**
 * The readings behind one connection's subscriptions: each is a feed of its own, with its own position, so that every
 * subscription has its own `since`, its own pace and its own durable place.
 * @module
 */
import type { Identity } from "../auth/identity.ts";
import type { Clock } from "../clock.ts";
import type { Since } from "../feed/feed.ts";
import { checkWatchable, type PresenceHold, presenceTopic } from "../feed/presence.ts";
import { checkTopics, opener, parseSince, type TransportDeps } from "./negotiate.ts";
import { type Outlet, StompDelivery } from "./stomp_delivery.ts";
import { StompKeeper } from "./stomp_keeper.ts";
import type { StompSession } from "./stomp_session.ts";
import type { StompPlaces } from "./stomp_places.ts";
import type { StompSubscription } from "./stomp_subscription.ts";

/** What readings need. */
export interface StompReadingsDeps extends Pick<TransportDeps, "feed" | "authorize" | "count"> {
  clock: Clock;
  /** Which types a person's queue shows; a queue that is not here shows all that no other is set to. */
  queues: ReadonlyMap<string, readonly string[]>;
  places: StompPlaces;
  /** An error that no client is told the inside of. */
  failed(error: unknown): void;
}

/** What comes where presence was asked for, whatever types a queue is set to. */
const COMINGS: readonly string[] = ["tidings.join", "tidings.leave"];

/** The readings of one person's connection. */
export class StompReadings {
  readonly #deps: StompReadingsDeps;
  readonly #session: StompSession;
  readonly #outlet: Outlet;
  readonly #presence: PresenceHold;
  readonly #keeper: StompKeeper;
  readonly #deliveries = new Map<StompSubscription, StompDelivery>();
  #over = false;

  constructor(
    deps: StompReadingsDeps,
    who: { user: string; userAgent: string | undefined; presence: PresenceHold },
    session: StompSession,
    outlet: Outlet,
  ) {
    this.#deps = deps;
    this.#presence = who.presence;
    this.#session = session;
    this.#outlet = outlet;
    this.#keeper = new StompKeeper(deps.places, who, deps.failed);
  }

  /** Makes a subscription ready to read: `start` begins. @throws TidingsError */
  async open(subscription: StompSubscription, identity: Identity): Promise<void> {
    const { source, presence } = subscription.request;
    const topics = topicsOf(subscription);
    await this.#deps.authorize(identity, topics);
    if (presence) checkWatchable(topics);
    const delivery = new StompDelivery(subscription, this.#session, this.#outlet, this.#filter(subscription));
    const { since, known } = await this.#start(subscription);
    const opened = await this.#deps.feed.open({
      ...opener(identity),
      topics: [...topics, ...presence ? topics.map(presenceTopic) : []],
      since,
      transport: "stomp",
      personal: source.kind === "person",
      counted: this.#deliveries.size === 0,
    }, delivery);
    delivery.attach(opened.session);
    try {
      const write = !known || opened.reset !== undefined;
      await this.#keeper.begin(delivery, opened.session.cursor, write, this.#deps.clock.now());
    } catch (error) {
      delivery.stop();
      throw error;
    }
    this.#deliveries.set(subscription, delivery);
    if (this.#over) return void this.end();
    if (opened.reset !== undefined) delivery.reset(opened.reset, opened.session.cursor);
    opened.session.onWithdraw((withdrawn) => withdrawn.forEach((topic) => this.#join(topic)));
    for (const topic of topics) this.#join(topic);
    if (subscription.request.inbox) delivery.welcome = await this.#deps.count(identity.user);
    // its RECEIPT says that from here on every join and leave is told
    if (presence) await this.#presence.told();
  }

  /** Where a subscription that is ready begins. */
  cursor(subscription: StompSubscription): string {
    return this.#deliveries.get(subscription)?.reading?.cursor ?? "";
  }

  /** Begins to read. */
  start(subscription: StompSubscription): void {
    this.#deliveries.get(subscription)?.start();
  }

  /** Ends a subscription's reading. Its place is kept, or with `forget` given up. */
  async stop(subscription: StompSubscription, forget: boolean): Promise<void> {
    const delivery = this.#deliveries.get(subscription);
    if (delivery === undefined) return;
    delivery.pause();
    if (forget) await this.#keeper.forget(delivery);
    else await this.#keeper.end([delivery]);
    delivery.stop();
    this.#deliveries.delete(subscription);
    for (const topic of topicsOf(subscription)) this.#join(topic);
  }

  /** The client settled messages of a subscription. */
  settled(subscription: StompSubscription): void {
    this.#deliveries.get(subscription)?.flow();
  }

  /** The socket takes more. */
  flow(): void {
    for (const delivery of this.#deliveries.values()) {
      if (this.#outlet.full) return;
      delivery.flow();
    }
  }

  /** Notes what was sent so far: the next `prove` is about it. */
  mark(): void {
    for (const subscription of this.#deliveries.keys()) subscription.mark();
  }

  /** The client has everything up to the mark. */
  prove(): void {
    for (const subscription of this.#deliveries.keys()) subscription.prove();
  }

  /** Writes the places that have moved. Never rejects. */
  keep(): Promise<void> {
    return this.#keeper.keep(this.#deliveries.values(), this.#deps.clock.now());
  }

  /** Ends all readings; resolves when their places are kept. Never rejects. */
  end(): Promise<void> {
    const kept = this.#keeper.end(this.#deliveries.values());
    this.#over = true;
    for (const delivery of this.#deliveries.values()) delivery.stop();
    this.#deliveries.clear();
    return kept;
  }

  /** Where a subscription begins: where the client says, else where it stopped, else now. */
  async #start(subscription: StompSubscription): Promise<{ since: Since; known: boolean }> {
    const { since, durable } = subscription.request;
    if (since !== undefined || durable === undefined) return { since: parseSince(since), known: false };
    const place = await this.#keeper.find(durable);
    return { since: parseSince(place?.cursor), known: place?.own === true };
  }

  /** Tells presence of a topic as the subscriptions have it now. */
  #join(topic: string): void {
    const on = [...this.#deliveries].filter(([each, { reading }]) =>
      topicsOf(each).includes(topic) && reading?.has(topic) === true
    );
    if (on.length === 0) this.#presence.part(topic);
    else this.#presence.join(topic, on.some(([{ request }]) => request.presence));
  }

  #filter({ request: { source, presence } }: StompSubscription): (type: string) => boolean {
    if (source.kind === "topic") return () => true;
    const { queues } = this.#deps;
    const own = queues.get(source.queue);
    if (own !== undefined) return (type) => own.includes(type) || (presence && COMINGS.includes(type));
    const taken = new Set([...queues.values()].flat());
    return (type) => !taken.has(type);
  }
}

/** The topics that a subscription names. @throws TidingsError `invalid_request`, naming `topics` */
function topicsOf({ request: { source, topics } }: StompSubscription): string[] {
  if (source.kind === "topic") return [source.topic];
  return topics === undefined || topics === "" ? [] : checkTopics(topics.split(","));
}
