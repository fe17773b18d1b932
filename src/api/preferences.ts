/**
 * `/v1/preferences`: what the person who asks wants to see, what is pushed to them, when they want to be left in peace, and
 * where they live.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import type { InboxStore } from "../database/inbox_store.ts";
import { PATHS } from "../protocol.ts";
import { isTimezone } from "../schedule/cron.ts";
import { type BodyBudget, textBody } from "./body.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";

/** Rules of one person. */
export const MAX_RULES = 500;

const time = z.string("expected a time of day").regex(
  /^([01]\d|2[0-3]):[0-5]\d$/,
  'expected a time of day such as "22:00"',
);

const timeZone = z.string("expected a time zone").max(100, "expected at most 100 characters").refine(
  isTimezone,
  {
    error: 'expected a time zone such as "Europe/Berlin"',
  },
);

const rule = z.strictObject({
  scope: z.enum(["topic", "type", "default"], "expected topic, type or default"),
  name: z.string("expected a topic or type").min(1, "expected a topic or type").max(
    200,
    "expected at most 200 characters",
  )
    .optional().openapi({ description: "The topic or the type; absent with scope `default`" }),
  inApp: z.boolean("expected true or false").default(true).openapi({
    description: "Shown and counted in the inbox, and delivered to open sessions",
  }),
  push: z.boolean("expected true or false").default(true),
  muted: z.boolean("expected true or false").optional().openapi({
    description: "Short for neither `inApp` nor `push`",
  }),
}).refine((one) => (one.scope === "default") === (one.name === undefined), {
  error: "expected a name with scope topic and type, and none with default",
  path: ["name"],
});

const preferencesSchema = z.strictObject({
  rules: z.array(rule, "expected a list of rules").max(MAX_RULES, `expected at most ${MAX_RULES} rules`)
    .default([])
    .refine((rules) => new Set(rules.map((one) => `${one.scope} ${one.name ?? ""}`)).size === rules.length, {
      error: "expected one rule for each topic and type",
    }),
  quietHours: z.strictObject({
    start: time,
    end: time,
    timeZone,
  }).refine(({ start, end }) => start !== end, {
    error: "expected another time than the start",
    path: ["end"],
  })
    .nullable().default(null).openapi({ description: "Pushes wait until they end" }),
  timeZone: timeZone.nullable().default(null).openapi({
    description:
      "Where the person lives: schedules to them without a time zone follow it; null: the quiet hours' one",
    example: "Europe/Berlin",
  }),
}).openapi("Preferences");

/** The routes; `authenticate` has to run before them. */
export function preferenceRoutes(deps: { store: InboxStore; budget: BodyBudget }): OpenAPIHono<AuthEnv> {
  const { store } = deps;
  const body = { "application/json": { schema: preferencesSchema } };
  const read = createRoute({
    method: "get",
    path: PATHS.preferences,
    operationId: "readPreferences",
    summary: "What the person wants",
    tags: ["preferences"],
    ...SECURED,
    responses: { 200: { description: "The preferences", content: body }, ...problems(...WHO) },
  });
  const write = createRoute({
    method: "put",
    path: PATHS.preferences,
    operationId: "writePreferences",
    summary: "Replace what the person wants",
    description:
      "A topic's and a type's rule hold together: one that says no is enough. The default's holds where neither has one. What is " +
      "not shown does not count, and comes back when it is allowed again.",
    tags: ["preferences"],
    ...SECURED,
    middleware: [textBody(128 * 1024, deps.budget)],
    request: { body: { required: true, content: body } },
    responses: {
      200: { description: "The preferences as they are now", content: body },
      ...problems("invalid_request", "too_large", "unsupported_media_type", ...WHO),
    },
  });

  async function current(user: string): Promise<z.output<typeof preferencesSchema>> {
    const { rules, quiet, timeZone } = await store.preferences(user);
    return { rules, quietHours: quiet, timeZone };
  }

  return documented()
    .openapi(read, async (c) => c.json(await current(c.get("identity").user), 200))
    .openapi(write, async (c) => {
      const { user } = c.get("identity");
      const { rules, quietHours, timeZone } = c.req.valid("json");
      await store.setPreferences(user, {
        rules: rules.map(({ scope, name, inApp, push, muted }) => ({
          scope,
          ...(name === undefined ? {} : { name }),
          inApp: inApp && muted !== true,
          push: push && muted !== true,
        })),
        quiet: quietHours,
        timeZone,
      });
      return c.json(await current(user), 200);
    });
}
