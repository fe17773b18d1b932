/**
 * The log's statements: every call is one SQL function of sql/002_doorbell.sql and sql/004_feed.sql with bound values.
 * @module
 */
import { type Cursor, fromSnapshot } from "../log/cursor.ts";
import { type Entry, type Row, toRow } from "../log/row.ts";
import { type Database, sqlState } from "./postgres.ts";

/** How much one read takes at most; one row is always taken. */
export interface PageLimits {
  rows: number;
  /** Bytes of body and data; data that is stored compressed counts as sixteen times that. */
  bytes: number;
}

/** The rows of a read, in (xid, id) order. */
export interface LogPage {
  /** The snapshot of the statement that read. */
  snapshot: Cursor;
  /** Everything up to this xid may have been purged. */
  horizon: number;
  /** Whether a limit cut the page. */
  more: boolean;
  rows: Row[];
}

/** A row that came with the bell (sql/007_carry.sql). */
export interface Carried {
  /** The history that it belongs to. */
  epoch: string;
  /** The flag that its sender found down. */
  flag: number;
  /** The first of its transaction, in the order of ids. */
  row: Row;
}

/** The cursor belongs to another history than the one that the database has now. */
export class HistoryChanged extends Error {
  override readonly name = "HistoryChanged";
}

/** The history cannot be made ours as long as the transactions that the message names are open. */
export class AdoptionWaits extends Error {
  override readonly name = "AdoptionWaits";
}

/** The log's statements. */
export interface LogStore {
  /** Makes this database's history ours when it is not; returns its epoch. @throws {AdoptionWaits} */
  adopt(): Promise<string>;
  /** The log's end: the snapshot, and the highest xid that has a row in it. @throws {HistoryChanged} */
  end(epoch: string): Promise<{ snapshot: Cursor; last: number; horizon: number }>;
  /**
   * The rows after a cursor; `awake`: how long the flag is still up, in ms; `flag`: until when, by the database's clock.
   * @throws {HistoryChanged}
   */
  read(after: Cursor, limits: PageLimits): Promise<LogPage & { awake: number; flag: number }>;
  /** What a bell carries; undefined: nothing that can be used. @throws {SyntaxError} */
  carried(bell: string): Carried | undefined;
  /** The rows of some topics after one cursor and behind another. @throws {HistoryChanged} */
  readTopics(topics: readonly string[], after: Cursor, until: Cursor, limits: PageLimits): Promise<LogPage>;
  /** The xid from which on to read for "so many milliseconds ago". */
  xidSince(ms: number): Promise<number>;
  /** Holds the flag up for so many milliseconds; rings if it was down. */
  stayAwake(ms: number): Promise<void>;
  /** An xid that has ended when this resolves: later snapshots name everything below it that is in progress. */
  drawLine(): Promise<number>;
}

/** Milliseconds that adopting may take. */
const ADOPTING = 3_600_000;

interface PageRecord {
  snapshot: string;
  horizon: string;
  more: boolean;
  entries: Entry[] | null;
}

/**
 * What the tailer's connection tells the planner: the statement that reads the log walks its index and is planned once. Set by the
 * connection and not by the function, where it would cost as much again as the rest at every bell.
 */
export const READING: Readonly<Record<string, string>> = {
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  plan_cache_mode: "force_generic_plan",
  jit: "off",
};

/** The statements: the tailer's on `tail`, a direct connection of its own with {@link READING}, the others on the pool. */
export function createLogStore(database: Database, tail: Database = database): LogStore {
  return {
    async adopt() {
      // Every row of a large dump may have to be written anew: the server's own limit on statements is the same as ours. Set by a
      // statement of the same message, which is one transaction, whichever connection of a pooler it goes to.
      const results = await guarded(
        tail.query<{ epoch: string }[]>(
          (sql) =>
            sql.unsafe(`set local statement_timeout = ${ADOPTING}; select tidings.adopt() as epoch`) as never,
          ADOPTING,
        ),
      );
      return results.flat().find((row) => row.epoch !== undefined)!.epoch;
    },
    async end(epoch) {
      const [record] = await guarded(
        tail.query<{ snapshot: string; last: string; horizon: string }>((sql) =>
          sql`select * from tidings.log_end(${epoch})`
        ),
      );
      const { snapshot, last, horizon } = record!;
      return { snapshot: fromSnapshot(epoch, snapshot), last: Number(last), horizon: Number(horizon) };
    },
    async read(after, limits) {
      const [record] = await guarded(
        tail.query<PageRecord & { awake: number; flag: string }>((sql) =>
          sql`select * from tidings.read_log(${after.epoch}, ${String(after.xmax)}::text::xid8, ${
            xids(after)
          }::text::xid8[],
          ${ids(after)}::text::bigint[], ${limits.rows}, ${limits.bytes})`
        ),
      );
      return { ...page(after.epoch, record!), awake: record!.awake, flag: Number(record!.flag) };
    },
    carried: readBell,
    async readTopics(topics, after, until, limits) {
      const [record] = await guarded(
        database.query<PageRecord>((sql) =>
          sql`select * from tidings.read_topics(${after.epoch}, ${JSON.stringify(topics)}::text,
          ${String(after.xmax)}::text::xid8, ${xids(after)}::text::xid8[], ${ids(after)}::text::bigint[],
          ${String(until.xmax)}::text::xid8, ${xids(until)}::text::xid8[], ${ids(until)}::text::bigint[],
          ${limits.rows}, ${limits.bytes})`
        ),
      );
      return page(after.epoch, record!);
    },
    async xidSince(ms) {
      const [row] = await database.query<{ xid: string }>((sql) =>
        sql`select tidings.xid_since(make_interval(secs => ${ms / 1000}))::text as xid`
      );
      return Number(row!.xid);
    },
    async stayAwake(ms) {
      await tail.query((sql) => sql`select tidings.stay_awake(${ms})`);
    },
    async drawLine() {
      const [row] = await tail.query<{ line: string }>((sql) =>
        sql`select tidings.draw_line()::text as line`
      );
      return Number(row!.line);
    },
  };
}

/** What a bell carries: [epoch, flag, entry], as `tidings.carry` writes it. @throws {SyntaxError} */
export function readBell(bell: string): Carried {
  const [epoch, flag, entry] = JSON.parse(bell) as [string, number, Entry];
  return { epoch, flag, row: toRow(entry) };
}

function page(epoch: string, record: PageRecord): LogPage {
  return {
    snapshot: fromSnapshot(epoch, record.snapshot),
    horizon: Number(record.horizon),
    more: record.more,
    rows: (record.entries ?? []).map(toRow),
  };
}

function xids(cursor: Cursor): string {
  return `{${cursor.gaps.map((gap) => gap.xid).join()}}`;
}

function ids(cursor: Cursor): string {
  return `{${cursor.gaps.map((gap) => gap.id).join()}}`;
}

async function guarded<T>(result: Promise<T>): Promise<T> {
  try {
    return await result;
  } catch (error) {
    if (sqlState(error) === "TD002") {
      throw new HistoryChanged("The database history has changed", { cause: error });
    }
    if (sqlState(error) === "TD003") throw new AdoptionWaits((error as Error).message, { cause: error });
    throw error;
  }
}
