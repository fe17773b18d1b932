/**
 * Whether a gateway can do its work at the moment: what `/readyz` says.
 * @module
 */
import type { Readiness } from "./api/system.ts";
import type { Clock } from "./clock.ts";
import type { Database } from "./database/postgres.ts";

/** Milliseconds that an answer is good for. */
const FRESH = 1_000;
/** Milliseconds after which a log that was not read is not readable. */
const STALE = 15_000;

/** What is looked at. */
export interface ReadinessDeps {
  database: Pick<Database, "query">;
  /** How reading the log goes: whether the last read succeeded, and when that was. */
  log: Readonly<{ ok: boolean; at: number }>;
  feed: { readonly draining: boolean };
  clock: Clock;
}

/** Asked by anybody, as often as they like: the database is asked once a second at most. */
export function createReadiness({ database, log, feed, clock }: ReadinessDeps): () => Promise<Readiness> {
  let last: { at: number; answer: Promise<Readiness> } | undefined;

  /** Ready: the log was read a moment ago, and nobody is being sent away. */
  async function look(): Promise<Readiness> {
    const { ok, at } = log;
    const checks = {
      log: ok && clock.now() - at < STALE ? "ok" : "it cannot be read at the moment",
      feed: feed.draining ? "this gateway is stopping" : "ok",
      database: await database.query((sql) => sql`select 1`, 2_000).then(
        () => "ok",
        (error: Error) => error.message,
      ),
    };
    return { ok: Object.values(checks).every((check) => check === "ok"), checks };
  }

  return () => {
    if (last === undefined || feed.draining || clock.now() - last.at >= FRESH) {
      last = { at: clock.now(), answer: look() };
    }
    return last.answer;
  };
}
