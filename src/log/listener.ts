/**
 * Hears the bell, on the connection that also reads the log: directly to the server (a transaction pooler passes no bells on), and
 * warm when the bell is to be answered.
 *
 * Invariants:
 * - Every (re)connect rings: what rang in between is lost, so it means "read again".
 * - A heartbeat goes through the database to this gateway's own channel. No echo in time: the connection is given up and
 *   made anew, since a dead one may never say so.
 * - Whoever hears a bell reads the log. What a bell carries is told after that it rang, unless a bell before may have rung unheard.
 * - Nothing ends the watch but `stop`: what goes wrong is told, and tried again.
 * @module
 */
import { type Chance, type Clock, jitter, rest } from "../clock.ts";
import type { Database } from "../database/postgres.ts";
import type { Service } from "../service.ts";

/** How to listen. Times in milliseconds. */
export interface ListenerOptions {
  /** This gateway's id: names its heartbeat's channel. */
  instance: string;
  /** Between two heartbeats. @default 10000 */
  heartbeat?: number;
  /** How long an echo may take. @default 5000 */
  echo?: number;
}

/** What the listener tells. */
export interface ListenerEvents {
  /** Somebody rang, or something may have rung unheard. */
  ring(): void;
  /** The bell that was told last carries a row, and none was lost since the one before. */
  carried(bell: string): void;
  /** An echo did not come, or came again. */
  heard(alive: boolean): void;
  /** Something went wrong that no connection is to blame for; it listens on. */
  failed(error: unknown): void;
}

/** The channel that a sender rings. */
export const BELL = "tidings";

/**
 * Listens after `start`, which resolves when the first LISTEN is in force: on `tail`, a direct connection, which its owner starts
 * before and stops after it; heartbeats are sent through `database`.
 */
export function createListener(
  options: ListenerOptions,
  deps: { database: Database; tail: Database; clock: Clock; chance: Chance; events: ListenerEvents },
): Service {
  const { instance, heartbeat = 10_000, echo = 5_000 } = options;
  const { database, tail, clock, chance, events } = deps;
  const channel = `tidings_${instance}`;
  let stopping: AbortController | undefined;
  let loop: Promise<void> | undefined;
  let deaf = true;
  /** Nothing has rung unheard since the last ring that was told. */
  let hearing = false;
  /** Ends the pause between two heartbeats. */
  let pause = new AbortController();
  let echoed: (() => void) | undefined;

  async function listen(): Promise<void> {
    deaf = false;
    try {
      await tail.listen(`listen ${BELL}; listen "${channel}"; select tidings.hear_carrier()`, {
        heard(rung, payload) {
          if (rung === BELL) events.ring();
          else if (rung === channel) echoed?.();
          else carried(payload);
        },
        lost() {
          deaf = true;
          hearing = false;
          pause.abort();
        },
      });
    } catch (error) {
      deaf = true;
      throw error;
    }
    hearing = !deaf;
    events.ring();
  }

  function carried(bell: string): void {
    if (!hearing) return;
    try {
      events.carried(bell);
    } catch (error) {
      // Its row is read like every other.
      events.failed(error);
    }
  }

  /** Whether a bell that this gateway rings for itself arrives. */
  async function probe(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const heard = Promise.withResolvers<boolean>();
    echoed = () => heard.resolve(true);
    const cancel = clock.after(echo, () => heard.resolve(false));
    const abort = () => heard.resolve(false);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await database.query((sql) => sql`select pg_notify(${channel}, '')`, echo);
      return await heard.promise;
    } catch {
      // The pool cannot reach the server: the tailer says so, and this listener has its own connection to lose.
      return false;
    } finally {
      cancel();
      signal.removeEventListener("abort", abort);
      echoed = undefined;
    }
  }

  async function watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      pause = new AbortController();
      const either = AbortSignal.any([signal, pause.signal]);
      try {
        if (deaf) await listen();
        const alive = await probe(either);
        if (signal.aborted) return;
        if (deaf) continue;
        events.heard(alive);
        if (!alive) {
          tail.renew();
          await listen();
        }
        await rest(clock, jitter(alive ? heartbeat : echo / 5, chance), alive ? either : signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isConnectionTrouble(error)) events.heard(false);
        else events.failed(error);
        await rest(clock, jitter(echo / 5, chance), signal);
      }
    }
  }

  return {
    name: "listener",
    async start() {
      if (stopping !== undefined) return;
      stopping = new AbortController();
      await listen();
      loop = watch(stopping.signal);
    },
    async stop() {
      stopping?.abort();
      await loop;
      loop = stopping = undefined;
    },
  };
}

/** Everything that is reported of a connection has a code; a programming error has none. */
function isConnectionTrouble(error: unknown): boolean {
  return typeof (error as { code?: unknown }).code === "string";
}
