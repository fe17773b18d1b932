/**
 * Where durable STOMP subscriptions stopped. One statement per operation.
 * @module
 */
import type { Statement } from "../database/postgres.ts";
import type { DurableKey } from "./stomp_subscription.ts";

/** Keeps positions (sql/031_stomp.sql). */
export interface StompPositions {
  /** The cursor to go on from; undefined: never seen. */
  find(user: string, key: DurableKey): Promise<string | undefined>;
  keep(user: string, positions: readonly (DurableKey & { cursor: string })[]): Promise<void>;
  forget(user: string, key: DurableKey): Promise<void>;
}

/** Positions in the database. */
export function createStompPositions(sql: Statement): StompPositions {
  return {
    async find(user, { client, name, destination }) {
      const [row] = await sql<{ cursor: string | null }[]>`
        select tidings.stomp_position(${user}, ${client}, ${name}, ${destination}) as cursor`;
      return row?.cursor ?? undefined;
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
