/**
 * The pool of connections: every query has a deadline, every failure to reach the server is one error (`unavailable`).
 *
 * It never opens a transaction: the driver ends the whole process when a backend dies inside one, so an operation is one
 * statement, and what belongs together is an SQL function. A query that does not come back even after its deadline and a
 * cancel means that the connection is dead without saying so; then the pool is replaced.
 * @module
 */
import postgres from "postgres";
import { type Clock, jitter } from "../clock.ts";
import { StartError, TidingsError } from "../errors.ts";
import type { Service } from "../service.ts";

/** The driver's tagged template. */
export type Sql = postgres.Sql;

/** A statement as a tagged template with bound values. The driver's own `sql` is one, without deadlines. */
export type Statement = <T extends readonly (object | undefined)[]>(
  template: TemplateStringsArray,
  ...values: readonly postgres.ParameterOrFragment<never>[]
) => Promise<T>;

/** How to reach the server. */
export interface DatabaseOptions {
  url: string;
  /** Connections at most. */
  max: number;
  /** False behind a transaction pooler, which neither keeps prepared statements nor takes settings at connect. */
  prepare: boolean;
  /** Shown in pg_stat_activity. */
  name: string;
  /** Parameters of the server for these connections; not behind a pooler. */
  settings?: Readonly<Record<string, string>>;
  /** Milliseconds a query may take unless it says otherwise. @default 10000 */
  deadline?: number;
}

/** A pool. */
export interface Database extends Service {
  /**
   * Runs one statement and waits at most its deadline.
   * @throws {TidingsError} `unavailable` when the server cannot be reached or does not answer in time; the driver's
   * PostgresError otherwise.
   */
  query<T>(build: (sql: Sql) => postgres.PendingQuery<never>, deadline?: number): Promise<T[]>;
  /** The same as a tagged template, with the usual deadline. */
  readonly sql: Statement;
  /**
   * Makes the only connection of a pool of one LISTEN, by these statements; resolves when that is in force, and waits its turn
   * behind those under way. It holds for this connection: when `lost` is told, another one is to be asked. Notifications go to the last ears.
   */
  listen(statements: string, ears: Ears): Promise<void>;
  /** Gives up the connections, which may be dead without saying so, and opens new ones. */
  renew(): void;
  /**
   * The program is stopping: until the next start, no statement may take longer than this, those under way from now on. So
   * that a database that does not answer does not hold up a stop.
   */
  hasten(ms: number): void;
}

/** Who hears what a connection LISTENs to. */
export interface Ears {
  /** A notification came. */
  heard(channel: string, payload: string): void;
  /** The connection ended: nothing is heard until the next `listen`, and what rang meanwhile is lost. */
  lost(): void;
}

/** SQLSTATE classes and codes that say "the server is not there", not "the statement is wrong". */
const GONE = /^(08|57P0[123]|53|58|25006|XX000)/;
/** What the driver itself calls it. */
const DRIVER_GONE =
  /^(CONNECTION_|CONNECT_TIMEOUT|ECONN|EPIPE|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENOENT)/;

/** Milliseconds that statements under way get when the pool is closed. */
const LAST_ANSWERS = 5_000;

/** Milliseconds between two attempts to connect; the driver's own 20 s are long when the server has been back for 19 of them. */
const MOST_BACKOFF = 1_000;

/** Milliseconds that LISTEN waits for the statements before it; adopting a large dump takes its time. */
const LISTEN_DEADLINE = 3_600_000;

/** The driver hands notifications to this option, which its types leave out; its own `listen` is made of it. */
interface Notified {
  onnotify(channel: string, payload: string): void;
}

/** Options of the driver that every connection of this program shares. */
export function connection(
  url: string,
  name: string,
): postgres.Options<Record<string, postgres.PostgresType>> {
  return {
    connect_timeout: 10,
    backoff: (retries: number) => jitter(Math.min(MOST_BACKOFF, 25 * 2 ** retries)) / 1_000,
    fetch_types: false,
    onnotice: () => {},
    connection: { application_name: name },
    ...(url.startsWith("postgres") ? {} : { ssl: false }),
  };
}

/** The SQLSTATE of an error, or the driver's code, or undefined. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Whether the error means that the server cannot be reached at the moment. */
export function isGone(error: unknown): boolean {
  const code = sqlState(error);
  return code !== undefined && (GONE.test(code) || DRIVER_GONE.test(code));
}

/** Whether others were in a statement's way (a deadlock, a lock that was not to be had): asked again it may succeed. */
export function isContended(error: unknown): boolean {
  return /^(40001|40P01|55P03)$/.test(sqlState(error) ?? "");
}

/** A pool that is open after `start`. */
export function createDatabase(options: DatabaseOptions, deps: { clock: Clock }): Database {
  const { url, max, prepare, name, deadline: usual = 10_000 } = options;
  let sql: Sql | undefined;
  /** Statements that somebody waits for, and what gives each up after so many milliseconds. */
  const underWay = new Map<PromiseLike<unknown>, (ms: number) => void>();
  let longest = Infinity;
  let ears: Ears | undefined;

  function open(): Sql {
    const settings = connection(url, name);
    if (prepare) {
      settings.connection = { ...settings.connection, statement_timeout: 60_000, ...options.settings };
    }
    const hearing: Notified = { onnotify: (channel, payload) => ears?.heard(channel, payload) };
    const opened: Sql = postgres(url, {
      ...settings,
      ...hearing,
      onclose: () => {
        if (sql === opened) ears?.lost();
      },
      max,
      // one that listens is kept, however old
      ...(max === 1 ? { max_lifetime: null } : {}),
      prepare,
    });
    return opened;
  }

  const database: Database = {
    name: "database",
    async start() {
      longest = Infinity;
      sql ??= open();
      await database.sql`select 1`.catch((error) => {
        throw withoutPooler(error) ?? error;
      });
    },
    async stop() {
      const closing = sql;
      sql = ears = undefined;
      // The driver's own waiting does not notice that a connection that was lost and made again is idle.
      const late = Promise.withResolvers<void>();
      const cancel = deps.clock.after(LAST_ANSWERS, late.resolve);
      await Promise.race([Promise.allSettled(underWay.keys()), late.promise]);
      cancel();
      await closing?.end({ timeout: 0 });
    },
    async query<T>(build: (sql: Sql) => postgres.PendingQuery<never>, deadline = usual): Promise<T[]> {
      if (sql === undefined) throw new TidingsError("unavailable", "The database is closed");
      const used = sql;
      const pending = build(used);
      const late = Promise.withResolvers<never>();
      const cancels: (() => void)[] = [];
      const giveUpAfter = (ms: number) => {
        cancels.push(deps.clock.after(ms, () => {
          // nobody waits for it any more
          if (!underWay.delete(pending)) return;
          late.reject(
            new TidingsError("unavailable", `The database did not answer within ${ms} ms`, { retryAfter: 1 }),
          );
          pending.cancel();
          cancels.push(deps.clock.after(5_000, () => replace(used)));
        }));
      };
      underWay.set(pending, giveUpAfter);
      giveUpAfter(Math.min(deadline, longest));
      const settled = () => {
        underWay.delete(pending);
        cancels.forEach((cancel) => cancel());
      };
      pending.then(settled, settled);
      try {
        return await Promise.race([pending, late.promise]) as unknown as T[];
      } catch (error) {
        if (!isGone(error)) throw error;
        throw new TidingsError("unavailable", "The database cannot be reached at the moment", {
          cause: error,
          retryAfter: 1,
        });
      }
    },
    async listen(statements, whose) {
      if (max !== 1) {
        throw new Error("Cannot listen: a notification comes to one connection, and this pool has several");
      }
      ears = whose;
      await database.query((sql) => sql.unsafe(statements) as never, LISTEN_DEADLINE);
    },
    renew() {
      if (sql !== undefined) replace(sql);
    },
    hasten(ms) {
      longest = ms;
      for (const giveUpAfter of underWay.values()) giveUpAfter(ms);
    },
    sql: (template, ...values) =>
      database.query((sql) => sql(template, ...values) as unknown as postgres.PendingQuery<never>) as Promise<
        never
      >,
  };
  return database;

  /** Gives up every connection of a pool in which one no longer answers. */
  function replace(dead: Sql): void {
    if (sql !== dead) return;
    sql = open();
    ears?.lost();
    dead.end({ timeout: 0 }).then(undefined, () => undefined);
  }
}

/** What a pooler says that does not take settings at connect, as what to do about it. */
function withoutPooler(error: unknown): StartError | undefined {
  const cause = (error as Error).cause;
  if (!(cause instanceof Error) || !cause.message.startsWith("unsupported startup parameter")) {
    return undefined;
  }
  return new StartError(
    "Cannot use the database: DATABASE_URL leads to a pooler in transaction mode. Set LISTEN_DATABASE_URL to a direct connection to " +
      "the same database beside it",
    { cause },
  );
}
