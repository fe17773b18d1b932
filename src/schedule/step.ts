/**
 * What becomes of a recurring schedule that is due: pure, the time is given.
 *
 * One that was due within the last minute is sent, and the next is the one after it. What was due longer ago was missed
 * while nobody looked: sent once, however often it was due, or skipped, as the schedule says; the next is then in the future.
 * @module
 */
import { TidingsError } from "../errors.ts";
import { checkRecurrence, nextDue } from "./cron.ts";

/** A recurring schedule that is due, or whose first time is not known yet. Times in milliseconds since the epoch. */
export interface Waiting {
  id: string;
  cron: string;
  timezone: string;
  missed: "send" | "skip";
  /** Absent: to be computed. */
  due?: number;
  /** The database's clock. */
  now: number;
}

/** How to move it on. */
export interface Step {
  id: string;
  /** Its due time as it was seen: only then is the step taken. */
  seen: number | null;
  /** Null: never again, for the reason in `failure`. */
  next: number | null;
  sending: boolean;
  failure: string | null;
}

/** How late one may be before it counts as missed, in milliseconds. */
export const MISSED_AFTER = 60_000;

/** The step for a schedule. */
export function stepOf({ id, cron, timezone, missed, due, now }: Waiting): Step {
  const recurrence = { cron, timezone };
  const seen = due ?? null;
  const late = due === undefined ? 0 : now - due;
  const sending = due !== undefined && (late <= MISSED_AFTER || missed === "send");
  try {
    if (due === undefined) checkRecurrence(recurrence, now);
    const next = nextDue(recurrence, due === undefined || late > MISSED_AFTER ? now : due);
    return next === undefined
      ? { id, seen, next: null, sending, failure: "never due again" }
      : { id, seen, next, sending, failure: null };
  } catch (error) {
    const failure = error instanceof TidingsError ? error.message : `Cannot compute the next time: ${error}`;
    return { id, seen, next: null, sending: false, failure: failure.slice(0, 500) };
  }
}
