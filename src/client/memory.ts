/**
 * What outlives a connection or a page: the cursor of each person, and the transport that worked on each network. Storage
 * that is missing, full or forbidden costs the memory of the next page load, never a notification.
 * @module
 */
import type { Clock } from "../clock.ts";
import { type Transport, TRANSPORTS } from "./machine.ts";

/** The part of Web Storage that is used; `localStorage` unless another is given. */
export interface KeyValueStore {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** After so many milliseconds what was learnt about a network is forgotten. */
const NETWORK_AGE = 7 * 24 * 3600_000;

/** One gateway's corner of a store. */
export class Memory {
  #store: KeyValueStore;
  readonly #prefix: string;
  readonly #clock: Clock;

  constructor(store: KeyValueStore, base: URL, clock: Clock) {
    this.#store = store;
    this.#prefix = `tidings:${base.host}${base.pathname}`;
    this.#clock = clock;
  }

  /** Where this person's feed was left off. */
  cursor(user: string): string | undefined {
    const cursor = this.#get(`cursor:${user}`)?.cursor;
    return typeof cursor === "string" ? cursor : undefined;
  }

  keepCursor(user: string, cursor: string): void {
    this.#set(`cursor:${user}`, { cursor });
  }

  /** What worked on this network, and how often better ones were tried in vain. */
  transport(network: string): { transport: Transport; probes: number } | null {
    const { transport, probes, at } = this.#get(`network:${network}`) ?? {};
    const known = TRANSPORTS.find((each) => each === transport);
    if (known === undefined || typeof probes !== "number" || typeof at !== "number") return null;
    return Math.abs(this.#clock.now() - at) > NETWORK_AGE ? null : { transport: known, probes };
  }

  keepTransport(network: string, transport: Transport, probes: number): void {
    this.#set(`network:${network}`, { transport, probes, at: this.#clock.now() });
  }

  #get(key: string): Record<string, unknown> | null {
    try {
      const value: unknown = JSON.parse(this.#store.getItem(`${this.#prefix}${key}`) ?? "null");
      return typeof value === "object" ? value as Record<string, unknown> | null : null;
    } catch {
      // unreadable is as good as absent
      return null;
    }
  }

  #set(key: string, value: Record<string, unknown>): void {
    const text = JSON.stringify(value);
    try {
      this.#store.setItem(`${this.#prefix}${key}`, text);
    } catch {
      // full or forbidden: this page remembers by itself from here on
      this.#store = pageStore();
      this.#store.setItem(`${this.#prefix}${key}`, text);
    }
  }
}

/** The browser's store, or one that lasts as long as the page. */
export function defaultStore(): KeyValueStore {
  try {
    // reading the property can throw where storage is forbidden
    if (globalThis.window !== undefined && globalThis.localStorage) return globalThis.localStorage;
  } catch {
    return pageStore();
  }
  return pageStore();
}

/** A store that lasts as long as the page. */
export function pageStore(): KeyValueStore {
  const map = new Map<string, string>();
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
  };
}

/** The ids that were last seen: a bounded set that forgets the oldest. */
export class Recent {
  readonly #ids = new Set<string>();
  readonly #most: number;

  /** The default covers far more than what two overlapping connections can both bring. */
  constructor(most = 10_000) {
    this.#most = most;
  }

  /** False when it was seen before. */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > this.#most) {
      const [oldest] = this.#ids;
      this.#ids.delete(oldest!);
    }
    return true;
  }
}
