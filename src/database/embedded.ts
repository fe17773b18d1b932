/**
 * The database of a gateway that was given none: a real PostgreSQL whose data lie in the gateway's own folder.
 *
 * The folder holds `postgres` (the data, with the server's logs), `database_url` (how to connect, password included; readable by
 * its owner only) and `gateway.lock` (hold.ts). One gateway holds a folder at a time. A server that dies is started again.
 *
 * Started by root, the server runs as another account. Where that account cannot reach the folder (a clone under /root), the data
 * are kept under /var/lib/tidings, and `postgres` in the folder is a link to them.
 * @module
 */
import { chmod, chown, mkdir, readFile, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import postgres from "postgres";
import { type Clock, jitter, systemClock } from "../clock.ts";
import { StartError } from "../errors.ts";
import type { Service } from "../service.ts";
import {
  type Account,
  accountOf,
  canReach,
  majorVersion,
  serverAccount,
  usableBinaries,
} from "./binaries.ts";
import { type Cluster, cluster, DATABASE_NAME, initialise, isAbsent, ownerOf } from "./cluster.ts";
import { type Hold, hold } from "./hold.ts";

/** Where the embedded database lives, and whom it tells what. */
export interface EmbeddedOptions {
  /** The data folder (`.data`); made when absent. */
  folder: string;
  /** Told, in one line, what the operator should know: where the data are, that the server had to be started again. */
  notice: (line: string) => void;
  /** `-c name=value`, beside the usual ones. */
  settings?: Readonly<Record<string, string>>;
  /** The folder of the binaries. Absent: those from npm. */
  bin?: string;
  /** Where root keeps what the server's account cannot reach otherwise. @default "/var/lib/tidings" */
  outside?: string;
  clock?: Clock;
}

/** The embedded database. */
export interface Embedded extends Service {
  /** How to connect, once started. */
  readonly url: string;
}

/** The name of the file that says how to connect: `psql "$(cat .data/database_url)"`. */
export const URL_FILE = "database_url";

/** The embedded database of a folder; nothing is touched until `start`. */
export function embedded(options: EmbeddedOptions): Embedded {
  const { notice, settings = {}, outside = "/var/lib/tidings", clock = systemClock } = options;
  const folder = resolve(options.folder);
  const holds: Hold[] = [];
  let server: Cluster | undefined;
  let stopping = new AbortController();
  let watching: Promise<void> = Promise.resolve();

  async function start(): Promise<void> {
    await makeFolder(folder);
    holds.push(await hold(folder, clock));
    const data = await dataOf(folder);
    const home = dirname(data ?? join(folder, "postgres"));
    if (home !== folder) holds.push(await hold(home, clock));

    const account = await accountFor(data);
    const bin = await usableBinaries(account, outside, options.bin);
    const { password, port } = await credentials(folder);
    const place = data ?? await makeData({ folder, outside, account, bin, password, notice });
    await refuseOtherVersion(place, bin, account);
    if (dirname(place) !== folder) {
      notice(`The database is kept in ${place}, and ${folder}/postgres is a link to it`);
    }

    server = cluster({
      bin,
      data: place,
      password,
      account,
      clock,
      settings: { ...LOGGING, ...settings },
      ...(port === undefined ? {} : { port }),
    });
    await server.start();
    await keepUrl(folder, server.url());
    await ensureDatabase(server);
    stopping = new AbortController();
    watching = restartWhenItDies(server, stopping.signal);
  }

  async function restartWhenItDies(server: Cluster, signal: AbortSignal): Promise<void> {
    for (let pause = 100; !signal.aborted; pause = Math.min(pause * 2, 5_000)) {
      await server.ended;
      if (signal.aborted) return;
      notice("The embedded PostgreSQL ended unasked and is started again");
      try {
        await clock.sleep(jitter(pause), signal);
        await server.start();
        pause = 100;
      } catch (error) {
        if (!signal.aborted) notice(error instanceof Error ? error.message : String(error));
      }
    }
    // it may have come back while it was being stopped
    await server.stop();
  }

  return {
    name: "the embedded PostgreSQL",
    get url() {
      if (server === undefined) {
        throw new Error("Cannot tell the URL of the embedded PostgreSQL: it is not started");
      }
      return server.url();
    },
    start,
    async stop() {
      stopping.abort();
      await server?.stop();
      await watching;
      server = undefined;
      for (const held of holds.splice(0)) held.release();
    },
  };
}

/** A week of logs within the data directory; a server that dies says why there. */
const LOGGING = {
  logging_collector: "on",
  log_directory: "log",
  log_filename: "postgresql-%a.log",
  log_rotation_age: "1d",
  log_rotation_size: "0",
  log_truncate_on_rotation: "on",
};

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(
      `Cannot make the folder ${folder}: ${reason}. Make its parent writable, or set TIDINGS_DATA.`,
      {
        cause,
      },
    );
  }
}

/** The real path of the folder's data directory; undefined before the first start. */
async function dataOf(folder: string): Promise<string | undefined> {
  try {
    return await realpath(join(folder, "postgres"));
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Whom to run as: the owner of the data, if there are any. */
async function accountFor(data: string | undefined): Promise<Account | undefined> {
  const owner = data === undefined ? undefined : await ownerOf(data);
  if (Deno.build.os === "windows") return undefined;
  const mine = Deno.uid();
  if (owner === undefined) return await serverAccount();
  if (mine === 0 && owner.uid !== 0) return await accountOf(owner.uid, owner.gid);
  if (mine === owner.uid && mine !== 0) return undefined;
  const { name } = await accountOf(owner.uid, owner.gid);
  throw new StartError(
    `Cannot use the database in ${data}: it belongs to user ${name}. Start Tidings as that user, as root if root made it, ` +
      "or set TIDINGS_DATA to another folder.",
  );
}

/** The password and the port of earlier starts, or a new password. */
async function credentials(folder: string): Promise<{ password: string; port?: number }> {
  const file = join(folder, URL_FILE);
  try {
    const { password, port } = new URL((await readFile(file, "utf8")).trim());
    return { password, ...(port === "" ? {} : { port: Number(port) }) };
  } catch (error) {
    if (!isAbsent(error) || await dataOf(folder) !== undefined) {
      throw new StartError(
        `Cannot use the database in ${folder}: ${file} cannot be read, and it holds the password. Restore it.`,
        { cause: error },
      );
    }
  }
  const password = randomBytes(24).toString("base64url");
  // kept before the data exist, so that there are never data without their password
  await keepUrl(folder, `postgres://postgres:${password}@127.0.0.1/${DATABASE_NAME}`);
  return { password };
}

async function keepUrl(folder: string, url: string): Promise<void> {
  const file = join(folder, URL_FILE);
  await writeFile(`${file}.new`, `${url}\n`, { mode: 0o600 });
  await rename(`${file}.new`, file);
}

/** Makes the data directory of a first start, in the folder or where the account can reach it. */
async function makeData(
  { folder, outside, account, bin, password, notice }: {
    folder: string;
    outside: string;
    account: Account | undefined;
    bin: string;
    password: string;
    notice: (line: string) => void;
  },
): Promise<string> {
  notice("Making the database; this happens once");
  const here = join(folder, "postgres");
  if (account === undefined || await canHave(account, folder)) {
    await initialise({ bin, data: here, password, account });
    return here;
  }
  const home = join(outside, randomBytes(6).toString("hex"));
  await mkdir(home, { recursive: true });
  await chmod(outside, 0o755);
  await chmod(home, 0o755);
  const there = join(home, "postgres");
  await initialise({ bin, data: there, password, account });
  await rm(here, { force: true });
  await symlink(there, here);
  return there;
}

/** Whether the account can own a folder within this one and reach it. */
async function canHave(account: Account, folder: string): Promise<boolean> {
  const probe = join(folder, `probe-${randomBytes(6).toString("hex")}`);
  await mkdir(probe, { mode: 0o700 });
  try {
    await chown(probe, account.uid, account.gid);
    return await canReach(probe, account);
  } catch (error) {
    if (error instanceof Error && /EPERM|EINVAL|ENOSYS|not permitted/.test(error.message)) return false;
    throw error;
  } finally {
    await rm(probe, { recursive: true });
  }
}

async function refuseOtherVersion(data: string, bin: string, account: Account | undefined): Promise<void> {
  const made = Number(await readFile(join(data, "PG_VERSION"), "utf8"));
  const ours = await majorVersion(bin, account);
  if (made === ours) return;
  throw new StartError(
    `Cannot use the database in ${data}: PostgreSQL ${made} made it, and this program carries PostgreSQL ${ours}. ` +
      `Dump it with version ${made} and restore it, or set TIDINGS_DATA to another folder.`,
  );
}

async function ensureDatabase(server: Cluster): Promise<void> {
  const sql = postgres(server.url("postgres"), { max: 1 });
  try {
    const found = await sql`select from pg_catalog.pg_database where datname = ${DATABASE_NAME}`;
    if (found.length === 0) await sql`create database ${sql(DATABASE_NAME)}`;
  } finally {
    await sql.end({ timeout: 5 });
  }
}
