/**
 * `/v1/schedules`: notifications for later, once or again and again.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { type Identity, mayPublish } from "../auth/identity.ts";
import type { AuthEnv } from "../auth/middleware.ts";
import type { Clock } from "../clock.ts";
import { invalidField, TidingsError } from "../errors.ts";
import { PATHS } from "../protocol.ts";
import { checkRecurrence, isTimezone } from "../schedule/cron.ts";
import type { ScheduleBook } from "../schedule/schedule_store.ts";
import { type BodyBudget, textBody } from "./body.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";
import { normalise, publicationSchema } from "./publication.ts";

/** What the routes work with. */
export interface ScheduleDeps {
  schedules: ScheduleBook;
  budget: BodyBudget;
  clock: Clock;
}

/** How many may wait of one sender who is not an administrator. */
export const MAX_SCHEDULES = 1_000;

const MAX_BODY = 512 * 1024;
const PAGE = 100;

const requestSchema = publicationSchema.extend({
  cron: z.string("expected a cron expression").max(200).nullish().openapi({
    description: "Five fields (minute hour day month weekday), or six with seconds first",
    example: "30 7 * * *",
  }),
  timezone: z.string("expected a time zone").max(100).nullish().openapi({
    description: "IANA name. Absent: that of the person whose topic it is, following it when it changes",
    example: "Europe/Berlin",
  }),
  missed: z.enum(["send", "skip"], "expected send or skip").nullish().openapi({
    description: "What becomes of one that was due while no gateway ran: sent once (`send`), or not",
  }),
  name: z.string("expected a text").min(1, "expected 1 to 200 characters").max(
    200,
    "expected 1 to 200 characters",
  )
    .nullish().openapi({ description: "Planned again under the same name, it is changed" }),
}).openapi("ScheduleRequest");

const scheduleSchema = z.looseObject({
  id: z.string(),
  to: z.string(),
  type: z.string(),
  cron: z.string().optional(),
  timezone: z.string().optional(),
  missed: z.enum(["send", "skip"]).optional(),
  name: z.string().optional(),
  dueAt: z.iso.datetime().optional().openapi({ description: "Absent: being computed, or it failed" }),
  lastAt: z.iso.datetime().optional(),
  createdAt: z.iso.datetime(),
  failure: z.string().optional().openapi({ description: "Why it will not be sent any more" }),
}).openapi("Schedule");

const params = z.object({ id: z.string().regex(/^\d{1,18}$/, "expected a schedule's id") });
/** The routes; `authenticate` has to run before them. */
export function scheduleRoutes({ schedules, budget, clock }: ScheduleDeps): OpenAPIHono<AuthEnv> {
  const routes = documented();

  routes.openapi(
    createRoute({
      method: "post",
      path: PATHS.schedules,
      operationId: "schedule",
      summary: "Send later, or again and again",
      description: "With `deliverAt` once, with `cron` again and again. The token has to allow every topic.",
      tags: ["schedules"],
      ...SECURED,
      middleware: [textBody(MAX_BODY, budget)],
      request: { body: { required: true, content: { "application/json": { schema: requestSchema } } } },
      responses: {
        201: {
          description: "Planned; the ids are those of the schedules, one for each topic",
          content: { "application/json": { schema: z.object({ ids: z.array(z.string()) }) } },
        },
        ...problems("invalid_request", "forbidden", "too_large", "too_many_requests", ...WHO),
      },
    }),
    async (c) => {
      const { cron, timezone, missed, name, ...publication } = c.req.valid("json");
      const identity = c.get("identity");
      const { to, deliverAt, sender = identity.user, ...rest } = normalise(publication);
      check(identity, to, sender);
      const plan = { ...rest, topics: to, sender };
      await checkCount(identity, to.length);
      if (cron === undefined || cron === null) {
        if (deliverAt === undefined) throw wrong("deliverAt", "expected a time here, or a rule in cron");
        for (const [field, value] of Object.entries({ timezone, missed, name })) {
          if (value !== undefined && value !== null) throw wrong(field, "expected only with cron");
        }
        return c.json({ ids: await schedules.once(plan, deliverAt) }, 201);
      }
      if (deliverAt !== undefined) throw wrong("deliverAt", "expected only without cron");
      if (plan.dedupeKey !== undefined) throw wrong("dedupeKey", "expected only without cron: use name");
      if (name && to.length > 1) throw wrong("to", "expected one topic where there is a name");
      if (timezone && !isTimezone(timezone)) {
        throw wrong("timezone", "expected an IANA name such as Europe/Berlin");
      }
      checkRecurrence({ cron, timezone: timezone ?? "UTC" }, clock.now());
      const ids = await schedules.recurring(plan, {
        cron,
        missed: missed ?? "send",
        ...(timezone ? { timezone } : {}),
        ...(name ? { name } : {}),
      });
      return c.json({ ids }, 201);
    },
  );

  routes.openapi(
    createRoute({
      method: "get",
      path: PATHS.schedules,
      operationId: "listSchedules",
      summary: "What one planned and is not sent yet",
      description: "Administrators see everybody's",
      tags: ["schedules"],
      ...SECURED,
      request: {
        query: z.object({
          after: z.string().regex(/^\d{1,18}$/, "expected a schedule's id").optional().openapi({
            description: "The last id of the page before",
          }),
          limit: z.coerce.number("expected a number").int().min(1, "expected 1 to 100").max(
            PAGE,
            "expected 1 to 100",
          )
            .default(PAGE),
        }),
      },
      responses: {
        200: {
          description: "A page, oldest first",
          content: { "application/json": { schema: z.object({ items: z.array(scheduleSchema) }) } },
        },
        ...problems("invalid_request", ...WHO),
      },
    }),
    async (c) => {
      const { after, limit } = c.req.valid("query");
      return c.json({ items: await schedules.list(scope(c.get("identity")), after, limit) }, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "get",
      path: `${PATHS.schedules}/{id}`,
      operationId: "getSchedule",
      summary: "One schedule",
      tags: ["schedules"],
      ...SECURED,
      request: { params },
      responses: {
        200: { description: "It waits", content: { "application/json": { schema: scheduleSchema } } },
        ...problems("invalid_request", "not_found", ...WHO),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      const found = await schedules.find(scope(c.get("identity")), id);
      if (found === undefined) throw absent(id);
      return c.json(found, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "delete",
      path: `${PATHS.schedules}/{id}`,
      operationId: "cancelSchedule",
      summary: "Cancel a schedule",
      tags: ["schedules"],
      ...SECURED,
      request: { params },
      responses: {
        204: { description: "It will not be sent" },
        ...problems("invalid_request", "not_found", ...WHO),
      },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      if (await schedules.cancel(scope(c.get("identity")), id)) return c.body(null, 204);
      throw absent(id);
    },
  );

  async function checkCount(identity: Identity, more: number): Promise<void> {
    if (identity.admin) return;
    const waiting = await schedules.count(identity.user, MAX_SCHEDULES);
    if (waiting + more > MAX_SCHEDULES) {
      throw new TidingsError(
        "too_many_requests",
        `Cannot schedule this: ${waiting} of yours wait, and ${MAX_SCHEDULES} may; cancel some`,
      );
    }
  }

  return routes;
}

function check(identity: Identity, topics: readonly string[], sender: string): void {
  const topic = topics.find((name) => !mayPublish(identity, name));
  const errors = [
    ...(topic === undefined
      ? []
      : [{ field: "to", message: `the token does not allow to send to ${topic}` }]),
    ...(sender === identity.user || identity.admin
      ? []
      : [{ field: "sender", message: "only administrators may name another sender" }]),
  ];
  const [first] = errors;
  if (first) {
    throw new TidingsError("forbidden", `Cannot schedule this: ${first.field}: ${first.message}`, { errors });
  }
}

/** Whose schedules somebody may see and cancel. */
function scope(identity: Identity): string | undefined {
  return identity.admin ? undefined : identity.user;
}

function wrong(field: string, message: string): TidingsError {
  return invalidField("schedule this", field, message);
}

function absent(id: string): TidingsError {
  return new TidingsError(
    "not_found",
    `There is no schedule ${id} of yours: it was sent or cancelled, or never was`,
  );
}
