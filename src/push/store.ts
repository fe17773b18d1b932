/**
 * The dispatcher's statements; the work is in `sql/043_push.sql`.
 * @module
 */
import type { Statement } from "../database/postgres.ts";
import { parsePublications } from "../exact_json.ts";
import type { Item } from "../notification.ts";
import type { Outcome, PushMessage, Target } from "./provider.ts";

/** One push to make, and nobody else makes before the lease ends. */
export interface Claim {
  delivery: string;
  attempt: number;
  kind: string;
  target: Target;
  message: PushMessage;
}

/** Plans, claims and settles pushes. */
export interface PushStore {
  /** Reads the log on and queues deliveries. Returns how many notifications were read; undefined: another gateway is at it. */
  plan(max: number, graceMs: number): Promise<number | undefined>;
  /** Queues the next deliveries of what goes to many. Returns whether there may be more. */
  fanOut(max: number, graceMs: number): Promise<boolean>;
  claim(max: number, leaseMs: number): Promise<Claim[]>;
  /** `retryMs` counts for the outcome `retry`. */
  settle(claim: Claim, outcome: Outcome, retryMs: number): Promise<void>;
  /** Forgets what was settled so long ago. Returns how many. */
  purge(ageMs: number, max: number): Promise<number>;
}

/** An item as the database gives it: times in milliseconds. */
export type StoredItem = Omit<Item, "createdAt" | "expiresAt"> & { createdAt: number; expiresAt?: number };

interface Row {
  delivery: string;
  attempt: number;
  action: PushMessage["kind"];
  device: string;
  kind: string;
  address: string;
  keys: Record<string, string>;
  /** JSON of a {@link StoredItem}. */
  item: string;
  ids: string[];
  read: string[];
  unread: number | null;
  ttl: number;
  title: string | null;
  body: string | null;
}

/** The store in Postgres. */
export function createPushStore(sql: Statement): PushStore {
  return {
    async plan(max, graceMs) {
      const [row] = await sql<{ seen: number | null }[]>`
        select tidings.push_plan(${max}::int, make_interval(secs => ${graceMs / 1000}::float8)) as seen`;
      return row?.seen ?? undefined;
    },
    async fanOut(max, graceMs) {
      const [row] = await sql<{ more: boolean }[]>`
        select tidings.push_fan_out(${max}::int, make_interval(secs => ${graceMs / 1000}::float8)) as more`;
      return row?.more ?? false;
    },
    async claim(max, leaseMs) {
      const rows = await sql<Row[]>`
        select delivery, attempt, action, device, kind, address, keys, item::text as item,
          to_json(ids::text[]) as ids, to_json(read::text[]) as read, unread, ttl, title, body
        from tidings.push_claim(${max}::int, make_interval(secs => ${leaseMs / 1000}::float8))`;
      return rows.map(toClaim);
    },
    async settle({ delivery, attempt, target, message }, outcome, retryMs) {
      const told = message.kind === "notify" ? message.read : [];
      await sql`
        select tidings.push_settle(${delivery}::bigint, ${attempt}::int, ${outcome.kind}::text,
          ${outcome.reason ?? null}::text, ${retryMs / 1000}::float8, ${target.address}::text,
          ${`{${told.join(",")}}`}::text::bigint[])`;
    },
    async purge(ageMs, max) {
      const [row] = await sql<{ purged: number }[]>`
        select tidings.push_purge(make_interval(secs => ${ageMs / 1000}::float8), ${max}::int) as purged`;
      return row?.purged ?? 0;
    },
  };
}

/** The item as clients know it. */
export function itemOf({ createdAt, expiresAt, ...rest }: StoredItem): Item {
  return {
    ...rest,
    createdAt: new Date(createdAt).toISOString(),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }),
  };
}

function toClaim(row: Row): Claim {
  const { delivery, attempt, action, device, kind, address, keys, ids, read, unread, ttl, title, body } = row;
  const item = itemOf(parsePublications(row.item) as StoredItem);
  if (title !== null) {
    // a digest speaks for all of them: the words of one would mislead
    item.title = title;
    if (body === null) delete item.body;
    else item.body = body;
    delete item.data;
  }
  return {
    delivery,
    attempt,
    kind,
    target: { device, address, keys },
    message: {
      kind: action,
      messageId: `${action === "close" ? "end" : "ntf"}_${item.id}_${device}`,
      item,
      ids,
      read,
      ttl,
      ...(unread === null ? {} : { unread }),
    },
  };
}
