/**
 * `deno run -A src/image.ts <folder>`: the program as a container runs it, in a folder of its own: the modules that the server and its
 * commands reach, their packages as deno.lock has them, the SQL, and what was built for browsers. Neither tests, nor the embedded
 * PostgreSQL, nor what only builds.
 * @module
 */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { DIST, ROOT } from "./api/bundle.ts";

const ENTRIES = ["src/main.ts", "src/cli.ts"];
/** Reached only where there is no `dist/`. */
const UNUSED = ["typescript"];

/** Fills the folder, which is made when absent. */
export async function image(folder: string): Promise<void> {
  const out = resolve(folder);
  const { files, packages } = await reached();
  for (const file of files) await copy(file, out);
  await cp(join(ROOT, "sql"), join(out, "sql"), { recursive: true });
  await cp(DIST, join(out, "dist"), { recursive: true });
  await copy("deno.lock", out);
  const manifest = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
  const imports = Object.fromEntries(
    Object.entries(manifest.imports as Record<string, string>).filter(([name]) => packages.has(name)),
  );
  const { name, version, license, exports, nodeModulesDir } = manifest;
  await writeFile(
    join(out, "deno.json"),
    `${JSON.stringify({ name, version, license, exports, nodeModulesDir, imports }, null, 2)}\n`,
  );
  await deno(out, ["install", "--quiet"]);
  // transpiled here, once, and not at every start
  await deno(
    out,
    ["cache", "--quiet", "--frozen", "--node-modules-dir=manual", ...ENTRIES],
    {
      DENO_DIR: join(out, ".deno"),
    },
  );
}

interface Graph {
  modules: { local?: string; dependencies?: { specifier: string; code?: { specifier?: string } }[] }[];
}

/** Our own modules, as paths from the root, and the names in `imports` of the packages they import. */
async function reached(): Promise<{ files: Set<string>; packages: Set<string> }> {
  const files = new Set<string>();
  const packages = new Set<string>();
  for (const entry of ENTRIES) {
    const { modules }: Graph = JSON.parse(await deno(ROOT, ["info", "--json", entry]));
    for (const { local, dependencies = [] } of modules) {
      if (local === undefined) continue;
      files.add(relative(ROOT, local));
      for (const { specifier, code } of dependencies) {
        if (code?.specifier?.startsWith("npm:") !== true) continue;
        const [scopeOrName = "", name = ""] = specifier.split("/");
        packages.add(scopeOrName.startsWith("@") ? `${scopeOrName}/${name}` : scopeOrName);
      }
    }
  }
  for (const name of UNUSED) packages.delete(name);
  return { files, packages };
}

async function copy(file: string, out: string): Promise<void> {
  const to = join(out, file);
  await mkdir(dirname(to), { recursive: true });
  await cp(join(ROOT, file), to);
}

async function deno(cwd: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = new TextDecoder();
  if (!success) throw new Error(`Cannot make the image: deno ${args[0]} said ${text.decode(stderr).trim()}`);
  return text.decode(stdout);
}

if (import.meta.main) {
  const [folder] = Deno.args;
  if (folder === undefined) {
    console.error("Cannot make the image: say in which folder");
    Deno.exit(1);
  }
  await image(folder);
  console.log(`${resolve(folder)} is ready`);
}
