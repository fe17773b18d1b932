/**
 * What stands before or behind a gateway in a real installation: gateways as processes of their own, nginx with the configuration
 * that is shipped, PgBouncer in transaction mode. Each on a loopback port of its own, gone with the test.
 * @module
 */
import { chown, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mint } from "../../src/auth/token.ts";
import { systemClock } from "../../src/clock.ts";
import { serverAccount } from "../../src/database/binaries.ts";
import { freePort } from "./port.ts";
import { type Process, start, startCommand } from "./process.ts";
import { temporaryFolder } from "./temporary_folder.ts";

const SECRET = "a secret that is only good for tests, and long enough";
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A token for a gateway of {@link gatewayProcess}; it may read and send everything. */
export function tokenFor(user: string): Promise<string> {
  const tidings = { subscribe: ["**"], publish: ["**"] };
  return mint(SECRET, { sub: user, tidings }, 3_600, systemClock);
}

/** The program on a database, at a given port so that it can be started there again; it is not waited for. */
export function gatewayProcess(port: number, env: Record<string, string>): Process {
  return start("src/main.ts", [], {
    PORT: String(port),
    HOST: "127.0.0.1",
    TIDINGS_JWT_SECRET: SECRET,
    TIDINGS_DRAIN: "500ms",
    TIDINGS_LOG_FORMAT: "json",
    ...env,
  });
}

/** A process in front or behind, and where it listens. */
export interface Front extends AsyncDisposable {
  port: number;
  process: Process;
}

/** nginx with `deploy/nginx.conf`: only the addresses are the test's. `edit` changes more of it. */
export async function nginx(gateways: [number, number], edit = (conf: string) => conf): Promise<Front> {
  const port = freePort();
  return await inFolder("nginx", async (folder) => {
    let conf = await readFile(join(ROOT, "deploy", "nginx.conf"), "utf8");
    const replace = (what: string, by: string) => {
      if (!conf.includes(what)) throw new Error(`deploy/nginx.conf has no ${what}`);
      conf = conf.replaceAll(what, by);
    };
    for (const [index, gateway] of gateways.entries()) {
      replace(`gateway${index + 1}:8080`, `127.0.0.1:${gateway}`);
    }
    replace("listen 8080;", `listen 127.0.0.1:${port};`);
    replace(" /tmp/", ` ${folder}/`);
    await writeFile(join(folder, "nginx.conf"), edit(conf));
    const process = startCommand("/usr/sbin/nginx", [
      "-e",
      "stderr",
      "-c",
      join(folder, "nginx.conf"),
      "-g",
      "daemon off;",
    ]);
    return { port, process, stop: "SIGTERM" };
  });
}

/** PgBouncer in transaction mode before a database; `url` is the database through it. */
export async function pgbouncer(
  database: { url: string },
  settings: Record<string, string> = {},
): Promise<Front & { url: string }> {
  const port = freePort();
  const url = new URL(database.url);
  const account = await serverAccount();
  const front = await inFolder("pgbouncer", async (folder) => {
    await writeFile(join(folder, "users.txt"), `"${url.username}" "${url.password}"\n`);
    const all = {
      listen_addr: "127.0.0.1",
      listen_port: String(port),
      unix_socket_dir: "",
      auth_type: "scram-sha-256",
      auth_file: join(folder, "users.txt"),
      pool_mode: "transaction",
      default_pool_size: "8",
      ...settings,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`);
    await writeFile(
      join(folder, "pgbouncer.ini"),
      `[databases]\n* = host=${url.hostname} port=${url.port}\n[pgbouncer]\n${lines.join("\n")}\n`,
    );
    if (account !== undefined) await chown(folder, account.uid, account.gid);
    const process = startCommand("/usr/sbin/pgbouncer", [join(folder, "pgbouncer.ini")], {}, folder, account);
    return { port, process, stop: "SIGINT" };
  });
  return { ...front, url: Object.assign(url, { hostname: "127.0.0.1", port: String(port) }).href };
}

/** Any such process, in a folder of its own: there as soon as it listens, told to stop by the signal it wants. */
export async function inFolder(
  name: string,
  run: (folder: string) => Promise<{ port: number; process: Process; stop: Deno.Signal }>,
): Promise<Front> {
  const folder = await temporaryFolder(name);
  const { port, process, stop } = await run(folder.path);
  await listening(port, process);
  return {
    port,
    process,
    async [Symbol.asyncDispose]() {
      process.signal(stop);
      await process.ended;
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Resolves when the process takes connections, and rejects when it ends instead. */
async function listening(port: number, process: Process): Promise<void> {
  let over = false;
  const ended = process.ended.then(({ stdout, stderr }) => {
    over = true;
    return new Error(`It ended before it listened: ${stdout}${stderr}`);
  });
  while (!over) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw await ended;
}
