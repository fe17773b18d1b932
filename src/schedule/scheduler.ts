/**
 * Sends what is scheduled, on every gateway alike: each looks when something is due, or half a second after it last looked,
 * so that what another process adds is seen in time without anybody ringing. A look at a million waiting schedules is two
 * index probes.
 *
 * Never twice: a row is sent in the transaction that removes or advances it. Never late because a gateway died: nothing is
 * claimed ahead of time.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Chance, type Clock, jitter, systemChance, systemClock } from "../clock.ts";
import { rounds } from "../rounds.ts";
import { runner, type Service } from "../service.ts";
import { stepOf } from "./step.ts";
import type { ScheduleStore } from "./store.ts";

/** What a scheduler needs. */
export interface SchedulerOptions {
  store: ScheduleStore;
  clock?: Clock;
  chance?: Chance;
  /** The longest time between two looks, in milliseconds. @default 500 */
  pause?: number;
  /** How many are sent in one transaction. @default 1000 */
  batch?: number;
  /** Told after every look how many were sent. */
  onSent?: (count: number) => void;
}

const logger = getLogger(["tidings", "schedule"]);
const RETRY_MS = 1_000;

/** Makes the scheduler. */
export function scheduler(options: SchedulerOptions): Service {
  const { store, clock = systemClock, chance = systemChance, pause = 500, batch = 1_000, onSent } = options;

  async function look(): Promise<number> {
    const once = await store.sendDue(batch);
    if (once.sent > 0) onSent?.(once.sent);
    if (once.wait === undefined) return pause;
    if (once.wait > 0) return once.taken === batch ? 0 : Math.min(once.wait, pause);
    const waiting = await store.dueRecurring(batch);
    if (waiting.length > 0) {
      const sent = await store.advance(waiting.map(stepOf));
      if (sent > 0) onSent?.(sent);
    }
    // what another gateway holds at this moment is looked at again soon, not at once
    return once.taken === batch || waiting.length === batch ? 0 : Math.min(10 + jitter(20, chance), pause);
  }

  function failed(error: unknown): number {
    logger.warn("Cannot look at the schedules: {error}. Trying again.", { error });
    return jitter(RETRY_MS, chance);
  }

  return runner("scheduler", (signal) => rounds(look, { clock, failed, signal }));
}
