/**
 * `/v1/digests`: which notifications to one person are pushed as one ("12 likes on your post"). Rules hold for everybody, so only
 * administrators see and change them; the inbox keeps each notification whatever they say.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { AuthEnv } from "../auth/middleware.ts";
import { DURATION_EXPECTED, parseDuration } from "../duration.ts";
import { TidingsError } from "../errors.ts";
import type { DigestStore } from "../push/digest_store.ts";
import { type BodyBudget, textBody } from "./body.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";
import { text, topic, type } from "./publication.ts";

/** What the routes work with. */
export interface DigestDeps {
  digests: DigestStore;
  budget: BodyBudget;
}

/** Not among the paths that clients share: only backends call it. */
const PATH = "/v1/digests";
const MAX_BODY = 32 * 1024;
const MOST_SECONDS = 7 * 86_400;
const RANGE = "expected 1 second to 7 days";

const within = z.union([
  z.number().min(1, RANGE).max(MOST_SECONDS, RANGE),
  z.string().transform((value, context) => {
    const ms = parseDuration(value);
    if (ms === undefined) context.addIssue({ code: "custom", message: DURATION_EXPECTED });
    else if (ms < 1_000 || ms > MOST_SECONDS * 1_000) context.addIssue({ code: "custom", message: RANGE });
    return (ms ?? 0) / 1_000;
  }),
], `expected seconds, or ${DURATION_EXPECTED.replace("expected ", "")}`).openapi({
  type: "string",
  description: "Seconds, or a duration: how long after the first one the push is sent",
  example: "10m",
});

const about = {
  type: type.optional().openapi({ description: "Of this type. At least one of `type` and `topic`" }),
  topic: topic.optional().openapi({ description: "Sent to this topic" }),
};
const oneOf = {
  error: "expected a type, a topic, or both",
  path: ["type"],
};
const hasOne = (rule: { type?: string | undefined; topic?: string | undefined }) =>
  rule.type !== undefined || rule.topic !== undefined;

const ruleSchema = z.strictObject({
  ...about,
  within,
  title: text(1, 1_000).openapi({
    description: "What the one push says; `{count}` stands for how many",
    example: "{count} likes on your post",
  }),
  body: text(1, 4_000).optional().openapi({ description: "The same, below it" }),
}).refine(hasOne, oneOf).openapi("DigestRule");

const shownSchema = z.object({
  type: z.string().optional(),
  topic: z.string().optional(),
  within: z.number().openapi({ description: "Seconds" }),
  title: z.string(),
  body: z.string().optional(),
}).openapi("Digest");

/** The routes; `authenticate` has to run before them. */
export function digestRoutes({ digests, budget }: DigestDeps): OpenAPIHono<AuthEnv> {
  const routes = documented();

  routes.openapi(
    createRoute({
      method: "get",
      path: PATH,
      operationId: "listDigests",
      summary: "What is pushed as one",
      description: "Administrators only",
      tags: ["push"],
      ...SECURED,
      responses: {
        200: {
          description: "All rules",
          content: { "application/json": { schema: z.object({ items: z.array(shownSchema) }) } },
        },
        ...problems("forbidden", ...WHO),
      },
    }),
    async (c) => {
      onlyAdministrators(c);
      return c.json({ items: await digests.list() }, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "put",
      path: PATH,
      operationId: "setDigest",
      summary: "Push as one what one person gets within a time",
      description:
        "Notifications of this type or topic to one person, with the same `collapseKey` if they have one, are pushed as one when " +
        "the time is over; the inbox keeps each. A rule of the same type and topic is replaced. Where several fit, the one with a " +
        "topic comes first. Administrators only.",
      tags: ["push"],
      ...SECURED,
      middleware: [textBody(MAX_BODY, budget)],
      request: { body: { required: true, content: { "application/json": { schema: ruleSchema } } } },
      responses: {
        200: { description: "The rule", content: { "application/json": { schema: shownSchema } } },
        ...problems("invalid_request", "too_large", "forbidden", ...WHO),
      },
    }),
    async (c) => {
      onlyAdministrators(c);
      const { type, topic, body, within, title } = c.req.valid("json");
      const rule = {
        ...(type === undefined ? {} : { type }),
        ...(topic === undefined ? {} : { topic }),
        within,
        title,
        ...(body === undefined ? {} : { body }),
      };
      await digests.set(rule);
      return c.json(rule, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "delete",
      path: PATH,
      operationId: "removeDigest",
      summary: "Push each again",
      description: "Administrators only",
      tags: ["push"],
      ...SECURED,
      request: { query: z.object(about).refine(hasOne, oneOf) },
      responses: {
        204: { description: "There is no such rule any more" },
        ...problems("invalid_request", "not_found", "forbidden", ...WHO),
      },
    }),
    async (c) => {
      onlyAdministrators(c);
      const { type, topic } = c.req.valid("query");
      if (await digests.remove(type, topic)) return c.body(null, 204);
      throw new TidingsError("not_found", "Cannot remove this: there is no rule of this type and topic");
    },
  );

  return routes;
}

function onlyAdministrators(c: Context<AuthEnv>): void {
  if (c.get("identity").admin) return;
  throw new TidingsError(
    "forbidden",
    "Cannot do this: what is pushed as one is for administrators to say (claim tidings.admin)",
  );
}
