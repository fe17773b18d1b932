/**
 * The places of all durable subscriptions of one gateway: those in use, those on their way to the database, and behind them
 * the database. So a client that comes back faster than its place is written still goes on exactly where it stopped.
 *
 * Invariant: writes of one person follow each other, so that an older place never overtakes a newer one.
 * @module
 */
import type { Place, StompPositions } from "./stomp_store.ts";
import type { DurableKey } from "./stomp_subscription.ts";

/** A durable subscription that is read at the moment. */
export interface InUse {
  /** What is behind it is settled; undefined: nothing to keep yet. */
  readonly position: string | undefined;
}

/** The places. */
export class StompPlaces {
  readonly #positions: StompPositions;
  readonly #inUse = new Map<string, Set<InUse>>();
  readonly #writing = new Map<string, Promise<void>>();

  constructor(positions: StompPositions) {
    this.#positions = positions;
  }

  /** Where a subscription goes on; undefined: it was never seen. */
  async find(user: string, key: DurableKey): Promise<Place | undefined> {
    const cursors = [...this.#inUse.get(name(user, key)) ?? []].map(({ position }) => position);
    const cursor = cursors.findLast((position) => position !== undefined);
    if (cursor !== undefined) return { cursor, own: true };
    await this.#writing.get(user);
    return await this.#positions.find(user, key);
  }

  /** Notes that a place is in use; the returned function notes that it no longer is. */
  use(user: string, key: DurableKey, place: InUse): () => void {
    const id = name(user, key);
    const places = this.#inUse.get(id) ?? new Set();
    this.#inUse.set(id, places.add(place));
    return () => {
      if (places.delete(place) && places.size === 0) this.#inUse.delete(id);
    };
  }

  /** Writes places. @throws what the database throws */
  keep(user: string, positions: readonly (DurableKey & { cursor: string })[]): Promise<void> {
    return this.#line(user, () => this.#positions.keep(user, positions));
  }

  /** Gives a place up. @throws what the database throws */
  forget(user: string, key: DurableKey): Promise<void> {
    return this.#line(user, () => this.#positions.forget(user, key));
  }

  /** Resolves when every write that was begun is over. */
  async settled(): Promise<void> {
    await Promise.all(this.#writing.values());
  }

  #line(user: string, run: () => Promise<void>): Promise<void> {
    const result = (this.#writing.get(user) ?? Promise.resolve()).then(run);
    // who waits in line does not care how the one before fared; that one's caller does
    const over = result.then(() => {}, () => {}).then(() => {
      if (this.#writing.get(user) === over) this.#writing.delete(user);
    });
    this.#writing.set(user, over);
    return result;
  }
}

function name(user: string, { client, name, destination }: DurableKey): string {
  return JSON.stringify([user, client, name, destination]);
}
