/**
 * Removes what is old, on every gateway alike: one at a time has the lock for a step of some thousand rows, the others find it
 * busy and come back later. Steps follow each other while there is more, with a breath between them.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Chance, type Clock, jitter, systemChance, systemClock } from "../clock.ts";
import type { InboxStore } from "./inbox_store.ts";
import type { Service } from "../service.ts";

/** What retention needs. Times in milliseconds. */
export interface RetentionOptions {
  store: Pick<InboxStore, "purge">;
  /** How long notifications are kept. */
  keep: number;
  clock?: Clock;
  chance?: Chance;
  /** Rows of a step. @default 5000 */
  step?: number;
  /** Between two looks that found nothing. @default 15 s, less for a short retention */
  pause?: number;
  /** What else is old and goes at the same times. */
  alongside?: () => Promise<unknown>;
  /** Told what each step removed. */
  onPurged?: (rows: number) => void;
}

const BREATH = 20;
const logger = getLogger(["tidings", "retention"]);

/** Makes the service. */
export function retention(options: RetentionOptions): Service {
  const { store, keep, clock = systemClock, chance = systemChance, step = 5_000, alongside, onPurged } =
    options;
  const pause = options.pause ?? Math.max(1_000, Math.min(15_000, keep / 20));
  let stopping = new AbortController();
  let running: Promise<void> | undefined;

  async function run(signal: AbortSignal): Promise<void> {
    let fresh = true;
    let wait = jitter(pause, chance);
    for (;;) {
      await clock.sleep(wait, signal);
      try {
        const { aged, expired, more } = await store.purge(keep, step, fresh);
        if (aged + expired > 0) onPurged?.(aged + expired);
        if (!more) await alongside?.();
        fresh = !more;
        wait = more ? BREATH : jitter(2 * pause, chance);
      } catch (error) {
        if (signal.aborted) return;
        logger.warn("Cannot remove what is old, trying again later: {error}", { error });
        fresh = true;
        wait = jitter(2 * pause, chance);
      }
    }
  }

  return {
    name: "retention",
    start() {
      stopping = new AbortController();
      const { signal } = stopping;
      running = run(signal).catch((error) => {
        if (!signal.aborted) throw error;
      });
      return Promise.resolve();
    },
    async stop() {
      stopping.abort();
      await running;
      running = undefined;
    },
  };
}
