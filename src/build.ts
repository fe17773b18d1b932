/**
 * `deno task build`: everything that browsers load, into `dist/`. `deno task pack`: the client and the bell as an npm
 * package, a tarball in `dist/`.
 * @module
 */
import { copyFile, cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { bundleScript, bundleTypes, DIST, ROOT, SCRIPTS } from "./api/bundle.ts";

/** Writes the folder, `dist/` unless another is given. */
export async function build(dist: string = DIST): Promise<void> {
  await rm(dist, { recursive: true, force: true });
  await mkdir(join(dist, "types", "client"), { recursive: true });
  for (const [name, entry] of Object.entries(SCRIPTS)) {
    const text = await bundleScript(entry);
    await writeFile(join(dist, name), text);
    console.log(`dist/${name}  ${text.length} bytes, ${gzipSync(text, { level: 9 }).length} gzipped`);
  }
  for (const [name, text] of await bundleTypes()) await writeFile(join(dist, "types", name), text);
}

/** Builds, writes the package's folder, `npm/` below it, and packs that; resolves to the tarball's path. */
export async function pack(dist: string = DIST): Promise<string> {
  await build(dist);
  const folder = join(dist, "npm");
  await mkdir(folder, { recursive: true });
  for (const name of ["client.js", "bell.js", "push.js"]) {
    await copyFile(join(dist, name), join(folder, name));
  }
  await cp(join(dist, "types"), join(folder, "types"), { recursive: true });
  await copyFile(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
  const { version, license } = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8"));
  await writeFile(join(folder, "package.json"), `${JSON.stringify(manifest(version, license), null, 2)}\n`);
  await copyFile(join(ROOT, "src", "client", "README.md"), join(folder, "README.md"));
  const npm = new Deno.Command("npm", {
    args: ["pack", "--silent", "--pack-destination", dist],
    cwd: folder,
  });
  const { success, stdout, stderr } = await npm.output();
  const text = new TextDecoder();
  if (!success) throw new Error(`Cannot pack: npm said ${text.decode(stderr).trim()}`);
  return join(dist, text.decode(stdout).trim().split("\n").at(-1)!);
}

function manifest(version: string, license: string): Record<string, unknown> {
  return {
    name: "@tidings/client",
    version,
    license,
    description:
      "The browser client of Tidings: notifications that always get through, and a bell to show them",
    type: "module",
    sideEffects: ["./bell.js"],
    engines: { node: ">=20" },
    files: ["*.js", "types"],
    types: "./types/client/mod.d.ts",
    exports: {
      ".": { types: "./types/client/mod.d.ts", default: "./client.js" },
      "./bell": { types: "./types/client/bell.d.ts", default: "./bell.js" },
      "./push": { types: "./types/client/push.d.ts", default: "./push.js" },
    },
    // the bell's declarations name it; the bell itself has it inside
    peerDependencies: { lit: "^3.3.0" },
    peerDependenciesMeta: { lit: { optional: true } },
  };
}

if (import.meta.main) {
  if (Deno.args[0] === "pack") console.log(await pack());
  else await build();
}
