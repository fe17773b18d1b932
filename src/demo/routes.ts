/**
 * The demo of dev mode: a page at `/`, tokens for its two members, and the statements that its buttons run.
 *
 * Holds: it is mounted in dev mode only; it runs the statements of `actions.ts` and no others; other sites cannot use it.
 * @module
 */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { readFile } from "node:fs/promises";
import { TidingsError } from "../errors.ts";
import { type Action, ACTIONS, bound, type Member, MEMBERS } from "./actions.ts";

/** What the demo works with. */
export interface DemoDeps {
  /** A token of this user; undefined where tokens are made elsewhere, and the demo says so. */
  mint: ((user: string) => Promise<string>) | undefined;
  /** Runs one statement with its values; resolves to the number of rows it touched. Without values it may be several. */
  run: (sql: string, values?: (string | number)[]) => Promise<number>;
}

/** The routes. */
export function demoRoutes({ mint, run }: DemoDeps): Hono {
  let ready: Promise<void> | undefined;
  /** Makes the application's tables where they are missing; one that failed is tried again. */
  function prepared(): Promise<void> {
    ready ??= prepare(run).catch((error) => {
      ready = undefined;
      throw error;
    });
    return ready;
  }

  const app = new Hono();
  const page = new URL("page.html", import.meta.url);
  app.get("/", async () => {
    await prepared();
    return new Response(await readFile(page), {
      headers: {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-cache",
        "content-security-policy":
          "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
      },
    });
  });
  app.get("/demo/token", async (c) => {
    ownPageOnly(c);
    const member = memberOf(c.req.query("member"));
    if (mint === undefined) {
      throw new TidingsError(
        "not_found",
        "Cannot make a token: no secret is configured, tokens are made elsewhere",
      );
    }
    c.header("cache-control", "no-store");
    return c.text(await mint(member));
  });
  app.post("/demo/run", bodyLimit({ maxSize: 1024 }), async (c) => {
    ownPageOnly(c);
    const body: unknown = await c.req.json().catch(() => null);
    const { action, member, progress = 0 } = (body ?? {}) as Record<string, unknown>;
    const found = ACTIONS.find((each) => each.name === action);
    if (found === undefined) throw wrong("action", ACTIONS.map(({ name }) => name));
    if (typeof progress !== "number" || !(progress >= 0 && progress <= 1)) {
      throw wrong("progress", ["0 to 1"]);
    }
    const who = memberOf(member);
    await prepared();
    return c.json({ rows: await perform(found, who, progress) });
  });
  return app;

  async function perform(action: Action, member: Member, progress: number): Promise<number> {
    const { sql, values } = bound(action, member, progress);
    return await run(sql, values);
  }
}

async function prepare(run: DemoDeps["run"]): Promise<void> {
  if (await run("select from pg_namespace where nspname = 'climbing'", []) > 0) return;
  const files = await Promise.all(
    ["climbing.sql", "members.sql"].map((name) => readFile(new URL(name, SQL), "utf8")),
  );
  await run(files.join("\n"));
}

const SQL = new URL("../../sql/demo/", import.meta.url);

/** A page of another site may not click the demo's buttons. */
function ownPageOnly(c: Context): void {
  const site = c.req.header("sec-fetch-site");
  if (site !== undefined && site !== "same-origin" && site !== "none") {
    throw new TidingsError("origin_not_allowed", "Cannot use the demo from another site");
  }
  if (c.req.method === "POST" && !c.req.header("content-type")?.startsWith("application/json")) {
    throw new TidingsError("unsupported_media_type", "Cannot read the body: expected application/json");
  }
}

function memberOf(value: unknown): Member {
  const member = MEMBERS.find((each) => each === value);
  if (member === undefined) throw wrong("member", MEMBERS);
  return member;
}

function wrong(field: string, expected: readonly string[]): TidingsError {
  const message = `expected ${expected.join(", ")}`;
  return new TidingsError("invalid_request", `${field}: ${message}`, { errors: [{ field, message }] });
}
