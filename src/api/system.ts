/**
 * What operators ask: is the process alive, can it do its work, what does it count, and what is there to call.
 *
 * `/healthz` and `/readyz` are open to everybody and say no more than they must. `/metrics` takes an administrator's token (in dev
 * mode none): an address is no proof behind a proxy, where everybody comes from the same one.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import type { Registry } from "prom-client";
import { type AuthEnv, requireAdmin } from "../auth/middleware.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";

/** Whether a gateway can do its work. */
export interface Readiness {
  ok: boolean;
  /** By part: `ok`, or what is wrong with it. For operators, without secrets. */
  checks: Record<string, string>;
}

/** What the routes need. */
export interface SystemDeps {
  /** Whether the log can be read and written; bounded in time, and never rejects. */
  ready: () => Promise<Readiness>;
  metrics: Registry;
  authenticate: MiddlewareHandler<AuthEnv>;
  /** Whether everybody may read the metrics. */
  openMetrics: boolean;
}

const NO_STORE = { "Cache-Control": "no-store" };

const readinessSchema = z.object({
  ok: z.boolean(),
  checks: z.record(z.string(), z.string()).openapi({ example: { log: "ok" } }),
}).openapi("Readiness");

/** The routes; none of them needs `authenticate` before it. */
export function systemRoutes(deps: SystemDeps): OpenAPIHono<AuthEnv> {
  const routes = documented();
  routes.openapi(
    createRoute({
      method: "get",
      path: "/healthz",
      operationId: "health",
      summary: "Whether the process is alive",
      tags: ["operations"],
      responses: {
        200: {
          description: "It is",
          content: { "application/json": { schema: z.object({ ok: z.literal(true) }) } },
        },
      },
    }),
    (c) => c.json({ ok: true as const }, 200, NO_STORE),
  );
  routes.openapi(
    createRoute({
      method: "get",
      path: "/readyz",
      operationId: "readiness",
      summary: "Whether this gateway can read and write the log",
      tags: ["operations"],
      responses: {
        200: { description: "It can", content: { "application/json": { schema: readinessSchema } } },
        503: {
          description: "It cannot: send clients to another one",
          content: { "application/json": { schema: readinessSchema } },
        },
      },
    }),
    async (c) => {
      const { ok, checks } = await deps.ready();
      return c.json({ ok, checks }, ok ? 200 : 503, NO_STORE);
    },
  );
  routes.openapi(
    createRoute({
      method: "get",
      path: "/metrics",
      operationId: "metrics",
      summary: "Metrics for Prometheus",
      tags: ["operations"],
      ...SECURED,
      middleware: deps.openMetrics ? [] : [deps.authenticate, requireAdmin()],
      responses: {
        200: {
          description: "Prometheus' text format",
          content: { "text/plain": { schema: z.string() } },
        },
        ...problems("forbidden", ...WHO),
      },
    }),
    async (c) =>
      c.text(await deps.metrics.metrics(), 200, { "Content-Type": deps.metrics.contentType, ...NO_STORE }),
  );
  return routes;
}
