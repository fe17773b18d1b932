/**
 * `POST /v1/notifications`: sends one notification or many, all or nothing.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import { PATHS } from "../protocol.ts";
import { type BodyBudget, textBody } from "./body.ts";
import { idempotencyHeader, parseIdempotencyKey } from "./idempotency_key.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";
import { MAX_PUBLICATIONS, publicationsSchema } from "./publication.ts";
import { type Sender, toSubmission } from "./sender.ts";

/** The most bytes of one request. */
export const MAX_BODY = 8 * 1024 * 1024;

/** What sending answers. */
const sentSchema = z.object({
  ids: z.array(z.string()).openapi({
    description:
      "The notifications' ids, in their order and, for one with several topics, in the order of its topics",
    example: ["4711"],
  }),
}).openapi("Sent");

/** The answers of every way to send. */
export const SENT_RESPONSES = {
  201: {
    description:
      "Committed: everybody it is meant for gets it. `Idempotent-Replayed: true` marks the answer to a repeat",
    content: { "application/json": { schema: sentSchema } },
  },
  ...problems(
    "invalid_request",
    ...WHO,
    "forbidden",
    "too_large",
    "unsupported_media_type",
    "idempotency_key_reused",
    "too_many_requests",
    "restarting",
  ),
};

/** The route; `authenticate` has to run before it. */
export function notificationRoutes(deps: { sender: Sender; budget: BodyBudget }): OpenAPIHono<AuthEnv> {
  const route = createRoute({
    method: "post",
    path: PATHS.notifications,
    operationId: "send",
    summary: "Send notifications",
    description:
      `One notification, or a list of up to ${MAX_PUBLICATIONS} that are sent all or not at all. The answer comes once they ` +
      "are committed. The token has to allow every topic.",
    tags: ["sending"],
    ...SECURED,
    middleware: [textBody(MAX_BODY, deps.budget)],
    request: {
      headers: idempotencyHeader,
      body: { required: true, content: { "application/json": { schema: publicationsSchema } } },
    },
    responses: SENT_RESPONSES,
  });
  return documented().openapi(route, async (c) => {
    const key = parseIdempotencyKey(c.req.header("idempotency-key"));
    const { ids, replayed } = await deps.sender.send(
      c.get("identity"),
      toSubmission(c.req.valid("json")),
      key,
    );
    if (replayed) c.header("Idempotent-Replayed", "true");
    return c.json({ ids }, 201);
  });
}
