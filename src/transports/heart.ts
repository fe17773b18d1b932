/**
 * One timer for every session's heartbeat: sessions are spread over the seconds of an interval, so that they do not all
 * beat at once and none needs a timer of its own.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Service } from "../service.ts";

/** A session that beats. Must not throw. */
export interface Beating {
  beat(): void;
}

/** The heart of one transport. */
export interface Heart extends Service {
  add(beating: Beating): void;
  remove(beating: Beating): void;
}

/** Beats everybody once in `seconds`. */
export function createHeart(seconds: number, deps: { clock: Clock }): Heart {
  const slots = Array.from({ length: seconds }, () => new Set<Beating>());
  const places = new Map<Beating, Set<Beating>>();
  let next = 0;
  let added = 0;
  let cancel: (() => void) | undefined;

  function tick(): void {
    cancel = deps.clock.after(1_000, tick);
    const slot = slots[next]!;
    next = (next + 1) % seconds;
    for (const beating of [...slot]) beating.beat();
  }

  return {
    name: "heart",
    start() {
      cancel ??= deps.clock.after(1_000, tick);
      return Promise.resolve();
    },
    stop() {
      cancel?.();
      cancel = undefined;
      return Promise.resolve();
    },
    add(beating) {
      const slot = slots[added++ % seconds]!;
      slot.add(beating);
      places.set(beating, slot);
    },
    remove(beating) {
      places.get(beating)?.delete(beating);
      places.delete(beating);
    },
  };
}
