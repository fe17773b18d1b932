/**
 * The rules about what is pushed as one. SQL: `sql/042_delivery.sql`.
 * @module
 */
import type { Statement } from "../database/postgres.ts";

/** What one person gets of a type, of a topic, or of both, within a time is pushed as one. */
export interface Digest {
  type?: string;
  topic?: string;
  /** Seconds, counted from the first. */
  within: number;
  /** `{count}` stands for how many. */
  title: string;
  body?: string;
}

/** Keeps the rules. */
export interface DigestStore {
  list(): Promise<Digest[]>;
  /** Makes a rule, or replaces the one of the same type and topic. */
  set(rule: Digest): Promise<void>;
  /** False: there is no such rule. */
  remove(type: string | undefined, topic: string | undefined): Promise<boolean>;
}

/** The store. Deadlines are the connection pool's. */
export function createDigestStore(sql: Statement): DigestStore {
  return {
    async list() {
      const rows = await sql<{ digest: Digest }[]>`select digest from tidings.digests() digest`;
      return rows.map(({ digest }) => digest);
    },
    async set({ type, topic, within, title, body }) {
      await sql`select tidings.digest(make_interval(secs => ${within}::float8), ${title}::text,
        type => ${type ?? null}::text, topic => ${topic ?? null}::text, body => ${body ?? null}::text)`;
    },
    async remove(type, topic) {
      const [row] = await sql<{ done: boolean }[]>`
        select tidings.undigest(${type ?? null}::text, ${topic ?? null}::text) as done`;
      return row?.done ?? false;
    },
  };
}
