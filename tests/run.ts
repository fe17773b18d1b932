/**
 * Runs the tests: `deno task test` everything that needs nothing but Deno, `deno task test:system` what needs Debian's packages,
 * and what depends on the server's version once more on Debian's PostgreSQL and on further ones from npm. Paths or options of
 * `deno test` may follow.
 *
 * All test files share one PostgreSQL cluster. The last line is `N passed, N failed`; no test at all is a failure too.
 * @module
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  prepareTemplate,
  roomForMany,
  TEST_CLUSTER_URL,
  TEST_PG_BIN,
  throwAwayCluster,
  throwAwayFolder,
} from "./helpers/cluster.ts";
import { debianPostgres, installPackages } from "./helpers/packages.ts";
import { otherServers } from "./helpers/servers.ts";

const tests = fileURLToPath(new URL(".", import.meta.url));
const SHOW_BOTH = join(tests, "helpers", "suppressed.ts");
const APART = ["system", "bench", "chaos"];
/** What depends on the server's version: the SQL, and the code that reads what it answers. The wire is the same above it. */
const BY_SERVER = [
  "api/idempotency_test.ts",
  "auth/ticket_test.ts",
  "checker_test.ts",
  "database/adopt_test.ts",
  "database/carry_test.ts",
  "database/cluster_test.ts",
  "database/log_store_test.ts",
  "database/migrate_test.ts",
  "database/postgres_test.ts",
  "database/publish_store_test.ts",
  "database/send_test.ts",
  "inbox",
  "log",
  "push/sql",
  "schedule/sql_test.ts",
];

/** Of these, what is all SQL: on each of the other versions. */
const BY_VERSION = [
  "api/idempotency_test.ts",
  "auth/ticket_test.ts",
  "database/adopt_test.ts",
  "database/carry_test.ts",
  "database/migrate_test.ts",
  "inbox/attach_test.ts",
  "inbox/keep_shown_test.ts",
  "inbox/place_test.ts",
  "inbox/retention_test.ts",
  "inbox/tidy_test.ts",
  "inbox/trace_test.ts",
  "log/carry_test.ts",
  "log/tailer_test.ts",
  "operations_test.ts",
  "push/sql",
  "schedule/sql_test.ts",
];

/** Test files at once: more than a small machine has cores, since many wait for a clock or a browser. */
const JOBS = String(navigator.hardwareConcurrency + 2);

interface Count {
  passed: number;
  failed: number;
}

const [suite = "unit", ...given] = Deno.args;
const counts: Count[] = [];
if (suite === "system") {
  await installPackages();
  const bin = await debianPostgres();
  if (await filesUnder(join(tests, "system")).then((files) => files.length > 0)) {
    counts.push(await run(given.length > 0 ? given : [join(tests, "system")]));
  }
  if (given.length === 0) {
    counts.push(await runOn(bin, BY_SERVER));
    for (const folder of await otherServers()) counts.push(await runOn(folder, BY_VERSION));
  }
} else {
  const ignored = APART.map((name) => join(tests, name)).join();
  counts.push(await run(given.length > 0 ? given : [`--ignore=${ignored}`, tests]));
}

const sum = (key: keyof Count) => counts.reduce((total, count) => total + count[key], 0);
console.log(`\n${sum("passed")} passed, ${sum("failed")} failed`);
Deno.exit(sum("failed") > 0 || sum("passed") === 0 ? 1 : 0);

/** Runs tests on the server whose binaries are in a folder. */
function runOn(folder: string, names: readonly string[]): Promise<Count> {
  console.log(`\nAgain on the PostgreSQL in ${folder}`);
  Deno.env.set(TEST_PG_BIN, folder);
  return run(names.map((name) => join(tests, name)));
}

/** One `deno test` with a cluster of its own; a run that ends badly without naming a failed test counts as one. */
async function run(args: string[]): Promise<Count> {
  const folder = await throwAwayFolder(await roomForMany());
  const cluster = await throwAwayCluster(folder);
  try {
    await cluster.start();
    await prepareTemplate(cluster.url("postgres"));
    const child = new Deno.Command(Deno.execPath(), {
      // types are `deno check`'s, which takes a third as long for all files as each of these runs would for its own
      args: ["test", "-A", "--no-check", "--parallel", "--trace-leaks", `--preload=${SHOW_BOTH}`, ...args],
      env: { [TEST_CLUSTER_URL]: cluster.url("postgres"), DENO_JOBS: Deno.env.get("DENO_JOBS") ?? JOBS },
      stdout: "piped",
    }).spawn();
    // an interrupted run still stops its cluster
    const interrupt = () => child.kill("SIGTERM");
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, interrupt);
    const count = await passOn(child.stdout);
    const { success } = await child.status;
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, interrupt);
    return { ...count, failed: success ? count.failed : Math.max(count.failed, 1) };
  } finally {
    await cluster.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Prints what comes, and reads the summary from it. */
async function passOn(output: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Count> {
  const count = { passed: 0, failed: 0 };
  const decoder = new TextDecoder();
  let tail = "";
  for await (const chunk of output) {
    await Deno.stdout.write(chunk);
    tail = (tail + decoder.decode(chunk, { stream: true })).slice(-2_000);
  }
  // deno-lint-ignore no-control-regex
  const plain = tail.replaceAll(/\x1b\[[\d;]*m/g, "");
  const [, passed, failed] = /\| (\d+) passed\b.*\| (\d+) failed\b(?!.*passed)/s.exec(plain) ?? [];
  count.passed = Number(passed ?? 0);
  count.failed = Number(failed ?? 0);
  return count;
}

async function filesUnder(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error) => {
    if ((error as { code?: string }).code === "ENOENT") return [];
    throw error;
  });
  return entries.filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath, entry.name));
}
