/**
 * Rows that conformance tests write into the log, known again by their titles.
 * @module
 */
import type { Sql } from "postgres";

/** Sends, in one statement each. */
export async function send(sql: Sql, topic: string, all: readonly string[]): Promise<void> {
  for (const title of all) await sql`select tidings.send(${topic}, ${title})`;
}

/** Inserts rows whose titles count up from `from`, in one transaction. */
export async function many(sql: Sql, topic: string, count: number, from = 0): Promise<void> {
  await sql`insert into tidings.notification (topic, title)
            select ${topic}, n::text from generate_series(${from}::int, ${from + count - 1}::int) n`;
}

/** What {@link many} writes into titles. */
export function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, n) => String(n));
}
