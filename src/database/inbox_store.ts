/**
 * The inbox's statements: every call is one SQL function of sql/011_inbox.sql to sql/016_retention.sql with bound values.
 * @module
 */
import { type Position, type PositionRecord, toPosition, toPositionRecord } from "../log/position.ts";
import { type Entry, type Row, toRow } from "../log/row.ts";
import type { InboxCount, MarkState } from "../protocol.ts";
import { type HiddenRules, type RulesRecord, toRules } from "./hidden_rules.ts";
import type { Database } from "./postgres.ts";
import { named } from "./refusal.ts";
import { type Stretch, type StretchRecord, toStretch } from "./stretch.ts";

/** A count as of a place in the log. */
export interface PlacedCount extends InboxCount {
  at: Position;
  /** When it changes by itself at the earliest, in milliseconds since the epoch. */
  expiry?: number;
}

/** All that a gateway has to know of a person, from one snapshot. */
export interface OpenedInbox {
  stretches: Stretch[];
  rules: HiddenRules;
  count: PlacedCount;
  /** Tokens issued before this (ms since the epoch) are not accepted. */
  signedOut?: number;
  /** Of the topics asked for, those that the application's policy refuses. */
  refused: string[];
}

/** A state as it is kept. */
export type State = "unseen" | "seen" | "read" | "archived";

/** Which notifications to read, newest first. */
export interface InboxFilter {
  states: readonly State[];
  topic?: string;
  type?: string;
  /** Only what is older than this. */
  before?: { xid: string; id: string };
  rows: number;
}

/** A page of the inbox. */
export interface InboxPage {
  rows: (Row & { state: State })[];
  /** The `before` of the next page; absent on the last. A page may hold few rows, or none, and still have a next. */
  next?: { xid: string; id: string };
}

/** What to mark: exactly one of the first three. */
export interface MarkRequest {
  ids?: readonly string[];
  all?: true;
  before?: string;
  state: MarkState;
}

/** One rule of a person's preferences. */
export interface Rule {
  scope: "topic" | "type" | "default";
  /** The topic or type; absent with scope `default`. */
  name?: string;
  inApp: boolean;
  push: boolean;
}

/** When pushes are held back: times of day, `22:00`, in a time zone. */
export interface QuietHours {
  start: string;
  end: string;
  timeZone: string;
}

/** A person's preferences. */
export interface Preferences {
  rules: Rule[];
  quiet: QuietHours | null;
  /** Where the person lives, as far as they said; what recurs for them follows it. */
  timeZone: string | null;
}

/** What one step of retention did. */
export interface Purged {
  aged: number;
  expired: number;
  /** Whether another step would find something. */
  more: boolean;
  /** Somebody else is at it. */
  busy: boolean;
}

/** The inbox's statements. */
export interface InboxStore {
  open(user: string, topics: readonly string[]): Promise<OpenedInbox>;
  count(user: string): Promise<InboxCount>;
  /** @throws {TidingsError} `not_found` when one is not in the person's inbox */
  mark(user: string, request: MarkRequest): Promise<InboxCount>;
  page(user: string, filter: InboxFilter): Promise<InboxPage>;
  /** The xid of a notification of this inbox; undefined when it is not in it. */
  placeOf(user: string, id: string): Promise<string | undefined>;
  /** @returns whether it is new @throws {TidingsError} `invalid_request`, `conflict` */
  follow(user: string, topic: string): Promise<boolean>;
  /** @returns whether the person followed */
  unfollow(user: string, topic: string): Promise<boolean>;
  /**
   * Takes into an ended stretch, as its unfollow told it, what was delivered of it up to `shown`.
   * @returns whether something was missing
   */
  keepShown(user: string, stretch: StretchRecord, shown: Position): Promise<boolean>;
  followed(user: string): Promise<{ topic: string; followedAt: Date }[]>;
  preferences(user: string): Promise<Preferences>;
  setPreferences(user: string, preferences: Preferences): Promise<void>;
  /** What the application's policy says of each topic: true, false, or null where the token decides. */
  policy(user: string, topics: readonly string[]): Promise<Map<string, boolean | null>>;
  /** When the person was signed out last, in milliseconds since the epoch. */
  signedOut(user: string): Promise<number | undefined>;
  /** A step of removing what is older than so many milliseconds, or expired. `fresh`: looks from the log's very beginning. */
  purge(retention: number, rows: number, fresh: boolean): Promise<Purged>;
  /** A step through what else grows. @returns whether there is more */
  tidy(retention: number, rows: number): Promise<boolean>;
}

/** The statements on a pool. */
export function createInboxStore(database: Pick<Database, "query">): InboxStore {
  return {
    async open(user, topics) {
      const [row] = await named(
        database.query<OpenRecord>((sql) =>
          sql`select stretches, rules, counted, signed_out, refused
            from tidings.open_inbox(${user}, array(select jsonb_array_elements_text(${
            JSON.stringify(topics)
          }::text::jsonb)))`
        ),
      );
      const { stretches, rules, counted, signed_out, refused } = row!;
      return {
        stretches: stretches.map(toStretch),
        rules: toRules(rules),
        count: {
          unread: counted.unread,
          unseen: counted.unseen,
          at: toPosition(counted),
          ...(counted.expiry === null ? {} : { expiry: Date.parse(counted.expiry) }),
        },
        ...(signed_out === null ? {} : { signedOut: Number(signed_out) }),
        refused,
      };
    },
    async count(user) {
      const [row] = await named(
        database.query<InboxCount>((sql) => sql`select unread, unseen from tidings.inbox_count(${user})`),
      );
      return { unread: row!.unread, unseen: row!.unseen };
    },
    async mark(user, { ids, before, state }) {
      const [row] = await named(
        database.query<InboxCount>((sql) =>
          ids !== undefined
            ? sql`select unread, unseen from tidings.mark(${user}, ${`{${ids.join()}}`}::text::bigint[], ${state})`
            : sql`select unread, unseen from tidings.mark_all(${user}, ${state}, ${
              before ?? null
            }::text::bigint)`
        ),
      );
      return { unread: row!.unread, unseen: row!.unseen };
    },
    async page(user, { states, topic, type, before, rows }) {
      const [row] = await named(
        database.query<
          { entries: [...Entry, State][] | null; next_xid: string | null; next_id: string | null }
        >(
          (sql) =>
            sql`select entries, next_xid, next_id
              from tidings.inbox_page(${user}, ${`{${states.join()}}`}::text::text[], ${topic ?? null}, ${
              type ?? null
            },
              ${before?.xid ?? LAST}::text::xid8, ${
              before?.id ?? LAST
            }::text::bigint, ${rows}, ${PAGE_BYTES})`,
        ),
      );
      const { entries, next_xid: xid, next_id: id } = row!;
      return {
        rows: (entries ?? []).map((entry) => {
          const state = entry[14];
          return { ...toRow(entry.slice(0, 14) as Entry), state };
        }),
        ...(xid === null || id === null ? {} : { next: { xid, id } }),
      };
    },
    async placeOf(user, id) {
      const [row] = await named(
        database.query<{ xid: string | null }>((sql) =>
          sql`select tidings.inbox_place(${user}, ${id}::text::bigint) as xid`
        ),
      );
      return row?.xid ?? undefined;
    },
    async follow(user, topic) {
      const [row] = await named(
        database.query<{ done: boolean }>((sql) => sql`select tidings.follow(${user}, ${topic}) as done`),
      );
      return row!.done;
    },
    async unfollow(user, topic) {
      const [row] = await named(
        database.query<{ done: boolean }>((sql) => sql`select tidings.unfollow(${user}, ${topic}) as done`),
      );
      return row!.done;
    },
    async keepShown(user, stretch, shown) {
      const [row] = await named(
        database.query<{ done: boolean }>((sql) =>
          sql`select tidings.keep_shown(${user}, ${JSON.stringify(stretch)}::text::jsonb,
            ${JSON.stringify(toPositionRecord(shown))}::text::jsonb) as done`
        ),
      );
      return row!.done;
    },
    async followed(user) {
      const rows = await named(
        database.query<{ topic: string; followed_at: Date }>((sql) =>
          sql`select topic, followed_at from tidings.followed(${user})`
        ),
      );
      return rows.map((row) => ({ topic: row.topic, followedAt: row.followed_at }));
    },
    async preferences(user) {
      const [row] = await named(
        database.query<Omit<Preferences, "timeZone"> & { time_zone: string | null }>((sql) =>
          sql`select rules, quiet, time_zone from tidings.preferences(${user})`
        ),
      );
      return { rules: row!.rules, quiet: row!.quiet, timeZone: row!.time_zone };
    },
    async setPreferences(user, { rules, quiet, timeZone }) {
      await named(
        database.query((sql) =>
          sql`select tidings.set_preferences(${user}, ${JSON.stringify(rules)}::text::jsonb,
          ${quiet === null ? null : JSON.stringify(quiet)}::text::jsonb, ${timeZone}::text)`
        ),
      );
    },
    async policy(user, topics) {
      const rows = await named(
        database.query<{ topic: string; allowed: boolean | null }>((sql) =>
          sql`select topic, allowed
            from tidings.policy(${user}, array(select jsonb_array_elements_text(${
            JSON.stringify(topics)
          }::text::jsonb)))`
        ),
      );
      return new Map(rows.map(({ topic, allowed }) => [topic, allowed]));
    },
    async signedOut(user) {
      const [row] = await named(
        database.query<{ at: string | null }>((sql) => sql`select tidings.signed_out_at(${user}) as at`),
      );
      return row?.at === null || row === undefined ? undefined : Number(row.at);
    },
    async purge(retention, rows, fresh) {
      const [row] = await database.query<Purged>(
        (sql) =>
          sql`select aged, expired, more, busy
              from tidings.purge(make_interval(secs => ${retention / 1_000}::float8), ${rows}, ${fresh})`,
        60_000,
      );
      return { ...row! };
    },
    async tidy(retention, rows) {
      const [row] = await database.query<{ more: boolean | null }>(
        (sql) =>
          sql`select tidings.tidy(make_interval(secs => ${retention / 1_000}::float8), ${rows}) as more`,
        60_000,
      );
      return row!.more ?? false;
    },
  };
}

/** Beyond the last of the log. */
const LAST = "9223372036854775807";

/** Bytes of body and data of one page, about. */
const PAGE_BYTES = 1024 * 1024;

interface OpenRecord {
  stretches: StretchRecord[];
  rules: RulesRecord;
  counted: PositionRecord & InboxCount & { expiry: string | null };
  signed_out: string | null;
  refused: string[];
}
