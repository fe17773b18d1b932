/**
 * What every documented route shares: the form of problems and how to say who is asking; and the document itself.
 * @module
 */
import type { Env } from "hono";
import { OpenAPIHono, type RouteConfig, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import { type ErrorCode, ERRORS } from "../errors.ts";
import { DEVICE_HEADER } from "../protocol.ts";
import { invalid, violations } from "./violations.ts";

/** Routes that report what a schema finds wrong as every other error; what gives them their `Env` has to run before them. */
export function documented<E extends Env = AuthEnv>(): OpenAPIHono<E> {
  return new OpenAPIHono<E>({
    defaultHook: (result) => {
      if (!result.success) throw invalid("take the request", violations(result.error));
    },
  });
}

/** RFC 9457 problem details, as all errors are answered. */
const problemSchema = z.object({
  type: z.string().openapi({ example: "urn:tidings:error:invalid_request" }),
  title: z.string(),
  status: z.int(),
  code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]).openapi({
    description: "Stable: what programs decide by",
  }),
  detail: z.string().optional().openapi({ description: "For people: what happened and what to do" }),
  errors: z.array(z.object({ field: z.string(), message: z.string() })).optional().openapi({
    description: "Every violation, by field",
  }),
  cursor: z.string().optional(),
  reason: z.enum(["history", "retention", "unknown"]).optional().openapi({
    description: "Of `cursor_reset`",
  }),
  retryAfter: z.number().optional().openapi({ description: "Seconds" }),
}).openapi("Problem");

/** The answers of a route that say no, by their codes. */
export function problems(...codes: ErrorCode[]): RouteConfig["responses"] {
  const answers: Record<number, ErrorCode[]> = {};
  for (const code of codes) (answers[ERRORS[code].status] ??= []).push(code);
  return Object.fromEntries(
    Object.entries(answers).map(([status, codes]) => [status, {
      description: codes.map((code) => `\`${code}\`: ${ERRORS[code].title.toLowerCase()}`).join("; "),
      content: { "application/problem+json": { schema: problemSchema } },
    }]),
  );
}

/** How a documented route is asked: with a token. */
export const SECURED: { security: { bearer: string[] }[] } = { security: [{ bearer: [] }] };

/** Why a route may not find out who asks with a token. */
export const WHO = ["token_required", "invalid_token", "token_expired", "unavailable"] as const;

/** How a device's worker asks: with the token that registering gave. */
export const OF_A_DEVICE: { security: { device: string[] }[] } = { security: [{ device: [] }] };

/** The OpenAPI 3.1 document of all routes. */
export function openApiDocument(
  app: OpenAPIHono<AuthEnv>,
  version: string,
): ReturnType<OpenAPIHono["getOpenAPI31Document"]> {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description: "A token whose `sub` is the user and whose claim `tidings` holds rights to topics",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "device", {
    type: "apiKey",
    in: "header",
    name: DEVICE_HEADER,
    description: "The token that registering a device gave",
  });
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Tidings",
      version,
      description: "A notification gateway on Postgres. The WebSocket protocol is described in PROTOCOL.md.",
    },
    servers: [{ url: "/" }],
  }, { sortComponents: "alphabetically" });
}
