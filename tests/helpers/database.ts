/**
 * Real PostgreSQL for tests: a throw-away database per test, made from a migrated template in a throw-away cluster.
 *
 * `deno task test` starts one cluster for everybody and says where it is; a bare `deno test` starts one for each test
 * file that imports this module, which ends with the process, however that ends.
 *
 * ```ts
 * await using database = await testDatabase();
 * await database.sql`select tidings.send('all', 'hello')`;
 * ```
 * @module
 */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import postgres from "postgres";
import type { Cluster } from "../../src/database/cluster.ts";
import { migrate } from "../../src/database/migrate.ts";
import {
  administer,
  prepareTemplate,
  TEMPLATE,
  TEST_CLUSTER_URL,
  throwAwayCluster,
  throwAwayFolder,
} from "./cluster.ts";

/** A database of one's own. Disposing it closes `sql` and drops the database, whoever is still connected. */
export interface TestDatabase extends AsyncDisposable {
  /** For further connections, by tests or by the code under test. */
  url: string;
  sql: postgres.Sql;
  /** Another connection pool to the same database, closed with it. */
  connect(options?: postgres.Options<Record<string, never>>): postgres.Sql;
}

/** A server of one's own, to be stopped, started and crashed. Its `url()` has a migrated database. */
export interface TestCluster extends Cluster, AsyncDisposable {
  /** Connects to the migrated database; closed with the cluster. */
  connect(options?: postgres.Options<Record<string, never>>): postgres.Sql;
  /** Starts it again as a standby in recovery, with no primary; `select pg_promote()` ends that with a new timeline. */
  demote(): Promise<void>;
}

/** A fresh, migrated database; with `{ migrated: false }` an empty one. */
export async function testDatabase({ migrated = true } = {}): Promise<TestDatabase> {
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const template = migrated ? TEMPLATE : "template1";
  await administer(shared, (admin) => admin.unsafe(`create database ${name} template ${template}`));
  const url = Object.assign(new URL(shared), { pathname: `/${name}` }).href;
  const pools = connections(url);
  return {
    url,
    sql: pools.connect(),
    connect: pools.connect,
    async [Symbol.asyncDispose]() {
      await pools.close();
      await administer(shared, (admin) => admin.unsafe(`drop database ${name} with (force)`));
    },
  };
}

/** A server of one's own, started and migrated. */
export async function testCluster(
  options: { settings?: Record<string, string>; migrated?: boolean } = {},
): Promise<TestCluster> {
  const folder = await throwAwayFolder();
  const own = await throwAwayCluster(folder, options.settings);
  await own.start();
  await administer(own.url("postgres"), (admin) => admin.unsafe("create database tidings"));
  if (options.migrated !== false) await migrate(own.url());
  const pools = connections(() => own.url());
  return Object.assign(own, {
    connect: pools.connect,
    async demote() {
      await own.stop();
      await writeFile(join(folder, "postgres", "standby.signal"), "");
      await own.start();
    },
    async [Symbol.asyncDispose]() {
      await pools.close();
      await own.stop();
      await rm(folder, { recursive: true, force: true });
    },
  });
}

// outside of any test, so that no test sees it come or go
const shared = Deno.env.get(TEST_CLUSTER_URL) ?? await clusterOfThisFile();

async function clusterOfThisFile(): Promise<string> {
  const folder = await throwAwayFolder();
  const own = await throwAwayCluster(folder);
  await own.start();
  own.unref();
  await prepareTemplate(own.url("postgres"));
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  return own.url("postgres");
}

function connections(url: string | (() => string)) {
  const open: postgres.Sql[] = [];
  return {
    connect(options: postgres.Options<Record<string, never>> = {}): postgres.Sql {
      const sql = postgres(typeof url === "string" ? url : url(), {
        max: 10,
        onnotice: () => {},
        ...options,
      });
      open.push(sql);
      return sql;
    },
    async close(): Promise<void> {
      await Promise.all(open.splice(0).map((sql) => sql.end({ timeout: 2 })));
    },
  };
}
