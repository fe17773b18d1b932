/**
 * What browsers load from a gateway: `/client.js`, `/bell.js`, the client's types, and in dev mode `/demo.js`. From `dist/`
 * where `deno task build` was run, else bundled on the first request and kept.
 *
 * Holds: a script is a public file, the same for everybody, usable from any origin; it is never executed here.
 * @module
 */
import { Hono } from "hono";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { TidingsError } from "../errors.ts";
import { bundleScript, bundleTypes, DIST, SCRIPTS } from "./bundle.ts";

/** What to serve. */
export interface AssetOptions {
  /** Names of scripts, of {@link SCRIPTS}. */
  scripts: readonly string[];
  /** False: made anew by this process, so that a stale `dist/` does not mislead whoever works on the client. */
  built: boolean;
}

interface Asset {
  plain: Uint8Array<ArrayBuffer>;
  gzip: Uint8Array<ArrayBuffer>;
  etag: string;
}

/** The routes. */
export function assets({ scripts, built }: AssetOptions): Hono {
  const made = new Map<string, Promise<Asset>>();
  /** One attempt for many requests; a failed one is forgotten, so that the next request tries again. */
  function once(name: string, make: () => Promise<string>): Promise<Asset> {
    const known = made.get(name);
    if (known !== undefined) return known;
    const making = make().then(pack);
    made.set(name, making);
    making.catch(() => made.delete(name));
    return making;
  }

  let types: Promise<Map<string, string>> | undefined;
  async function typesOf(name: string): Promise<string> {
    const found = built ? await fromDist(join("types", name)) : null;
    if (found !== null) return found;
    types ??= bundleTypes();
    const text = await types.then((all) => all.get(name), (error) => {
      types = undefined;
      throw error;
    });
    if (text === undefined) {
      throw new TidingsError("not_found", `Cannot serve /types/${name}: there is no such file`);
    }
    return text;
  }

  async function scriptOf(name: string): Promise<string> {
    return (built ? await fromDist(name) : null) ?? await bundleScript(SCRIPTS[name]!);
  }

  const app = new Hono();
  for (const name of scripts) {
    app.get(`/${name}`, async (context) => {
      const headers = { "content-type": "text/javascript; charset=utf-8", ...typesHeader(name) };
      return answer(context.req.raw, await once(name, () => scriptOf(name)), headers);
    });
  }
  app.get("/types/:name{(?:client/)?[a-z_]+\\.(?:d\\.ts|js)}", async (context) => {
    const name = context.req.param("name").replace(/\.js$/, ".d.ts");
    const asset = await once(`types/${name}`, () => typesOf(name));
    return answer(context.req.raw, asset, { "content-type": "application/typescript; charset=utf-8" });
  });
  return app;
}

async function fromDist(name: string): Promise<string | null> {
  try {
    return await readFile(join(DIST, name), "utf8");
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return null;
    throw error;
  }
}

function pack(text: string): Asset {
  const plain = new TextEncoder().encode(text);
  const gzip = new Uint8Array(gzipSync(plain, { level: 9 }));
  return { plain, gzip, etag: `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"` };
}

function answer(request: Request, { plain, gzip, etag }: Asset, own: Record<string, string>): Response {
  const headers = new Headers({
    ...own,
    etag,
    vary: "accept-encoding",
    // asked again each time, answered by 304: a new gateway brings its new client at once
    "cache-control": "public, no-cache",
    "access-control-allow-origin": "*",
    "cross-origin-resource-policy": "cross-origin",
    "x-content-type-options": "nosniff",
  });
  const known = request.headers.get("if-none-match")?.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  if (known?.includes(etag)) return new Response(null, { status: 304, headers });
  if (!/\bgzip\b/.test(request.headers.get("accept-encoding") ?? "")) return new Response(plain, { headers });
  headers.set("content-encoding", "gzip");
  return new Response(gzip, { headers });
}

function typesHeader(name: string): Record<string, string> {
  const entry =
    { "client.js": "client/mod.d.ts", "bell.js": "client/bell.d.ts", "push.js": "client/push.d.ts" }[name];
  return entry === undefined ? {} : { "x-typescript-types": `/types/${entry}` };
}
