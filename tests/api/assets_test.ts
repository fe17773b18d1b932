import assert from "node:assert/strict";
import { join, posix } from "node:path";
import { gzipSync } from "node:zlib";
import ts from "typescript";
import { assets } from "../../src/api/assets.ts";
import { bundleTypes, ROOT } from "../../src/api/bundle.ts";

const app = assets({ scripts: ["client.js", "bell.js"], built: false });

Deno.test("/client.js is one script without imports, at most 12 KiB gzipped, with its types", async () => {
  const response = await app.request("/client.js");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/javascript; charset=utf-8");
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
  const text = await response.text();
  assert.doesNotMatch(text, /\bimport\s*[{*"']/);
  assert.match(text, /export\s*\{[^}]*\bconnect\b/);
  const size = gzipSync(text, { level: 9 }).length;
  assert.ok(size <= 12 * 1024, `${size} bytes gzipped`);
  const types = await app.request(response.headers.get("x-typescript-types")!);
  assert.match(await types.text(), /export declare function connect</);
});

Deno.test("/bell.js brings everything it needs", async () => {
  const text = await (await app.request("/bell.js")).text();
  assert.doesNotMatch(text, /\bimport\s*[{*"']/);
  assert.match(text, /tidings-bell/);
  assert.doesNotMatch(text, /Lit is in dev mode/);
});

Deno.test("assets are compressed for who takes it, and answered by 304 to who has them", async () => {
  const plain = await app.request("/client.js");
  const packed = await app.request("/client.js", { headers: { "accept-encoding": "gzip, br" } });
  assert.equal(packed.headers.get("content-encoding"), "gzip");
  const stream = packed.body!.pipeThrough(new DecompressionStream("gzip"));
  assert.equal(await new Response(stream).text(), await plain.text());
  const etag = plain.headers.get("etag")!;
  const again = await app.request("/client.js", { headers: { "if-none-match": `"other", W/${etag}` } });
  assert.equal(again.status, 304);
  assert.equal(await again.text(), "");
});

Deno.test("the types lead to each other, and to nothing outside", async () => {
  const waiting = ["client/bell.d.ts", "client/mod.d.ts"];
  const seen = new Set<string>();
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const response = await app.request(`/types/${name}`);
    assert.equal(response.status, 200, name);
    assert.match(response.headers.get("content-type")!, /^application\/typescript/);
    for (const [, target] of (await response.text()).matchAll(/(?:from |import\()"([^"]+)"/g)) {
      if (target === "lit") continue;
      assert.match(target!, /^\.\.?\/\w+\.js$/, `${name} imports ${target}`);
      waiting.push(posix.join(posix.dirname(name), target!));
    }
  }
  assert.ok(seen.size > 10);
});

Deno.test("the types are right for who compiles against them, without leaving out any check", async () => {
  const types = await bundleTypes();
  const user = `
    import { connect, type Item } from "./client/mod.js";
    import type { TidingsBell } from "./client/bell.js";
    interface Match extends Item { type: "match.found"; data: { match: number } }
    const client = connect<Match>({ url: "https://x.example", getToken: () => "t" });
    client.on("item", (item) => item.data.match.toFixed());
    client.on("inbox", ({ unread }) => unread.toFixed());
    // @ts-expect-error: there is no such event
    client.on("nothing", () => {});
    const bell: TidingsBell | undefined = undefined; void bell;`;
  const files = new Map(
    [...types, ["user.ts", user]].map(([path, text]) => [join(ROOT, "user", path!), text!]),
  );
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    types: [],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ESNext,
    lib: ["lib.esnext.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts", "lib.dom.asynciterable.d.ts"],
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.fileExists = (path) => files.has(path) || fileExists(path);
  host.readFile = (path) => files.get(path) ?? readFile(path);
  delete host.directoryExists;
  host.getSourceFile = (path, target) =>
    files.has(path) ? ts.createSourceFile(path, files.get(path)!, target) : getSourceFile(path, target);
  const program = ts.createProgram([join(ROOT, "user", "user.ts")], options, host);
  const wrong = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) =>
    `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`
  );
  assert.deepEqual(wrong, []);
});
