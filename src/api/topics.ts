/**
 * `POST /v1/topics/{topic}`: sending with nothing but curl. The body is the text, headers are the rest.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import type { Clock } from "../clock.ts";
import { DURATION_EXPECTED, parseDuration } from "../duration.ts";
import { invalidField, TidingsError } from "../errors.ts";
import { LIMITS } from "../notification.ts";
import { PATHS } from "../protocol.ts";
import { type BodyBudget, textBody } from "./body.ts";
import { decodeHeader } from "./header_text.ts";
import { idempotencyHeader, parseIdempotencyKey } from "./idempotency_key.ts";
import { SENT_RESPONSES } from "./notifications.ts";
import { documented, SECURED } from "./openapi.ts";
import { publicationSchema } from "./publication.ts";
import { type Sender, toSubmission } from "./sender.ts";
import { invalid, violations } from "./violations.ts";

const headers = idempotencyHeader.extend({
  Title: z.string().optional().openapi({ description: "UTF-8, or the encoded words of RFC 2047" }),
  Type: z.string().optional().openapi({ description: "The event's name; `notification` unless given" }),
  Priority: z.string().optional().openapi({ description: "very-low, low, normal or high" }),
  Click: z.string().optional().openapi({ description: "The link" }),
  At: z.string().optional().openapi({
    description: "Send it then: a time as in RFC 3339, or a duration from now such as `10m`",
  }),
});

/** Which header holds which field. */
const FIELDS = {
  title: "Title",
  type: "Type",
  priority: "Priority",
  link: "Click",
  deliverAt: "At",
} as const;

/** The route; `authenticate` has to run before it. */
export function topicRoutes(
  deps: { sender: Sender; budget: BodyBudget; clock: Clock },
): OpenAPIHono<AuthEnv> {
  const route = createRoute({
    method: "post",
    path: `${PATHS.topics}/{topic}`,
    operationId: "sendText",
    summary: "Send a text to a topic",
    description: "For curl: `curl -H 'Title: Hello' -d 'How are you?' …/v1/topics/user:42`",
    tags: ["sending"],
    ...SECURED,
    middleware: [textBody(LIMITS.body, deps.budget)],
    request: {
      params: z.object({ topic: z.string().openapi({ example: "user:42" }) }),
      headers,
      body: {
        description: "The text as it is: a form's content type, as curl sends it, changes nothing",
        content: {
          "text/plain": { schema: { type: "string" } },
          "application/x-www-form-urlencoded": { schema: { type: "string" } },
        },
      },
    },
    responses: SENT_RESPONSES,
  });
  return documented().openapi(route, async (c) => {
    checkMediaType(c.req.header("content-type"));
    const said: Record<string, unknown> = { to: c.req.param("topic") };
    const body = await c.req.text();
    if (body !== "") said["body"] = body;
    for (const [field, header] of Object.entries(FIELDS)) {
      const value = c.req.header(header);
      if (value !== undefined) said[field] = decodeHeader(value);
    }
    const result = publicationSchema.safeParse({ ...said, ...whenIs(said["deliverAt"], deps.clock) });
    if (!result.success) throw invalid("send", violations(result.error).map(named));
    const submission = { ...toSubmission(result.data), said: JSON.stringify(said) };
    const key = parseIdempotencyKey(c.req.header("idempotency-key"));
    const { ids, replayed } = await deps.sender.send(c.get("identity"), submission, key);
    if (replayed) c.header("Idempotent-Replayed", "true");
    return c.json({ ids }, 201);
  });
}

function named({ field, message }: { field: string; message: string }) {
  if (field === "to") return { field: "topic", message };
  if (field === "deliverAt") {
    return { field: "At", message: `${message}, or a duration from now such as 10m` };
  }
  return { field: FIELDS[field as keyof typeof FIELDS] ?? field, message };
}

/** A duration counts from now; anything else is left to the schema. */
function whenIs(at: unknown, clock: Clock): { deliverAt?: string } {
  const ms = typeof at === "string" ? parseDuration(at.trim()) : undefined;
  if (ms === undefined) return {};
  const time = new Date(clock.now() + ms);
  if (!Number.isNaN(time.getTime())) return { deliverAt: time.toISOString() };
  throw invalidField("send", "At", DURATION_EXPECTED);
}

/** What a text comes as; JSON most likely meant the other route. */
function checkMediaType(value: string | undefined): void {
  const media = value?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (media === "" || media === "text/plain" || media === "application/x-www-form-urlencoded") return;
  throw new TidingsError(
    "unsupported_media_type",
    `Cannot take ${media.slice(0, 100)} here: send plain text, or JSON to ${PATHS.notifications}`,
  );
}
