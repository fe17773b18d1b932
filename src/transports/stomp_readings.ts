/**
 * The readings behind one connection's subscriptions: each is a feed of its own, with its own position, so that every
 * subscription has its own `since`, its own pace and its own durable place.
 * @module
 */
import type { Identity } from "../auth/identity.ts";
import type { Clock } from "../clock.ts";
import type { Since } from "../feed/feed.ts";
import { checkWatchable, type PresenceHold, presenceTopic } from "../feed/presence.ts";
import { invalid, parseSince, type TransportDeps } from "./negotiate.ts";
import { type Outlet, StompDelivery } from "./stomp_delivery.ts";
import type { Source } from "./stomp_destination.ts";
import { StompKeeper } from "./stomp_keeper.ts";
import type { StompSession } from "./stomp_session.ts";
import type { StompPlaces } from "./stomp_places.ts";
import type { StompSubscription } from "./stomp_subscription.ts";

/** What readings need. */
export interface StompReadingsDeps extends Pick<TransportDeps, "feed" | "authorize"> {
  clock: Clock;
  /** Which types a person's queue shows; a queue that is not here shows all that no other is set to. */
  queues: ReadonlyMap<string, readonly string[]>;
  places: StompPlaces;
  /** An error that no client is told the inside of. */
  failed(error: unknown): void;
}

/** The readings of one person's connection. */
export class StompReadings {
  readonly #deps: StompReadingsDeps;
  readonly #session: StompSession;
  readonly #outlet: Outlet;
  readonly #user: string;
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
    this.#user = who.user;
    this.#presence = who.presence;
    this.#session = session;
    this.#outlet = outlet;
    this.#keeper = new StompKeeper(deps.places, who, deps.failed);
  }

  /** Begins to read for a subscription. @throws TidingsError */
  async open(subscription: StompSubscription, identity: Identity): Promise<void> {
    const { source, presence } = subscription.request;
    if (source.kind === "topic") await this.#deps.authorize(identity, [source.topic]);
    if (presence && source.kind !== "topic") {
      throw invalid("presence", "expected a topic's destination beside it");
    }
    if (presence && source.kind === "topic") checkWatchable([source.topic]);
    const delivery = new StompDelivery(subscription, this.#session, this.#outlet, this.#filter(source));
    const { since, known } = await this.#start(subscription);
    const topics = source.kind === "topic"
      ? [source.topic, ...presence ? [presenceTopic(source.topic)] : []]
      : [];
    const opened = await this.#deps.feed.open({
      user: this.#user,
      topics,
      since,
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
    if (source.kind === "topic") this.#join(source.topic);
    opened.session.open();
  }

  /** Ends a subscription's reading. Its place is kept, or with `forget` given up. */
  async stop(subscription: StompSubscription, forget: boolean): Promise<void> {
    const { source } = subscription.request;
    const delivery = this.#deliveries.get(subscription);
    if (delivery === undefined) return;
    delivery.pause();
    if (forget) await this.#keeper.forget(delivery);
    else await this.#keeper.end([delivery]);
    delivery.stop();
    this.#deliveries.delete(subscription);
    if (source.kind === "topic") this.#join(source.topic);
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
    const text = since ?? (durable && await this.#keeper.find(durable));
    return { since: parseSince(text), known: text !== undefined };
  }

  /** Tells presence of a topic as the subscriptions have it now. */
  #join(topic: string): void {
    const on = [...this.#deliveries.keys()].map((each) => each.request)
      .filter(({ source }) => source.kind === "topic" && source.topic === topic);
    if (on.length === 0) this.#presence.part(topic);
    else this.#presence.join(topic, on.some((request) => request.presence));
  }

  #filter(source: Source): (type: string) => boolean {
    if (source.kind === "topic") return () => true;
    const { queues } = this.#deps;
    const own = queues.get(source.queue);
    if (own !== undefined) return (type) => own.includes(type);
    const taken = new Set([...queues.values()].flat());
    return (type) => !taken.has(type);
  }
}
