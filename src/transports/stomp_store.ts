/**
 * Where durable STOMP subscriptions stopped, and what was acknowledged. One statement per operation.
 * @module
 */
import type { Statement } from "../database/postgres.ts";
import type { DurableKey } from "./stomp_subscription.ts";

/** Where a durable subscription stopped. */
export interface Place {
  cursor: string;
  /** False: it is another client's of the same person, and nothing is kept for this one yet. */
  own: boolean;
}

/** Keeps positions (sql/031_stomp.sql). */
export interface StompPositions {
  /** Where to go on; undefined: neither this client of the person was ever seen nor another. */
  find(user: string, key: DurableKey): Promise<Place | undefined>;
  keep(user: string, positions: readonly (DurableKey & { cursor: string })[]): Promise<void>;
  forget(user: string, key: DurableKey): Promise<void>;
}

/** Positions in the database. */
export function createStompPositions(sql: Statement): StompPositions {
  return {
    async find(user, { client, name, destination }) {
      const [row] = await sql<Place[]>`
        select cursor, own from tidings.stomp_position(${user}, ${client}, ${name}, ${destination})`;
      return row === undefined ? undefined : { cursor: row.cursor, own: row.own };
    },
    async keep(user, positions) {
      const text = JSON.stringify(positions);
      await sql`select tidings.stomp_keep(${user}, ${text}::text::jsonb)`;
    },
    async forget(user, { client, name, destination }) {
      await sql`select tidings.stomp_forget(${user}, ${client}, ${name}, ${destination})`;
    },
  };
}

/** Marks as seen what of these ids is in the person's inbox (sql/032_stomp_seen.sql). */
export function createSeen(
  sql: Statement,
): (identity: { user: string }, ids: readonly string[]) => Promise<void> {
  return async ({ user }, ids) => {
    for (let start = 0; start < ids.length; start += SEEN_AT_ONCE) {
      const some = `{${ids.slice(start, start + SEEN_AT_ONCE).join(",")}}`;
      await sql`select tidings.seen(${user}, ${some}::text::bigint[])`;
    }
  };
}

const SEEN_AT_ONCE = 1_000;
