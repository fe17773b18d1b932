/**
 * Hears the bell: a connection of its own that LISTENs, directly to the server (a transaction pooler passes no bells on).
 *
 * Invariants:
 * - Every (re)connect rings: what rang in between is lost, so it means "read again".
 * - A heartbeat goes through the database to this gateway's own channel. No echo in time: the connection is given up and
 *   made anew, since a dead one may never say so.
 * - A bell carries nothing; whoever hears it reads the log.
 * - Nothing ends the watch but `stop`: what goes wrong is told, and tried again.
 * @module
 */
import postgres from "postgres";
import { type Chance, type Clock, jitter } from "../clock.ts";
import { connection, type Database } from "../database/postgres.ts";
import type { Service } from "../service.ts";

/** How to listen. Times in milliseconds. */
export interface ListenerOptions {
  /** A direct connection to the server. */
  url: string;
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
  /** An echo did not come, or came again. */
  heard(alive: boolean): void;
  /** Something went wrong that no connection is to blame for; it listens on. */
  failed(error: unknown): void;
}

/** The channel that the trigger rings. */
export const BELL = "tidings";

/** Listens after `start`, which resolves when the first LISTEN is in force. */
export function createListener(
  options: ListenerOptions,
  deps: { database: Database; clock: Clock; chance: Chance; events: ListenerEvents },
): Service {
  const { url, instance, heartbeat = 10_000, echo = 5_000 } = options;
  const { database, clock, chance, events } = deps;
  const channel = `tidings_${instance}`;
  let stopping: AbortController | undefined;
  let loop: Promise<void> | undefined;
  let sql: postgres.Sql | undefined;
  let echoed: (() => void) | undefined;

  async function listen(): Promise<void> {
    const opened = postgres(url, {
      ...connection(url, "tidings listener"),
      max: 1,
      idle_timeout: 0,
      max_lifetime: 0,
    });
    sql = opened;
    await opened.listen(BELL, () => events.ring(), () => events.ring());
    await opened.listen(channel, () => echoed?.());
  }

  /** Whether a bell that this gateway rings for itself arrives. */
  async function probe(signal: AbortSignal): Promise<boolean> {
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
      try {
        const alive = await probe(signal);
        if (signal.aborted) return;
        events.heard(alive);
        if (!alive) {
          await close();
          await listen();
        }
        await clock.sleep(jitter(alive ? heartbeat : echo / 5, chance), signal);
      } catch (error) {
        if (signal.aborted) return;
        // Not reached: events.heard(false) has said so; the next round tries again.
        if (!isConnectionTrouble(error)) events.failed(error);
        await clock.sleep(jitter(echo / 5, chance), signal).catch(() => undefined);
      }
    }
  }

  async function close(): Promise<void> {
    const closing = sql;
    sql = undefined;
    await closing?.end({ timeout: 0 });
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
      await close();
    },
  };
}

/** Everything the driver reports of a connection has a code; a programming error has none. */
function isConnectionTrouble(error: unknown): boolean {
  return typeof (error as { code?: unknown }).code === "string";
}
