/**
 * Senders that are not ours: PostgreSQL's own pgbench, as Debian ships it.
 * @module
 */
import { execFile } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

/** How to send. */
export interface Load {
  clients: number;
  /** Seconds that count. */
  seconds: number;
  /** Seconds before those, in which every connection fills its caches. @default 0 */
  warming?: number;
  /** Transactions a second, at most; as many as go when absent. */
  rate?: number;
}

/** What came of it. */
export interface Sent {
  /** Transactions a second. */
  rate: number;
  /** What each took in milliseconds; only with a given rate, and then from when it was due. */
  times: number[];
}

/** Runs a statement, each in a transaction of its own. */
export async function pgbench(url: string, statement: string, load: Load): Promise<Sent> {
  const { warming = 0 } = load;
  await using folder = await temporaryFolder("bench");
  const script = folder.at("script.sql");
  await writeFile(script, `${statement}\n`);
  const { stderr } = await promisify(execFile)(await pgbenchPath(), [
    ...[
      "-n",
      "-M",
      "prepared",
      "-j",
      "2",
      "-c",
      String(load.clients),
      "-T",
      String(warming + load.seconds),
      "-P",
      "1",
      "-f",
      script,
    ],
    ...(load.rate === undefined ? [] : ["-R", String(load.rate), "-l", "--log-prefix", folder.at("log")]),
    url,
  ]);
  const perSecond = [...stderr.matchAll(/^progress: ([\d.]+) s, ([\d.]+) tps/gm)]
    .filter(([, at]) => Number(at) > warming + 0.5)
    .map(([, , tps]) => Number(tps));
  const rate = perSecond.reduce((sum, tps) => sum + tps, 0) / perSecond.length;
  if (!(rate > 0)) throw new Error(`pgbench said nothing of tps: ${stderr}`);
  const logs = (await readdir(folder.path)).filter((name) => name.startsWith("log."));
  const lines = (await Promise.all(logs.map((name) => readFile(folder.at(name), "utf8")))).join("");
  const times = lines.split("\n").filter((line) => line !== "").map((line) =>
    Number(line.split(" ")[2]) / 1_000
  );
  return { rate, times };
}

/** Debian keeps it beside each server version. */
async function pgbenchPath(): Promise<string> {
  const root = "/usr/lib/postgresql";
  const versions = await readdir(root).catch(() => [] as string[]);
  const newest = versions.filter((version) => /^\d+$/.test(version)).sort((a, b) => Number(a) - Number(b)).at(
    -1,
  );
  if (newest === undefined) {
    throw new Error("Cannot measure: pgbench is missing; apt-get install postgresql-contrib");
  }
  return join(root, newest, "bin", "pgbench");
}
