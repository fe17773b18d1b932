/**
 * What waits to be sent, for those who planned it. SQL: `sql/040_schedule.sql`.
 * @module
 */
import type { Statement } from "../database/postgres.ts";
import { TidingsError } from "../errors.ts";
import { parsePublications } from "../exact_json.ts";
import type { Publication } from "../protocol.ts";

/** What is to be sent, to each topic. */
export interface Plan extends Omit<Publication, "to" | "ttl" | "deliverAt"> {
  topics: readonly string[];
  sender: string;
  /** Milliseconds. */
  ttl?: number;
}

/** How a recurring one recurs. */
export interface Recurring {
  name?: string;
  cron: string;
  /** Absent: that of the person whose topic it is. */
  timezone?: string;
  missed: "send" | "skip";
}

/** One that waits, as its sender sees it. */
export interface Schedule {
  id: string;
  to: string;
  type: string;
  name?: string;
  cron?: string;
  timezone?: string;
  missed?: "send" | "skip";
  /** RFC 3339. Absent: being computed, or it failed. */
  dueAt?: string;
  lastAt?: string;
  createdAt: string;
  /** Why it will not be sent any more. */
  failure?: string;
  [field: string]: unknown;
}

/** Plans, lists and cancels. `sender` undefined: whoever's. */
export interface ScheduleBook {
  /** At that time (RFC 3339). Returns the ids, in the order of the topics. */
  once(plan: Plan, deliverAt: string): Promise<string[]>;
  /** Again and again; one of the same sender and name is changed. */
  recurring(plan: Plan, recurring: Recurring): Promise<string[]>;
  /** How many of a sender's wait; counts no further than `most`. */
  count(sender: string, most: number): Promise<number>;
  /** Numbers in `data` keep their digits (`exact_json.ts`), here and in `find`. */
  list(sender: string | undefined, after: string | undefined, max: number): Promise<Schedule[]>;
  find(sender: string | undefined, id: string): Promise<Schedule | undefined>;
  cancel(sender: string | undefined, id: string): Promise<boolean>;
}

/** The book. Deadlines are the connection pool's. */
export function createScheduleBook(sql: Statement): ScheduleBook {
  async function list(sender: string | undefined, after: string | undefined, max: number, id?: string) {
    const rows = await sql<{ schedule: string }[]>`
      select schedule::text from tidings.schedules(${sender ?? null}::text, ${
      after ?? null
    }::bigint, ${max}::int,
        ${id ?? null}::bigint) schedule`;
    return rows.map(({ schedule }) => toSchedule(parsePublications(schedule) as Stored));
  }

  return {
    async once(plan, deliverAt) {
      const rows = await said(sql<{ id: string }[]>`
        select tidings.send(t.topic, title => ${plan.title ?? null}::text, body => ${plan.body ?? null}::text,
          type => ${plan.type ?? "notification"}::text, link => ${plan.link ?? null}::text,
          data => ${json(plan.data)}::text::jsonb, sender => ${plan.sender}::text, priority => ${
        plan.priority ?? null
      }::text,
          collapse_key => ${plan.collapseKey ?? null}::text, dedupe_key => ${plan.dedupeKey ?? null}::text,
          ttl => make_interval(secs => ${seconds(plan.ttl)}::float8), transient => ${
        plan.transient ?? false
      }::boolean,
          deliver_at => ${deliverAt}::text::timestamptz, push => ${plan.push ?? null}::boolean) as id
        from jsonb_array_elements_text(${
        JSON.stringify(plan.topics)
      }::text::jsonb) with ordinality t(topic, place)
        order by t.place`);
      return rows.map(({ id }) => id);
    },
    async recurring(plan, { name, cron, timezone, missed }) {
      const rows = await said(sql<{ id: string }[]>`
        select tidings.schedule(${name ?? null}::text, ${cron}::text, t.topic, title => ${
        plan.title ?? null
      }::text,
          body => ${plan.body ?? null}::text, timezone => ${
        timezone ?? null
      }::text, missed => ${missed}::text,
          type => ${plan.type ?? "notification"}::text, link => ${plan.link ?? null}::text,
          data => ${json(plan.data)}::text::jsonb, sender => ${plan.sender}::text, priority => ${
        plan.priority ?? null
      }::text,
          collapse_key => ${plan.collapseKey ?? null}::text, ttl => make_interval(secs => ${
        seconds(plan.ttl)
      }::float8),
          transient => ${plan.transient ?? false}::boolean, push => ${plan.push ?? null}::boolean) as id
        from jsonb_array_elements_text(${
        JSON.stringify(plan.topics)
      }::text::jsonb) with ordinality t(topic, place)
        order by t.place`);
      return rows.map(({ id }) => id);
    },
    async count(sender, most) {
      const [row] = await sql<{ waiting: number }[]>`
        select tidings.count_schedules(${sender}::text, ${most}::int) as waiting`;
      return row?.waiting ?? 0;
    },
    list: (sender, after, max) => list(sender, after, max),
    find: async (sender, id) => (await list(sender, undefined, 1, id))[0],
    async cancel(sender, id) {
      const [row] = await sql<{ done: boolean }[]>`
        select tidings.cancel_schedule(${sender ?? null}::text, ${id}::bigint) as done`;
      return row?.done ?? false;
    },
  };
}

type Stored =
  & Omit<Schedule, "dueAt" | "lastAt" | "createdAt">
  & { dueAt?: number; lastAt?: number; createdAt: number };

function toSchedule({ dueAt, lastAt, createdAt, ...rest }: Stored): Schedule {
  const time = (at: number) => new Date(at).toISOString();
  return {
    ...rest,
    createdAt: time(createdAt),
    ...(dueAt === undefined ? {} : { dueAt: time(dueAt) }),
    ...(lastAt === undefined ? {} : { lastAt: time(lastAt) }),
  } as Schedule;
}

const json = (value: unknown) => value === undefined ? null : JSON.stringify(value);
const seconds = (ms: number | undefined) => ms === undefined ? null : ms / 1_000;

/** What SQL refuses is the request's fault: its constraints and messages are worded for that. */
async function said<T>(query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (error) {
    const { code, constraint_name: constraint, message } = error as Record<string, string | undefined>;
    if (code === undefined || !/^(22|23|P0001)/.test(code)) throw error;
    const text = constraint ?? message?.replace(/^Cannot (send|schedule): /, "") ?? "it is not valid";
    throw new TidingsError("invalid_request", `Cannot schedule this: ${text}`, { cause: error });
  }
}
