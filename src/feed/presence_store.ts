/**
 * The SQL of sessions and presence: one statement per operation, bound values only.
 * @module
 */
import type { Statement } from "../database/postgres.ts";

/** A session as the database is told of it, whole. */
export interface SessionRecord {
  id: string;
  user: string;
  transport: string;
  agent: string | null;
  /** Milliseconds since the Unix epoch. */
  since: number;
  active: number;
  /** Its topics, and whether it wants to hear who joins and leaves each. */
  topics: Record<string, boolean>;
}

/** What a gateway has to say. */
export interface Beat {
  instance: string;
  /** Milliseconds after which the gateway counts as dead unless it beats again. */
  lease: number;
  /** Milliseconds between a person's last session and their leave. */
  grace: number;
  /** Whether what was said before is void. */
  fresh: boolean;
  put: SessionRecord[];
  drop: string[];
  active: Record<string, number>;
}

/** What came of it. */
export interface BeatResult {
  /** False: the gateway was taken for dead, nothing was done, everything has to be said again. */
  known: boolean;
  joined: number;
  gone: number;
  /** Milliseconds until the next leave is due. */
  pending: number | undefined;
}

/** Who is in a topic. */
export interface Present {
  count: number;
  /** Up to as many as were asked for, by name; since when in milliseconds since the Unix epoch. */
  people: { user: string; since: number }[];
}

/** Calls the functions of sql/030_session.sql. */
export interface PresenceStore {
  beat(beat: Beat): Promise<BeatResult>;
  present(topic: string, max: number): Promise<Present>;
}

/** A store on a pool. */
export function createPresenceStore(sql: Statement): PresenceStore {
  return {
    async beat({ instance, lease, grace, fresh, put, drop, active }) {
      const changes = JSON.stringify({ put, drop, active });
      const [row] = await sql<
        { known: boolean; joined: number | null; gone: number | null; pending: number | null }[]
      >`select known, joined, gone, pending from tidings.beat(
          ${instance}, ${lease} * interval '1 millisecond', ${grace} * interval '1 millisecond', ${fresh},
          ${changes}::text::jsonb)`;
      if (row === undefined) throw new Error("Cannot read the answer of tidings.beat: it has no row");
      return {
        known: row.known,
        joined: row.joined ?? 0,
        gone: row.gone ?? 0,
        pending: row.pending ?? undefined,
      };
    },
    async present(topic, max) {
      const [row] = await sql<{ people_count: string; people: [string, number][] | null }[]>`
        select people_count, people from tidings.present(${topic}, ${max})`;
      const people = (row?.people ?? []).map(([user, since]) => ({ user, since }));
      return { count: Number(row?.people_count ?? 0), people };
    },
  };
}
