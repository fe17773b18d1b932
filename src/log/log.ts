/**
 * The log as one service: the listener hears the bell, the tailer reads, the consumer gets every stretch in order.
 * @module
 */
import type { Chance, Clock } from "../clock.ts";
import type { LogStore } from "../database/log_store.ts";
import type { Database } from "../database/postgres.ts";
import { compose, type Service } from "../service.ts";
import { createListener } from "./listener.ts";
import {
  createTailer,
  type LogConsumer,
  type Tailer,
  type TailerEvents,
  type TailerOptions,
} from "./tailer.ts";

/** What the log needs. */
export interface LogDeps {
  database: Database;
  /** The one connection that reads the log, and hears the bell. */
  tail: Database;
  store: LogStore;
  clock: Clock;
  chance: Chance;
  consumer: LogConsumer;
  events: TailerEvents & {
    /** The bell did not ring, or rings again. */
    bell(alive: boolean): void;
    /** The listener went wrong, and tries again. */
    bellFailed(error: unknown): void;
  };
}

/** The log. */
export interface Log extends Service {
  readonly tailer: Tailer;
}

/** The log of one gateway; `start` resolves when it has a position and hears the bell. */
export function createLog(
  options: TailerOptions & { instance: string },
  deps: LogDeps,
): Log {
  const { database, tail, store, clock, chance, consumer, events } = deps;
  const tailer = createTailer(options, { store, clock, chance, consumer, events });
  const listener = createListener({ instance: options.instance }, {
    database,
    tail,
    clock,
    chance,
    events: {
      ring: () => tailer.ring(),
      carried: (bell) => tailer.carry(bell),
      heard: (alive) => events.bell(alive),
      failed: (error) => events.bellFailed(error),
    },
  });
  const both = compose("the log", [tailer, listener]);
  return { name: "the log", tailer, start: both.start, stop: both.stop };
}
