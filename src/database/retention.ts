/**
 * Removes what is old, on every gateway alike: one at a time has the lock for a step, the others find it busy and come back
 * later. Steps follow each other while there is more; each takes as many rows as go in some 25 ms and rests for four times of what
 * it took, so that a backlog of millions is worked off without readers and writers noticing.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Chance, type Clock, jitter, rest, systemChance, systemClock } from "../clock.ts";
import { rounds } from "../rounds.ts";
import { runner, type Service } from "../service.ts";
import type { InboxStore } from "./inbox_store.ts";

/** What retention needs. Times in milliseconds. */
export interface RetentionOptions {
  store: Pick<InboxStore, "purge" | "tidy">;
  /** How long notifications are kept. */
  keep: number;
  clock?: Clock;
  chance?: Chance;
  /** Rows of the first step, and at most. @default 1000 and 20000 */
  step?: { first: number; most: number };
  /** Between two looks that found nothing. @default 15 s, less for a short retention */
  pause?: number;
  /** What else is old and goes at the same times. */
  alongside?: () => Promise<unknown>;
  /** Told what each step removed. */
  onPurged?: (rows: number) => void;
}

/** Milliseconds that a step is to take. */
const STEP = 25;
/** What it rests after one, against what it took. */
const REST = 4;
/** Milliseconds between two steps, at the least. */
const BREATH = 20;
/** Rows of a step, at the least. */
const FEWEST = 100;
/** Milliseconds between two looks from the log's very beginning. */
const FRESH = 3_600_000;
const logger = getLogger(["tidings", "retention"]);

/** Makes the service. */
export function retention(options: RetentionOptions): Service {
  const { store, keep, clock = systemClock, chance = systemChance, alongside, onPurged } = options;
  const { first, most } = options.step ?? { first: 1_000, most: 20_000 };
  const pause = options.pause ?? Math.max(1_000, Math.min(15_000, keep / 20));
  let rows = first;
  let freshAt = -Infinity;

  async function step(): Promise<number> {
    const start = clock.now();
    const fresh = start - freshAt >= FRESH;
    const { aged, expired, more, busy } = await store.purge(keep, rows, fresh);
    const took = clock.now() - start;
    if (fresh && !busy) freshAt = start;
    if (aged + expired > 0) onPurged?.(aged + expired);
    if (more) {
      rows = resized(rows, took, most);
      return Math.max(BREATH, REST * took);
    }
    await alongside?.();
    return await store.tidy(keep, FEWEST * 10) ? BREATH : jitter(2 * pause, chance);
  }

  function failed(error: unknown): number {
    logger.warn("Cannot remove what is old, trying again later: {error}", { error });
    rows = Math.min(rows, first);
    return jitter(2 * pause, chance);
  }

  async function run(signal: AbortSignal): Promise<void> {
    await rest(clock, jitter(pause, chance), signal);
    await rounds(step, { clock, failed, signal });
  }

  return runner("retention", run);
}

/** As many rows as would have taken the time of a step, and at most twice or half as many as before. */
function resized(rows: number, took: number, most: number): number {
  const factor = Math.max(0.5, Math.min(2, STEP / Math.max(1, took)));
  return Math.max(Math.min(FEWEST, most), Math.min(most, Math.round(rows * factor)));
}
