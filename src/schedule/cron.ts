/**
 * When a recurring schedule is due, by `croner`. Pure: the time is given.
 *
 * Across a daylight-saving change a schedule of fixed times of day (`30 2 * * *`) runs once a day: at the first moment after
 * the gap when its time is skipped, at the first of both when its time happens twice. One that goes by intervals
 * (`0,30 * * * *`) keeps going by the clock that runs on, neither pausing nor doubling.
 * @module
 */
import { Cron } from "croner";
import { invalidField, type TidingsError } from "../errors.ts";

/** A cron expression (five fields, or six with seconds first) and the IANA time zone it is meant in. */
export interface Recurrence {
  cron: string;
  timezone: string;
}

/** Throws `invalid_request` naming the field, unless it is understood and will ever be due. */
export function checkRecurrence(recurrence: Recurrence, now: number): void {
  if (!isTimezone(recurrence.timezone)) {
    throw invalid(
      "timezone",
      `expected an IANA time zone such as Europe/Berlin, not "${recurrence.timezone.slice(0, 100)}"`,
    );
  }
  const fields = recurrence.cron.trim().split(/\s+/).length;
  if (recurrence.cron.length > 200 || (fields !== 5 && fields !== 6 && !recurrence.cron.startsWith("@"))) {
    throw invalid("cron", "expected five fields (minute hour day month weekday), or six with seconds first");
  }
  let next: number | undefined;
  try {
    next = nextDue(recurrence, now);
  } catch (cause) {
    throw invalid("cron", cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (next === undefined) throw invalid("cron", "expected an expression that is due some day");
}

/** The first time after `after` that it is due, in milliseconds since the epoch; undefined when never again. */
export function nextDue({ cron, timezone }: Recurrence, after: number): number | undefined {
  return rule(cron, timezone).nextRun(new Date(after))?.getTime();
}

/** Whether this machine knows the time zone. */
export function isTimezone(name: string): boolean {
  if (name.length > 100 || !/^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false; // how Intl says no
  }
}

const rules = new Map<string, Cron>();
const MAX_RULES = 1_000;

/** Parsing and zone lookups cost more than asking, and most schedules share a few rules. */
function rule(cron: string, timezone: string): Cron {
  const key = `${timezone}\n${cron}`;
  let known = rules.get(key);
  if (known === undefined) {
    known = new Cron(cron, { timezone, paused: true, fixedTimeRule: "no-wildcard" });
    if (rules.size >= MAX_RULES) rules.clear();
    rules.set(key, known);
  }
  return known;
}

function invalid(field: string, message: string, cause?: unknown): TidingsError {
  return invalidField("schedule this", field, message, cause);
}
