/**
 * Throw-away PostgreSQL clusters for tests, and the template database that test databases are copies of.
 * @module
 */
import { chown, mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { serverAccount, usableBinaries } from "../../src/database/binaries.ts";
import {
  type Cluster,
  cluster,
  initialise,
  isAbsent,
  isAlive,
  isDenied,
  THROW_AWAY,
} from "../../src/database/cluster.ts";
import { migrate } from "../../src/database/migrate.ts";

/** The environment variable with the administrative URL of a cluster that the runner made. */
export const TEST_CLUSTER_URL = "TIDINGS_TEST_CLUSTER_URL";

/** The environment variable with the folder of other binaries, such as `/usr/lib/postgresql/15/bin`. */
export const TEST_PG_BIN = "TIDINGS_TEST_PG_BIN";

/** The name of the template. */
export const TEMPLATE = "tidings_template";

/** An initialised cluster that nothing waits for the disk for, within a folder that is to be removed after it. */
export async function throwAwayCluster(folder: string, settings?: Record<string, string>): Promise<Cluster> {
  const account = await serverAccount();
  const options = {
    bin: await usableBinaries(account, "/var/lib/tidings", Deno.env.get(TEST_PG_BIN)),
    data: join(folder, "postgres"),
    password: "test",
    account,
    throwAway: true,
  };
  await initialise(options);
  return cluster({ ...options, settings: { ...THROW_AWAY, ...settings } });
}

/** A folder that the server's account can reach, named after this process. */
export async function throwAwayFolder(parent = tmpdir()): Promise<string> {
  await sweep(parent);
  const folder = await mkdtemp(join(parent, `${PREFIX}${Deno.pid}-`));
  const account = await serverAccount();
  if (account !== undefined) await chown(folder, account.uid, account.gid);
  return folder;
}

/**
 * Where a cluster that makes hundreds of databases is best kept: in memory when there is plenty, for there a copy of the template
 * costs a third. What is measured, or has to survive, belongs on the disk.
 */
export async function roomForMany(): Promise<string> {
  const { bsize, bavail } = await statfs(MEMORY).catch((error) => {
    if (isAbsent(error)) return { bsize: 0, bavail: 0 };
    throw error;
  });
  const free = Math.min(bsize * bavail, Deno.systemMemoryInfo().available);
  return free >= MEMORY_NEEDED ? MEMORY : tmpdir();
}

/** Makes the migrated template in a cluster. `url` administers it. */
export async function prepareTemplate(url: string): Promise<void> {
  await administer(url, (admin) => admin.unsafe(`create database ${TEMPLATE}`));
  await migrate(Object.assign(new URL(url), { pathname: `/${TEMPLATE}` }).href);
  await administer(url, (admin) => admin.unsafe(`alter database ${TEMPLATE} allow_connections false`));
}

/** Runs statements on a connection of its own. */
export async function administer(url: string, run: (admin: postgres.Sql) => Promise<unknown>): Promise<void> {
  const admin = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await run(admin);
  } finally {
    await admin.end({ timeout: 5 });
  }
}

const PREFIX = "tidings-test-";

/** A file system in memory that Linux has. */
const MEMORY = "/dev/shm";

/** Bytes: what a run writes at most, its browsers and gateways beside it. */
const MEMORY_NEEDED = 8 * 2 ** 30;

/** Removes what killed test processes left behind. */
async function sweep(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]);
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    await rm(join(parent, name), { recursive: true, force: true }).catch((error) => {
      // another user's, or another process sweeps as well
      if (!isDenied(error) && (error as { code?: string }).code !== "ENOTEMPTY") throw error;
    });
  }
}
