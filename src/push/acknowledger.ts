/**
 * Collects how far people have seen, and writes it once a second for all of them together: many clients acknowledge every
 * batch, and one statement a second is enough, because pushes wait for longer.
 *
 * Bounded: what does not fit is forgotten, and costs a push that was not needed.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Clock, rest } from "../clock.ts";
import type { Statement } from "../database/postgres.ts";
import { type Cursor, parseCursor } from "../log/cursor.ts";
import { toPositionRecord } from "../log/position.ts";
import { runner, type Service } from "../service.ts";

/** Writes what was collected. */
export type WriteAcknowledged = (entries: readonly { user: string; cursor: Cursor }[]) => Promise<void>;

/** Collects acknowledgements. */
export interface Acknowledger extends Service {
  /** Somebody of this name looks at a client that showed everything up to the cursor. A cursor that is none is left alone. */
  acknowledge(user: string, cursor: string): void;
}

const EVERY_MS = 1_000;
const MOST = 100_000;
const PAGE = 5_000;

/** Makes one. */
export function createAcknowledger(write: WriteAcknowledged, clock: Clock): Acknowledger {
  const logger = getLogger(["tidings", "push"]);
  const waiting = new Map<string, Cursor>();

  async function flush(): Promise<void> {
    while (waiting.size > 0) {
      const page = [...waiting].slice(0, PAGE).map(([user, cursor]) => ({ user, cursor }));
      for (const { user } of page) waiting.delete(user);
      await write(page);
    }
  }

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await rest(clock, EVERY_MS, signal);
      try {
        await flush();
      } catch (error) {
        logger.warn(
          "Cannot write what was acknowledged: {error}. Some pushes may come that are not needed.",
          { error },
        );
      }
    }
  }

  return {
    ...runner("acknowledger", run),
    acknowledge(user, text) {
      const cursor = parseCursor(text);
      if (cursor === undefined || (waiting.size >= MOST && !waiting.has(user))) return;
      const known = waiting.get(user);
      if (known === undefined || known.epoch !== cursor.epoch || known.xmax <= cursor.xmax) {
        waiting.set(user, cursor);
      }
    },
  };
}

/** Writes to Postgres. SQL: `sql/044_acknowledge.sql`. */
export function writeAcknowledged(sql: Statement): WriteAcknowledged {
  return async (entries) => {
    const rows = entries.map(({ user, cursor }) => ({
      user,
      epoch: cursor.epoch,
      ...toPositionRecord(cursor),
    }));
    await sql`select tidings.acknowledge(${JSON.stringify(rows)}::text::jsonb)`;
  };
}
