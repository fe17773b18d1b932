/**
 * Brings the database's schema up to the program's: the files `sql/NNN_name.sql`, in order, each in a transaction of its
 * own that first inserts its row into `tidings.migration`. When several gateways start at once, the others wait at that
 * row; a clash there means that one of them did it.
 *
 * Never edits what was applied: a file that changed afterwards, or a database that is ahead of the program, stops the start.
 * @module
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import postgres from "postgres";
import { StartError } from "../errors.ts";

/** One file of `sql/`. */
export interface Migration {
  id: number;
  /** `001_notification` */
  name: string;
  text: string;
  /** SHA-256 of the text, hexadecimal. */
  hash: string;
}

/** The oldest server that the SQL runs on. */
export const OLDEST_SERVER = 14;

/**
 * Applies what is missing and returns the names of what this process applied. `url` must reach the server directly or by
 * a pooler; a {@link StartError} says what is wrong in one line.
 */
export async function migrate(url: string, migrations?: readonly Migration[]): Promise<string[]> {
  const wanted = migrations ?? await readMigrations();
  const sql = postgres(url, { max: 1, connect_timeout: 10, prepare: false, onnotice: () => {} });
  try {
    await refuseUnsuitable(sql);
    await bootstrap(sql);
    const applied: string[] = [];
    for (const migration of wanted) {
      const known = await check(sql, wanted);
      if (known.has(migration.id)) continue;
      if (await apply(sql, migration)) applied.push(migration.name);
    }
    await check(sql, wanted);
    return applied;
  } catch (error) {
    throw error instanceof StartError ? error : cannotReach(url, error);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** The program's migrations, in order. */
export async function readMigrations(
  folder: URL = new URL("../../sql/", import.meta.url),
): Promise<Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith(".sql")).sort();
  return await Promise.all(files.map(async (file, index) => {
    const id = numberOf(file);
    if (id === undefined || id === numberOf(files[index - 1] ?? "")) {
      throw new StartError(
        `Cannot read the migrations: ${file} is not of the form NNN_name.sql with a number of its own`,
      );
    }
    const text = await readFile(new URL(file, folder), "utf8");
    return {
      id,
      name: file.replace(/\.sql$/, ""),
      text,
      hash: createHash("sha256").update(text).digest("hex"),
    };
  }));
}

/** Why a database cannot be used, in one line without the password. */
function cannotReach(url: string, error: unknown): StartError {
  const { code, message } = error as { code?: string; message?: string };
  const reason = REASONS[code ?? ""] ?? message ?? String(error);
  return new StartError(`Cannot use the database at ${whereIs(url)}: ${reason.replaceAll(/\s+/g, " ")}`, {
    cause: error,
  });
}

/** `host:port/database` of a connection URL, without user and password. */
export function whereIs(url: string): string {
  try {
    const { hostname, port, pathname, searchParams } = new URL(url);
    return `${hostname || searchParams.get("host") || "localhost"}:${port || 5432}${pathname}`;
  } catch {
    return "an address that is not a URL";
  }
}

/** What a server says of itself. */
export interface ServerFacts {
  /** `server_version_num`: 150013 is 15.13. */
  version: number;
  /** `server_version` */
  shown: string;
  /** Whether it is a standby. */
  recovering: boolean;
}

/** Why a server cannot be used; undefined when it can. */
export function unsuitable({ version, shown, recovering }: ServerFacts): string | undefined {
  if (version < OLDEST_SERVER * 10_000) {
    return `it is PostgreSQL ${shown}, and Tidings needs ${OLDEST_SERVER} or newer. Upgrade the server.`;
  }
  if (recovering) {
    return "it is a standby in recovery, where cursors would lose notifications. Point DATABASE_URL at the primary.";
  }
  return undefined;
}

type Sql = postgres.Sql;

function numberOf(file: string): number | undefined {
  const digits = /^(\d{3})_[a-z0-9_]+\.sql$/.exec(file)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

const REASONS: Record<string, string | undefined> = {
  ECONNREFUSED: "nothing listens there. Start the server, or correct DATABASE_URL",
  ENOTFOUND: "there is no host of that name. Correct DATABASE_URL",
  EAI_AGAIN: "the name of the host cannot be looked up at the moment. Correct DATABASE_URL, or try again",
  ETIMEDOUT: "it does not answer. Check the address and the firewalls between",
  CONNECT_TIMEOUT: "it does not answer within 10 s. Check the address and the firewalls between",
  "28P01": "the password is wrong. Correct DATABASE_URL",
  "28000": "it does not let this user in from here. Check DATABASE_URL and the server's pg_hba.conf",
  "3D000": "there is no database of that name. Create it, or correct DATABASE_URL",
  "53300": "it has no connection left. Raise its max_connections",
  "57P03": "the server is starting or stopping. Try again in a moment",
  "42501": "this user may not create the schema tidings there. Grant it CREATE on the database once",
};

async function refuseUnsuitable(sql: Sql): Promise<void> {
  const [server] = await sql<ServerFacts[]>`
    select current_setting('server_version_num')::int as version, current_setting('server_version') as shown,
      pg_catalog.pg_is_in_recovery() as recovering`;
  const reason = server === undefined ? "it answered without a row" : unsuitable(server);
  if (reason !== undefined) throw new StartError(`Cannot use the database: ${reason}`);
}

/** The table that records migrations, made by whoever comes first. */
async function bootstrap(sql: Sql): Promise<void> {
  const [found] = await sql`select pg_catalog.to_regclass('tidings.migration') is not null as there`;
  if (found?.there === true) return;
  await sql.unsafe(`
    select pg_catalog.pg_advisory_xact_lock(${BOOTSTRAP_LOCK});
    create schema if not exists tidings;
    create table if not exists tidings.migration (
      id int primary key,
      name text not null,
      hash text not null,
      applied_at timestamptz not null default pg_catalog.now()
    );
  `).simple();
}

const BOOTSTRAP_LOCK = 7_434_460_951;

/** What is applied; refuses a database that this program does not understand. */
async function check(sql: Sql, wanted: readonly Migration[]): Promise<Set<number>> {
  const rows = await sql<{ id: number; name: string; hash: string }[]>`
    select id, name, hash from tidings.migration order by id`;
  for (const { id, name, hash } of rows) {
    const ours = wanted.find((migration) => migration.id === id);
    if (ours === undefined) {
      throw new StartError(
        `Cannot use the database: it is newer than this program (it has migration ${name}, this program ends with ` +
          `${wanted.at(-1)?.name ?? "none"}). Start a newer version.`,
      );
    }
    if (ours.hash !== hash) {
      throw new StartError(
        `Cannot use the database: migration ${name} was applied from another text than this program's. ` +
          "Start the version that made it, and never edit an applied migration.",
      );
    }
  }
  return new Set(rows.map(({ id }) => id));
}

/** Applies one in a transaction of its own: true when it did, false when another process was first. */
async function apply(sql: Sql, { id, name, text, hash }: Migration): Promise<boolean> {
  const claim = `insert into tidings.migration (id, name, hash) values (${id}, '${name}', '${hash}');\n`;
  try {
    // one simple query is one transaction; functions are never public, not even between two migrations
    await sql.unsafe(`${claim}${text}\n;revoke all on all functions in schema tidings from public;`).simple();
    return true;
  } catch (error) {
    const { code, constraint_name, message, position } = error as Record<string, string | undefined>;
    if (code === "23505" && constraint_name === "migration_pkey") return false;
    if (code === undefined || REASONS[code] !== undefined) throw error;
    const line = position === undefined ? "" : ` at line ${lineOf(claim + text, Number(position)) - 1}`;
    throw new StartError(`Cannot apply migration ${name}${line}: ${message}`, { cause: error });
  }
}

const lineOf = (text: string, position: number) => text.slice(0, position).split("\n").length;
