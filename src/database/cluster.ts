/**
 * One PostgreSQL server process over one data directory, started from its binaries.
 *
 * - It listens on a loopback port only, with a password; no Unix socket.
 * - It lives in a session of its own, so that Ctrl-C in the terminal reaches the gateway alone and the gateway can drain.
 * - It never outlives this process: a watcher holds the other end of a pipe and asks the server to stop when the pipe
 *   closes, however this process ended (`kill -9` included).
 * - What an earlier process left behind (a server still running, a stale `postmaster.pid`) is cleared before the start.
 *   The caller makes sure that nobody else uses the folder now (hold.ts).
 * @module
 */
import {
  chmod,
  chown,
  mkdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { type Clock, systemClock } from "../clock.ts";
import { StartError } from "../errors.ts";
import type { Service } from "../service.ts";
import { type Account, majorVersion, runAs } from "./binaries.ts";

/** The superuser. Not `tidings`: the schema of that name would then be in its search path, and hide missing qualifications. */
export const DATABASE_USER = "postgres";

/** The database that the gateway uses. */
export const DATABASE_NAME = "tidings";

/** A server process and where it is. */
export interface ClusterOptions {
  /** The folder of `postgres` and `initdb`. */
  bin: string;
  /** The data directory, as `initialise` made it. */
  data: string;
  password: string;
  /** The port to try first; a free one is taken when it is absent or in use. After the first start it stays. */
  port?: number;
  /** Whom to run as; absent: as this process. */
  account?: Account | undefined;
  /** `-c name=value`. */
  settings?: Readonly<Record<string, string>>;
  clock?: Clock;
}

/** A PostgreSQL server of our own. */
export interface Cluster extends Service {
  /** Where it listens on 127.0.0.1, once started. */
  readonly port: number;
  /** Resolves when the server process has ended, asked or not; a new promise with each start. */
  readonly ended: Promise<void>;
  /** A connection URL, password included. */
  url(database?: string): string;
  /** Ends the server as a crash would (SIGKILL); its data are recovered at the next start. */
  crash(): Promise<void>;
  /** Lets this process end while the server runs (the watcher then stops it). */
  unref(): void;
}

/** Settings for servers whose data are thrown away: nothing waits for the disk. */
export const THROW_AWAY: Readonly<Record<string, string>> = {
  // in its folder, and gone with it: what a killed server shared would stay in /dev/shm for ever
  dynamic_shared_memory_type: "mmap",
  fsync: "off",
  full_page_writes: "off",
  max_connections: "400",
  max_wal_size: "1GB",
  shared_buffers: "128MB",
};

/** Makes a new data directory. It appears complete or not at all, so an interrupted first start leaves nothing behind. */
export async function initialise(
  options: Pick<ClusterOptions, "bin" | "data" | "password" | "account"> & {
    /** Do not wait for the disk: for data that are thrown away. */
    throwAway?: boolean;
  },
): Promise<void> {
  const { bin, data, password, account } = options;
  const unfinished = `${data}.new`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  const passwordFile = await Deno.makeTempFile({ prefix: "tidings-" });
  try {
    await writeFile(passwordFile, `${password}\n`);
    await chmod(passwordFile, 0o600);
    if (account !== undefined) {
      await chown(unfinished, account.uid, account.gid);
      await chown(passwordFile, account.uid, account.gid);
    }
    const major = await majorVersion(bin, account) ?? 0;
    const { success, stderr, stdout } = await new Deno.Command(join(bin, "initdb"), {
      args: [
        `--pgdata=${unfinished}`,
        `--username=${DATABASE_USER}`,
        `--pwfile=${passwordFile}`,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        ...(options.throwAway === true ? ["--no-sync"] : []),
        ...(major >= 17 ? ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] : []),
      ],
      ...runAs(account),
    }).output();
    if (!success) {
      const reason = text(stderr).trim() || text(stdout).trim();
      throw new StartError(`Cannot make a database in ${data}: ${reason.replaceAll(/\s*\n\s*/g, "; ")}`);
    }
    await rename(unfinished, data);
  } finally {
    await rm(passwordFile, { force: true });
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** A server over an initialised data directory; nothing runs until `start`. */
export function cluster(options: ClusterOptions): Cluster {
  const { bin, data, password, account, settings = {}, clock = systemClock } = options;
  let port = options.port ?? 0;
  let settled = false;
  let child: Deno.ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();

  async function launch(): Promise<"ready" | "port in use" | "busy"> {
    const args = ["-D", data, "-p", String(port)];
    const fixed = { listen_addresses: "127.0.0.1", unix_socket_directories: "", timezone: "UTC" };
    for (const [name, value] of Object.entries({ ...fixed, ...settings })) {
      args.push("-c", `${name}=${value}`);
    }
    const running = new Deno.Command(
      ...command(join(bin, "postgres"), args, join(data, "startup.log"), account),
    )
      .spawn();
    child = running;
    ended = running.status.then(async () => {
      child = undefined;
      // closing the pipe releases the watcher
      await running.stdin.close().catch(ignoreBrokenPipe);
    });
    const gone = ended.then(() => "gone" as const);
    for (;;) {
      const state = await Promise.race([gone, clock.sleep(15).then(() => serverState(data, running.pid))]);
      if (state === "ready") return "ready";
      if (state !== "gone") continue;
      const log = await readFile(join(data, "startup.log"), "utf8").catch(() => "");
      if (/could not bind|could not create any TCP/.test(log)) return "port in use";
      if (/pre-existing shared memory block|lock file .* already exists/.test(log)) return "busy";
      const reason = /(?:FATAL|PANIC|error): +(.*)/.exec(log)?.[1] ??
        (log.trim().split("\n").at(-1) || "it ended");
      throw new StartError(
        `Cannot start PostgreSQL over ${data}: ${reason} (more in ${join(data, "startup.log")})`,
      );
    }
  }

  return {
    name: "PostgreSQL",
    get port() {
      return port;
    },
    get ended() {
      return ended;
    },
    url(database = DATABASE_NAME) {
      return `postgres://${DATABASE_USER}:${password}@127.0.0.1:${port}/${database}`;
    },
    async start() {
      if (child !== undefined) return;
      await clearLeftovers(data, clock);
      if (port === 0) port = freePort();
      for (let attempt = 0; attempt < 20; attempt++) {
        const outcome = await launch();
        if (outcome === "ready") {
          settled = true;
          return;
        }
        // whoever was told the port keeps it; and the processes of a crashed server take a moment to leave
        if (outcome === "busy" || settled) await clock.sleep(100);
        else port = freePort();
      }
      throw new StartError(
        `Cannot start PostgreSQL over ${data}: port ${port} is in use, or processes of an earlier server do not end`,
      );
    },
    async stop() {
      const running = child;
      if (running === undefined) return;
      const cancel = clock.after(STOP_LIMIT, () => signal(running.pid, "SIGQUIT"));
      await askToStop(running, bin, data);
      await ended;
      cancel();
    },
    async crash() {
      if (child === undefined) return;
      child.kill("SIGKILL");
      await ended;
    },
    unref() {
      child?.unref();
    },
  };
}

/** A fast shutdown ends in well under a second; after this long (ms) the server is cut and recovers at its next start. */
const STOP_LIMIT = 20_000;

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/**
 * The server, and on Unix the watcher beside it: `$$` is the shell that becomes the server, and the watcher (made by a
 * shell that ends at once, so that the server does not have it as a child) reads until the pipe's other end is closed.
 */
function command(
  postgres: string,
  args: string[],
  log: string,
  account: Account | undefined,
): [string, Deno.CommandOptions & { stdin: "piped" }] {
  const common = { ...runAs(account), stdin: "piped", stdout: "null", stderr: "null" } as const;
  if (Deno.build.os === "windows") return [postgres, { ...common, args }];
  const script = 'log=$1; shift; exec >"$log" 2>&1 3<&0 </dev/null; ' +
    "( ( read -r _ <&3; kill -INT $$ ) >/dev/null 2>&1 & ); " +
    'exec 3<&-; exec "$@"';
  return ["/bin/sh", { ...common, args: ["-c", script, "sh", log, postgres, ...args], detached: true }];
}

async function askToStop(running: Deno.ChildProcess, bin: string, data: string): Promise<void> {
  if (Deno.build.os === "windows") {
    await new Deno.Command(join(bin, "pg_ctl"), { args: ["stop", "-D", data, "-m", "fast", "-s"] }).output();
  } else signal(running.pid, "SIGINT");
}

/** Signals a process that may just have ended. */
function signal(pid: number, name: Deno.Signal): void {
  try {
    Deno.kill(pid, name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What the server says of itself in `postmaster.pid`: starting, ready, stopping; undefined while it has not written it. */
async function serverState(data: string, pid: number): Promise<string | undefined> {
  const lines = await readPidFile(data);
  return lines?.[0] === String(pid) ? lines[7]?.trim() : undefined;
}

async function readPidFile(data: string): Promise<string[] | undefined> {
  try {
    return (await readFile(join(data, "postmaster.pid"), "utf8")).split("\n");
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/**
 * Stops a server that an earlier process left running here, and removes a `postmaster.pid` whose number now belongs to a
 * stranger. One whose process is gone is left to PostgreSQL, which also looks for processes that outlived a crash.
 */
async function clearLeftovers(data: string, clock: Clock): Promise<void> {
  const pid = Number((await readPidFile(data))?.[0]);
  if (!Number.isInteger(pid) || pid <= 0 || Deno.build.os === "windows" || !isAlive(pid)) return;
  if (!await servesFolder(pid, data)) {
    await rm(join(data, "postmaster.pid"), { force: true });
    return;
  }
  for (const [name, limit] of [["SIGINT", STOP_LIMIT], ["SIGQUIT", 5_000], ["SIGKILL", 5_000]] as const) {
    signal(pid, name);
    for (const until = clock.now() + limit; clock.now() < until;) {
      await clock.sleep(20);
      if (!await servesFolder(pid, data)) return;
    }
  }
  throw new StartError(`Cannot start PostgreSQL over ${data}: process ${pid} still uses it and does not end`);
}

/** Whether there is a process of this number, whoever's it is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isDenied(error);
  }
}

/** Whether the process is a server over this folder: a postmaster works inside its data directory. */
async function servesFolder(pid: number, data: string): Promise<boolean> {
  if (Deno.build.os === "linux") {
    try {
      return await readlink(`/proc/${pid}/cwd`) === await realpath(data);
    } catch (error) {
      // gone, a zombie, or a stranger's
      if (isAbsent(error) || isDenied(error)) return false;
      throw error;
    }
  }
  const { stdout } = await new Deno.Command("ps", { args: ["-o", "args=", "-p", String(pid)] }).output();
  return text(stdout).includes(data);
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

function ignoreBrokenPipe(error: unknown): void {
  if (!(error instanceof Deno.errors.BrokenPipe) && !(error instanceof TypeError)) throw error;
}

/** Whether a file system call failed because nothing is there. */
export function isAbsent(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  return code === "ENOENT" || code === "ESRCH" || error instanceof Deno.errors.NotFound;
}

/** Whether a file system call failed for want of permission. */
export function isDenied(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  return code === "EACCES" || code === "EPERM" || error instanceof Deno.errors.PermissionDenied;
}

/** Who owns the data directory; undefined when there is none. */
export async function ownerOf(path: string): Promise<{ uid: number; gid: number } | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
