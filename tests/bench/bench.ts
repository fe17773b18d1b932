/**
 * What the benchmarks share: the machine, the figures, and what they need running beside them.
 * @module
 */
import { cpus, totalmem } from "node:os";
import postgres from "postgres";
import { mint } from "../../src/auth/token.ts";
import { systemClock } from "../../src/clock.ts";
import { type Process, start } from "../helpers/process.ts";

/** One figure: a ratio against a peer or a limit of the same run. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** What it has to reach (`least`) or stay within (`most`). */
  limit?: { least: number } | { most: number };
  /** What it was made of, for whoever doubts it. */
  from?: string;
}

/** A benchmark: a file that exports one. */
export interface Benchmark {
  name: string;
  run(report: (figure: Figure) => void): Promise<void>;
}

/** Whether a figure keeps its limit. */
export function keeps({ value, limit }: Figure): boolean {
  if (limit === undefined) return true;
  return "least" in limit ? value >= limit.least : value <= limit.most;
}

/** The machine, in one line. */
export function machine(): string {
  const [first] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${
    first?.model ?? "unknown processor"
  }, ${cpus().length} cores, ${memory} GiB, Deno ${Deno.version.deno}`;
}

/** The middle one. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Settings of a server that flushes for real, as in production, and whose checkpoints do not fall into a measurement. */
export const FLUSHING: Readonly<Record<string, string>> = {
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
  max_wal_size: "8GB",
};

/** What the gateways of a benchmark verify tokens with. */
const SECRET = "a secret that is only good for benchmarks, and long enough";

/** A gateway as a process of its own. */
export interface GatewayProcess extends AsyncDisposable {
  url: string;
  pid: number;
  token(user: string): Promise<string>;
}

/** Starts one on a migrated database. */
export async function gatewayProcess(url: string, env: Record<string, string> = {}): Promise<GatewayProcess> {
  const process: Process = start("src/main.ts", [], {
    PORT: "0",
    HOST: "127.0.0.1",
    DATABASE_URL: url,
    TIDINGS_JWT_SECRET: SECRET,
    TIDINGS_DRAIN: "0s",
    TIDINGS_LOG_LEVEL: "info",
    TIDINGS_LOG_FORMAT: "json",
    TIDINGS_MAX_SESSIONS_PER_USER: "1000000",
    ...env,
  });
  const [, address = ""] = await process.until(/Listening on \W*(http:\/\/[\d.]+:\d+)/);
  return {
    url: address,
    pid: process.pid,
    token: (user) =>
      mint(SECRET, { sub: user, tidings: { subscribe: ["**"], publish: ["**"] } }, 3_600, systemClock),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** A pool that tells nothing. */
export function connect(
  url: string,
  options: postgres.Options<Record<string, postgres.PostgresType>> = {},
): postgres.Sql {
  return postgres(url, { onnotice: () => {}, fetch_types: false, ...options });
}
