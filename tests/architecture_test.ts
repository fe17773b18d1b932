import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";

const src = fileURLToPath(new URL("../src/", import.meta.url));

/**
 * From the bottom to the top; a file may import its own layer and those below. A name ending in a slash is a folder, and the
 * longest name that fits counts.
 */
const LAYERS = [
  [
    "notification.ts",
    "protocol.ts",
    "errors.ts",
    "clock.ts",
    "rounds.ts",
    "version.ts",
    "service.ts",
    "duration.ts",
    "edit_distance.ts",
    "exact_json.ts",
    "setting.ts",
    "feed/topic.ts",
    "log/cursor.ts",
    "client/",
  ],
  ["log/", "database/", "server.ts", "stall_guard.ts", "metrics.ts"],
  ["feed/", "auth/", "retention.ts"],
  ["api/", "transports/", "push/", "schedule/", "demo/"],
  ["settings.ts", "config.ts", "app.ts", "readiness.ts"],
  ["gateway.ts", "dev_secret.ts", "dev_vapid.ts", "logging.ts", "reference.ts"],
  ["program.ts"],
  ["main.ts", "cli.ts", "build.ts", "image.ts"],
];

interface Source {
  /** Relative to src, with slashes. */
  path: string;
  text: string;
  /** What it imports: paths relative to src, or names of packages. */
  imports: { target: string; typeOnly: boolean }[];
}

const sources = await Promise.all(
  (await readdir(src, { recursive: true })).filter((path) => path.endsWith(".ts")).map(read),
);

async function read(file: string): Promise<Source> {
  const path = relative(src, join(src, file)).replaceAll("\\", "/");
  const text = await readFile(join(src, file), "utf8");
  const imports = [
    ...text.matchAll(
      /^(import|export)( type)? [^"';]*?from "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm,
    ),
  ]
    .map(([, , type, from, dynamic, bare]) => {
      const target = from ?? dynamic ?? bare ?? "";
      return {
        target: target.startsWith(".") ? posix.join(posix.dirname(path), target) : target,
        typeOnly: type !== undefined,
      };
    });
  return { path, text, imports };
}

function layerOf(path: string): number {
  let best = "";
  let layer = -1;
  for (const [index, names] of LAYERS.entries()) {
    for (const name of names) {
      const fits = name.endsWith("/") ? path.startsWith(name) : path === name;
      if (fits && name.length > best.length) [best, layer] = [name, index];
    }
  }
  return layer;
}

/** Lines "path: what" for each file of which `find` finds something. */
function offences(find: (source: Source) => string[]): string[] {
  return sources.flatMap((source) => find(source).map((what) => `${source.path}: ${what}`));
}

Deno.test("every source file has a layer, and imports its own layer and those below only", () => {
  assert.ok(sources.length > 20);
  assert.deepEqual(
    offences(({ path, imports }) => [
      ...(layerOf(path) < 0 ? ["has no layer in this test"] : []),
      ...imports.filter(({ target }) => target.endsWith(".ts") && layerOf(target) > layerOf(path))
        .map(({ target }) => `imports ${target} from above`),
    ]),
    [],
  );
});

Deno.test("the browser client sees nothing of the server but the protocol, the notification and the clock", () => {
  const allowed = /^(client\/|(protocol|notification|clock)\.ts$|lit(\/|$))/;
  assert.deepEqual(
    offences(({ path, imports }) =>
      path.startsWith("client/")
        ? imports.filter(({ target }) => !allowed.test(target)).map(({ target }) => `imports ${target}`)
        : []
    ),
    [],
  );
});

Deno.test("the hub sees neither SQL nor HTTP, stores never see Hono, and transports never see each other", () => {
  const forbidden = (path: string): RegExp | undefined => {
    if (/^feed\/hub/.test(path)) return /^(database\/|transports\/|api\/|postgres$|@?hono|node:http|ws$)/;
    if (/^database\/|store\.ts$/.test(path)) return /^@?hono/;
    const [, kind] = /^transports\/(websocket|stomp|sse|longpoll)/.exec(path) ?? [];
    if (kind !== undefined) return new RegExp(`^transports/(?!${kind})(websocket|stomp|sse|longpoll)`);
    return undefined;
  };
  assert.deepEqual(
    offences(({ path, imports }) => {
      const rule = forbidden(path);
      return imports.filter(({ target }) => rule?.test(target)).map(({ target }) => `imports ${target}`);
    }),
    [],
  );
});

Deno.test("no file imports itself by way of others", () => {
  const graph = new Map(sources.map(({ path, imports }) => [
    path,
    imports.filter(({ typeOnly }) => !typeOnly).map(({ target }) => target),
  ]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const walk = (path: string, above: string[]) => {
    if (above.includes(path)) cycles.push([...above.slice(above.indexOf(path)), path].join(" → "));
    if (above.includes(path) || done.has(path)) return;
    for (const target of graph.get(path) ?? []) walk(target, [...above, path]);
    done.add(path);
  };
  for (const path of graph.keys()) walk(path, []);
  assert.deepEqual(cycles, []);
});

Deno.test("only config.ts reads the environment; time and chance come from clock.ts", () => {
  const rules: [RegExp, string[]][] = [
    [/\b(Deno|process)\.env\b/, ["config.ts"]],
    [/\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b|\bMath\.random\b/, ["clock.ts", "client/world.ts"]],
  ];
  assert.deepEqual(
    offences(({ path, text }) =>
      rules.flatMap(([rule, allowed]) => {
        const [found] = rule.exec(text) ?? [];
        return found === undefined || allowed.includes(path) ? [] : [found];
      })
    ),
    [],
  );
});

Deno.test("the server opens no transactions and reserves no connections: the driver would end the process", () => {
  const database = /^(postgres$|database\/)/;
  assert.deepEqual(
    offences(({ text, imports }) =>
      imports.some(({ target }) => database.test(target))
        ? /\.(begin|reserve|savepoint)\s*[<(]/.exec(text)?.slice(0, 1) ?? []
        : []
    ),
    [],
  );
});

Deno.test("every import comes from npm by way of deno.json, from Node, or from here", async () => {
  const { imports } = JSON.parse(await readFile(new URL("../deno.json", import.meta.url), "utf8"));
  const listed = Object.keys(imports);
  for (const [name, target] of Object.entries(imports)) {
    assert.match(String(target), /^npm:\/?.+@\d+\.\d+\.\d+[\w.-]*\/?$/, `${name} has no exact version`);
  }
  const known = (target: string) =>
    target.endsWith(".ts") || target.startsWith("node:") ||
    listed.some((name) => target === name || target.startsWith(`${name}/`));
  assert.deepEqual(
    offences(({ imports }) => imports.filter(({ target }) => !known(target)).map(({ target }) => target)),
    [],
  );
});
