/**
 * Gathers concurrent requests into shared statements, so that throughput grows with load: what comes while statements are under
 * way goes into the next one.
 *
 * - A request is answered when it is committed, and is sent completely or not at all.
 * - At most `inFlight` statements run; what waits is bounded in requests, rows and bytes, and more is `unavailable`.
 * - When a statement is refused, its batch is halved until the guilty request is alone: nobody pays for another's mistake.
 * - When the outcome is unknown, only requests that can be repeated safely are repeated; the others are told.
 * - Two requests with the same idempotency key never share a batch: the second waits for the first.
 * @module
 */
import { type Chance, type Clock, jitter } from "../clock.ts";
import {
  type BatchRequest,
  type FailureKind,
  type Outcome,
  PublishFailure,
  type PublishStore,
} from "../database/publish_store.ts";
import { TidingsError } from "../errors.ts";
import type { Service } from "../service.ts";

/** A request, and what it weighs. */
export interface PublishRequest extends BatchRequest {
  /** Notifications × topics. */
  count: number;
  /** Bytes of text and data in all of them. */
  bytes: number;
}

/** What was sent, or had been sent by an earlier request with the same key. */
export interface Published {
  /** In the order of the notifications and, within one, of its topics. */
  ids: string[];
  replayed: boolean;
}

/** Sends. */
export interface Publisher extends Service {
  /**
   * Resolves once it is committed.
   * @throws {TidingsError} `invalid_request`, `idempotency_key_reused`, `unavailable`, `restarting`
   */
  publish(request: PublishRequest): Promise<Published>;
}

/** Bounds. Times in milliseconds. */
export interface PublisherLimits {
  /** Statements at a time. */
  inFlight: number;
  /** In one statement, unless a single request is larger. */
  batchRequests: number;
  batchRows: number;
  batchBytes: number;
  /** Of everything that waits. */
  waitingRequests: number;
  waitingRows: number;
  waitingBytes: number;
  /** From a request's arrival: how long it is tried again where that is safe. */
  patience: number;
  /** Before the second attempt, doubled for each further one. */
  pause: number;
}

/** The defaults of {@link PublisherLimits}. */
export const PUBLISHER_LIMITS: Readonly<PublisherLimits> = {
  inFlight: 2,
  batchRequests: 500,
  batchRows: 1_000,
  batchBytes: 4 * 1024 * 1024,
  waitingRequests: 10_000,
  waitingRows: 50_000,
  waitingBytes: 64 * 1024 * 1024,
  patience: 5_000,
  pause: 50,
};

/** A publisher over a store. */
export function createPublisher(
  store: PublishStore,
  deps: { clock: Clock; chance: Chance },
  limits: Partial<PublisherLimits> = {},
): Publisher {
  return new BatchingPublisher(store, deps, { ...PUBLISHER_LIMITS, ...limits });
}

interface Entry {
  request: PublishRequest;
  arrived: number;
  resolve(published: Published): void;
  reject(error: unknown): void;
}

class BatchingPublisher implements Publisher {
  readonly name = "publisher";
  readonly #store: PublishStore;
  readonly #clock: Clock;
  readonly #chance: Chance;
  readonly #limits: PublisherLimits;
  readonly #waiting: Entry[] = [];
  /** By owner and key: what is under way with it. */
  readonly #keys = new Map<string, Promise<unknown>>();
  readonly #load = { requests: 0, rows: 0, bytes: 0 };
  #running = 0;
  #stopping = false;
  #idle: PromiseWithResolvers<void> | undefined;

  constructor(store: PublishStore, deps: { clock: Clock; chance: Chance }, limits: PublisherLimits) {
    this.#store = store;
    this.#clock = deps.clock;
    this.#chance = deps.chance;
    this.#limits = limits;
  }

  start(): Promise<void> {
    this.#stopping = false;
    return Promise.resolve();
  }

  /** Takes nothing new and finishes what was accepted. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#load.requests > 0) await (this.#idle ??= Promise.withResolvers()).promise;
  }

  async publish(request: PublishRequest): Promise<Published> {
    if (this.#stopping) {
      throw new TidingsError("restarting", "Cannot send: this gateway is stopping; try again", {
        retryAfter: 1,
      });
    }
    this.#admit(request);
    try {
      const { idempotency } = request;
      if (idempotency === undefined) return await this.#enqueue(request);
      return await this.#inTurn(
        JSON.stringify([idempotency.owner, idempotency.key]),
        () => this.#enqueue(request),
      );
    } finally {
      this.#load.requests--;
      this.#load.rows -= request.count;
      this.#load.bytes -= request.bytes;
      if (this.#load.requests === 0) {
        this.#idle?.resolve();
        this.#idle = undefined;
      }
    }
  }

  #admit(request: PublishRequest): void {
    const { waitingRequests, waitingRows, waitingBytes } = this.#limits;
    const load = this.#load;
    const full = load.requests > 0 && (load.requests + 1 > waitingRequests ||
      load.rows + request.count > waitingRows || load.bytes + request.bytes > waitingBytes);
    if (full) {
      throw new TidingsError(
        "unavailable",
        `Cannot send: ${load.requests} requests are waiting to be sent; try again`,
        { retryAfter: 1 },
      );
    }
    load.requests++;
    load.rows += request.count;
    load.bytes += request.bytes;
  }

  /** After whoever has the same key, whatever became of it. */
  async #inTurn<T>(key: string, run: () => Promise<T>): Promise<T> {
    const before = this.#keys.get(key);
    const turn = before === undefined ? run() : before.then(run);
    const settled = turn.then(() => undefined, () => undefined);
    this.#keys.set(key, settled);
    try {
      return await turn;
    } finally {
      if (this.#keys.get(key) === settled) this.#keys.delete(key);
    }
  }

  #enqueue(request: PublishRequest): Promise<Published> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, arrived: this.#clock.now(), resolve, reject });
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#running < this.#limits.inFlight && this.#waiting.length > 0) {
      this.#running++;
      this.#send(this.#gather()).then(() => {
        this.#running--;
        this.#pump();
      });
    }
  }

  #gather(): Entry[] {
    const { batchRequests, batchRows, batchBytes } = this.#limits;
    let rows = 0;
    let bytes = 0;
    let take = 0;
    for (const { request } of this.#waiting) {
      rows += request.count;
      bytes += request.bytes;
      if (take > 0 && (take >= batchRequests || rows > batchRows || bytes > batchBytes)) break;
      take++;
    }
    return this.#waiting.splice(0, take);
  }

  /** Sends a batch and settles every entry of it; never rejects. */
  async #send(batch: Entry[]): Promise<void> {
    try {
      for (let attempt = 0; batch.length > 0; attempt++) {
        const failure = await this.#attempt(batch);
        if (failure === undefined) return;
        if (failure.kind === "refused") {
          await this.#separate(batch, failure);
          return;
        }
        batch = this.#keepTrying(batch, failure);
        if (batch.length === 0) return;
        await this.#clock.sleep(jitter(this.#limits.pause * 2 ** Math.min(attempt, 6), this.#chance));
      }
    } catch (error) {
      for (const entry of batch) entry.reject(error);
    }
  }

  async #attempt(batch: readonly Entry[]): Promise<PublishFailure | undefined> {
    try {
      const outcomes = await this.#store.send(batch.map(({ request }) => request));
      for (const [index, entry] of batch.entries()) settle(entry, outcomes[index]);
      return undefined;
    } catch (error) {
      if (error instanceof PublishFailure) return error;
      throw error;
    }
  }

  async #separate(batch: Entry[], failure: PublishFailure): Promise<void> {
    if (batch.length === 1) {
      batch[0]?.reject(failure.error);
      return;
    }
    const middle = Math.ceil(batch.length / 2);
    await this.#send(batch.slice(0, middle));
    await this.#send(batch.slice(middle));
  }

  /** Tells those for whom nothing more can be done, and returns the others. */
  #keepTrying(batch: Entry[], failure: PublishFailure): Entry[] {
    const now = this.#clock.now();
    return batch.filter((entry) => {
      const again = now - entry.arrived < this.#limits.patience && maySendAgain(entry.request, failure.kind);
      if (!again) entry.reject(failure.error);
      return again;
    });
  }
}

function maySendAgain(request: PublishRequest, kind: FailureKind): boolean {
  return kind !== "unknown" || request.idempotency !== undefined ||
    request.rows.every((row) => row.dedupe_key !== undefined);
}

function settle(entry: Entry, outcome: Outcome | undefined): void {
  if (outcome === undefined) {
    entry.reject(new TidingsError("internal", "Cannot tell what was sent: the database did not say"));
  } else if (outcome.outcome === "reused") {
    entry.reject(
      new TidingsError(
        "idempotency_key_reused",
        "Cannot send: this Idempotency-Key came with another request within the last 24 hours; use a new key for a new request",
        { errors: [{ field: "Idempotency-Key", message: "expected a key that was not used before" }] },
      ),
    );
  } else {
    entry.resolve({ ids: outcome.ids, replayed: outcome.outcome === "replayed" });
  }
}
