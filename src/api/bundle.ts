/**
 * Makes what browsers load out of `src/client` and `src/demo`, by `deno bundle`, and its types by TypeScript: at build time into `dist/`, and in a
 * checkout without one on the first request. The bundler itself comes from npm, once.
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Scripts by the name they are served under, and where each begins. */
export const SCRIPTS: Readonly<Record<string, string>> = {
  "client.js": "src/client/mod.ts",
  "bell.js": "src/client/bell.ts",
  "push.js": "src/client/push.ts",
  "worker.js": "src/client/worker.ts",
  "demo.js": "src/demo/page.ts",
};

/** The program's folder. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Where `deno task build` puts its work. */
export const DIST = join(ROOT, "dist");

/** One script as it is served: minified, without imports. Throws when the bundler fails, with what it said. */
export async function bundleScript(entry: string): Promise<string> {
  return await deno(["--minify", join(ROOT, entry)]);
}

/** The client's declarations, by path: `client/mod.d.ts` is the entry. Throws when the client does not compile. */
export async function bundleTypes(): Promise<Map<string, string>> {
  // needed here only, and large
  const { default: ts } = await import("typescript");
  const src = join(ROOT, "src");
  const program = ts.createProgram(
    ["mod.ts", "bell.ts", "push.ts"].map((name) => join(src, "client", name)),
    {
      declaration: true,
      emitDeclarationOnly: true,
      allowImportingTsExtensions: true,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      // a browser's library alone: nothing of Deno's or Node's may slip in
      lib: ["lib.esnext.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts", "lib.dom.asynciterable.d.ts"],
      types: [],
      rootDir: src,
      outDir: "/",
    },
  );
  const types = new Map<string, string>();
  const { diagnostics } = program.emit(undefined, (path, text) => {
    types.set(path.slice(1), text.replaceAll(/((?:from |import\()"\.[^"]+)\.ts"/g, '$1.js"'));
  });
  const wrong = [...ts.getPreEmitDiagnostics(program), ...diagnostics][0];
  if (wrong !== undefined) {
    const text = ts.flattenDiagnosticMessageText(wrong.messageText, "\n");
    throw new Error(`Cannot make the types: ${wrong.file?.fileName ?? "the client"}: ${text}`);
  }
  return types;
}

async function deno(args: string[]): Promise<string> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--no-lock", "--platform=browser", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  });
  const { success, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  if (!success) throw new Error(`Cannot bundle ${args.at(-1)}: ${text.decode(stderr).trim()}`);
  return text.decode(stdout);
}
