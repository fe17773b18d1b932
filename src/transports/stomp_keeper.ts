/**
 * Keeps the places of one connection's durable subscriptions: when they begin, while messages go out, at their end.
 *
 * Invariant: a place is written before its first message can go out, so that nothing sent to a client that was ever
 * subscribed is lost to it. A later write that fails costs nothing but messages that come again.
 * @module
 */
import type { StompDelivery } from "./stomp_delivery.ts";
import type { StompPlaces } from "./stomp_places.ts";
import type { Place } from "./stomp_store.ts";
import type { DurableKey } from "./stomp_subscription.ts";

/** Milliseconds after which a place is written although no message went out: the log moved on, and replays stay short. */
const REFRESH = 600_000;
const AGENT_MAX = 200;

/** The keeper of one connection. */
export class StompKeeper {
  readonly #places: StompPlaces;
  readonly #user: string;
  readonly #agent: string;
  readonly #failed: (error: unknown) => void;
  readonly #kept = new Map<StompDelivery, { settled: number; at: number; release: () => void }>();

  constructor(
    places: StompPlaces,
    who: { user: string; userAgent: string | undefined },
    failed: (error: unknown) => void,
  ) {
    this.#places = places;
    this.#user = who.user;
    this.#agent = (who.userAgent ?? "").slice(0, AGENT_MAX);
    this.#failed = failed;
  }

  /** Where a subscription goes on; undefined: it was never seen. */
  async find(durable: DurableKey): Promise<Place | undefined> {
    return await this.#places.find(this.#user, this.#key(durable));
  }

  /** A durable subscription begins at `cursor`; with `write` the database does not know that yet. */
  async begin(delivery: StompDelivery, cursor: string, write: boolean, now: number): Promise<void> {
    const { durable } = delivery.subscription.request;
    if (durable === undefined) return;
    const key = this.#key(durable);
    if (write) await this.#places.keep(this.#user, [{ ...key, cursor }]);
    const release = this.#places.use(this.#user, key, delivery);
    this.#kept.set(delivery, { settled: delivery.subscription.settled, at: now, release });
  }

  /** Writes the places that have something to say. Never rejects. */
  keep(deliveries: Iterable<StompDelivery>, now: number): Promise<void> {
    const news: StompDelivery[] = [];
    for (const delivery of deliveries) {
      const kept = this.#kept.get(delivery);
      if (kept === undefined) continue;
      const { settled } = delivery.subscription;
      if (kept.settled === settled && now - kept.at < REFRESH) continue;
      this.#kept.set(delivery, { ...kept, settled, at: now });
      news.push(delivery);
    }
    return this.#write(news);
  }

  /** Writes the places of subscriptions that end. Resolves when they are written, never rejects. */
  end(deliveries: Iterable<StompDelivery>): Promise<void> {
    const ended = [...deliveries].filter((delivery) => this.#kept.has(delivery));
    const written = this.#write(ended);
    for (const delivery of ended) this.#release(delivery);
    return written;
  }

  /** A subscription is over for good. */
  async forget(delivery: StompDelivery): Promise<void> {
    const { durable } = delivery.subscription.request;
    if (durable === undefined) return;
    this.#release(delivery);
    await this.#places.forget(this.#user, this.#key(durable));
  }

  #release(delivery: StompDelivery): void {
    this.#kept.get(delivery)?.release();
    this.#kept.delete(delivery);
  }

  async #write(deliveries: readonly StompDelivery[]): Promise<void> {
    const positions = deliveries.flatMap((delivery) => {
      const { durable } = delivery.subscription.request;
      const cursor = delivery.position;
      return durable === undefined || cursor === undefined ? [] : [{ ...this.#key(durable), cursor }];
    });
    if (positions.length === 0) return;
    try {
      await this.#places.keep(this.#user, positions);
    } catch (error) {
      // the next change writes them again
      this.#failed(error);
    }
  }

  /** A client that does not name itself is known by its user agent: two devices of a person keep two places. */
  #key(durable: DurableKey): DurableKey {
    const { client } = durable;
    return { ...durable, client: client === "" ? `agent ${this.#agent}` : `id ${client}` };
  }
}
