/**
 * Makes the pushes, on every gateway alike. Reads the log on (one gateway at a time), claims what is due with a lease, hands
 * it to the providers, settles it with the reason.
 *
 * Never two for one notification on one device: the database holds one delivery for each, and gives it to one gateway at a
 * time. Never none: what a gateway does not settle is due again when its lease ends. So a push service may be asked twice
 * around a crash, and the message's id lets the device drop the repeat.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Chance, type Clock, jitter, systemChance, systemClock } from "../clock.ts";
import { rounds } from "../rounds.ts";
import type { Service } from "../service.ts";
import type { Outcome, Provider } from "./provider.ts";
import type { Claim, PushStore } from "./store.ts";

/** What a dispatcher needs. Times in milliseconds. */
export interface DispatcherOptions {
  store: PushStore;
  providers: readonly Provider[];
  clock?: Clock;
  chance?: Chance;
  /** How long whoever looks has to show it. @default 3000 */
  grace?: number;
  /** How long a claim is held. @default 60000 */
  lease?: number;
  /** How long one attempt may take. @default 30000 */
  deadline?: number;
  /** The longest time between two looks. @default 500 */
  pause?: number;
  /** How long the first retry waits at most, where nobody says how long; each further one twice as long. @default 5000 */
  backoff?: number;
  /** Pushes under way at once. @default 64 */
  concurrency?: number;
  /** How long settled deliveries are kept. @default 30 days */
  keep?: number;
  /** Told how every attempt ended. */
  onOutcome?: (kind: string, outcome: Outcome) => void;
}

const logger = getLogger(["tidings", "push"]);
const PAGE = 1_000;
const FAN_OUT = 2_000;
const RETRY_MS = 2_000;
const RETRY_MAX_MS = 3_600_000;
const MAX_PAUSED = 1_000;
const STOP_MS = 5_000;
const PURGE_EVERY_MS = 60_000;

/** Makes the dispatcher. */
export function dispatcher(options: DispatcherOptions): Service {
  const { store, clock = systemClock, chance = systemChance, onOutcome } = options;
  const { grace = 3_000, lease = 60_000, deadline = 30_000, pause = 500, backoff = 5_000, concurrency = 64 } =
    options;
  const providers = new Map(options.providers.map((provider) => [provider.kind, provider]));
  const paused = new Map<string, number>();
  const flights = new Set<Promise<void>>();
  let stopping = new AbortController();
  let cutting = new AbortController();
  let loops: Promise<void>[] = [];

  async function attempt(claim: Claim): Promise<Outcome> {
    const provider = providers.get(claim.kind);
    if (provider === undefined) return { kind: "failed", reason: `${claim.kind} is not set up here` };
    const service = provider.service(claim.target);
    const until = paused.get(service);
    if (until !== undefined && until > clock.now()) {
      return { kind: "retry", reason: "its service asked for a pause", after: until - clock.now() };
    }
    const late = new AbortController();
    const cancel = clock.after(
      deadline,
      () => late.abort(new Error(`no answer within ${deadline / 1000} s`)),
    );
    try {
      const outcome = await provider.send(
        claim.target,
        claim.message,
        AbortSignal.any([cutting.signal, late.signal]),
      );
      if (outcome.kind === "retry" && outcome.all === true && outcome.after !== undefined) {
        if (paused.size >= MAX_PAUSED) paused.clear();
        paused.set(service, clock.now() + outcome.after);
      }
      return outcome;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { kind: "retry", reason: reason.slice(0, 300), ...(cutting.signal.aborted ? { after: 0 } : {}) };
    } finally {
      cancel();
    }
  }

  async function push(claim: Claim): Promise<void> {
    const outcome = await attempt(claim);
    const longest = Math.min(backoff * 2 ** Math.min(claim.attempt - 1, 20), RETRY_MAX_MS);
    const asked = outcome.kind === "retry" ? outcome.after : undefined;
    // not before what was asked for, and not all at that moment
    const retry = asked === undefined
      ? jitter(longest, chance)
      : asked + chance() * Math.min(asked / 4, 30_000);
    onOutcome?.(claim.kind, outcome);
    try {
      await store.settle(claim, outcome, retry);
    } catch (error) {
      logger.warn("Cannot settle a push: {error}. It is due again when its lease ends.", { error });
    }
  }

  /** Returns how long to wait before the next look. */
  async function dispatch(): Promise<number> {
    const free = concurrency - flights.size;
    if (free < concurrency / 4) {
      await Promise.race(flights);
      return 0;
    }
    const claims = await store.claim(free, lease);
    for (const claim of claims) {
      const flight = push(claim).finally(() => flights.delete(flight));
      flights.add(flight);
    }
    return claims.length === free ? 0 : jitter(pause, chance);
  }

  async function plan(): Promise<number> {
    const seen = await store.plan(PAGE, grace);
    return seen !== undefined && seen >= PAGE ? 0 : jitter(Math.min(2 * pause, grace || pause), chance);
  }

  async function fanOut(): Promise<number> {
    return await store.fanOut(FAN_OUT, grace) ? 0 : jitter(Math.min(2 * pause, grace || pause), chance);
  }

  async function purge(): Promise<number> {
    const purged = await store.purge(options.keep ?? 30 * 86_400_000, PAGE);
    return purged === PAGE ? 0 : jitter(2 * PURGE_EVERY_MS, chance);
  }

  function failed(error: unknown): number {
    logger.warn("Cannot work on pushes: {error}. Trying again.", { error });
    return jitter(RETRY_MS, chance);
  }

  return {
    name: "push dispatcher",
    start() {
      stopping = new AbortController();
      cutting = new AbortController();
      const { signal } = stopping;
      loops = [plan, fanOut, dispatch, purge].map((round) => rounds(round, { clock, failed, signal }));
      return Promise.resolve();
    },
    async stop() {
      stopping.abort();
      const cancel = clock.after(STOP_MS, () => cutting.abort(new Error("the gateway stopped")));
      await Promise.all(loops);
      await Promise.all(flights);
      cancel();
      loops = [];
      for (const provider of providers.values()) provider.close();
    },
  };
}
