/**
 * The scheduler's statements; the work is in `sql/040_schedule.sql`.
 * @module
 */
import type { Statement } from "../database/postgres.ts";
import type { Step, Waiting } from "./step.ts";

/** What one look at the schedules did. */
export interface Look {
  /** How many were due. */
  taken: number;
  sent: number;
  /** Milliseconds until the next is due, by the database's clock; zero or less: now. Absent: nothing waits. */
  wait?: number;
}

/** Sends what is due, and moves recurring schedules on. */
export interface ScheduleStore {
  sendDue(max: number): Promise<Look>;
  dueRecurring(max: number): Promise<Waiting[]>;
  /** Returns how many were sent. */
  advance(steps: readonly Step[]): Promise<number>;
}

/** The store in Postgres. */
export function createScheduleStore(sql: Statement): ScheduleStore {
  return {
    async sendDue(max) {
      const [row] = await sql<{ taken: number; sent: number; wait: number | null }[]>`
        select taken, sent, wait from tidings.send_due(${max}::int)`;
      const { taken = 0, sent = 0, wait = null } = row ?? {};
      return { taken, sent, ...(wait === null ? {} : { wait }) };
    },
    async dueRecurring(max) {
      const rows = await sql<(Omit<Waiting, "due"> & { due: number | null })[]>`
        select id, cron, timezone, missed, due, now from tidings.due_recurring(${max}::int)`;
      return rows.map(({ due, ...row }) => ({ ...row, ...(due === null ? {} : { due }) }));
    },
    async advance(steps) {
      const [row] = await sql<{ sent: number }[]>`
        select tidings.advance(${JSON.stringify(steps)}::text::jsonb) as sent`;
      return row?.sent ?? 0;
    },
  };
}
