/**
 * Tickets in Postgres, where every instance finds them. SQL: `sql/005_ticket.sql`.
 * @module
 */
import type { Statement } from "../database/postgres.ts";
import type { TicketStore } from "./ticket.ts";

/** The most tickets of one user that are not used. */
export const MAX_OPEN_TICKETS = 50;

/** The store. Deadlines are the connection pool's. */
export function createTicketStore(sql: Statement): TicketStore {
  return {
    async create(hash, identity, ttl) {
      const [row] = await sql<{ endsAt: Date | null }[]>`
        select tidings.create_ticket(${hash}::bytea, ${JSON.stringify(identity)}::text::jsonb,
          make_interval(secs => ${ttl}::float8), ${MAX_OPEN_TICKETS}::int) as "endsAt"`;
      return row?.endsAt ?? undefined;
    },
    async redeem(hash) {
      const [row] = await sql<{ claims: unknown }[]>`
        select tidings.redeem_ticket(${hash}::bytea) as claims`;
      return row?.claims ?? undefined;
    },
  };
}
