/**
 * What may be sent: the one place where the limits of a publication are checked and documented.
 *
 * A `null` counts as absent, since many JSON writers write absent fields so. Everything else that is not expected is named.
 * @module
 */
import { z } from "@hono/zod-openapi";
import { DURATION_EXPECTED, DURATION_MAX, parseDuration } from "../duration.ts";
import { isTopic, TOPIC_EXPECTED } from "../feed/topic.ts";
import { LIMITS, PRIORITIES, type Priority } from "../notification.ts";
import type { Publication } from "../protocol.ts";
import { DATA_DESCRIPTION, isStorable, measureData, NOT_STORABLE } from "./data.ts";

/** The most notifications in one request. */
export const MAX_PUBLICATIONS = 1_000;
/** The most topics of one notification. */
export const MAX_TOPICS = 1_000;
/** The most rows that one request may make: notifications × topics. */
export const MAX_ROWS = 10_000;
/** The most bytes of text and data that one request may make, over all its rows. */
export const MAX_EXPANDED_BYTES = 32 * 1024 * 1024;

/** A publication that was checked. Absent fields are left out. */
export interface CheckedPublication extends Omit<Publication, "to" | "ttl"> {
  /** At least one, each once. */
  to: string[];
  /** Milliseconds. */
  ttl?: number;
}

/** A topic's name. */
export const topic = z.string(TOPIC_EXPECTED).refine(isTopic, { error: TOPIC_EXPECTED })
  .openapi({ maxLength: LIMITS.topic, example: "user:42" });

const topics = z.union([
  topic,
  z.array(topic, "expected a topic or a list of topics")
    .min(1, "expected at least one topic")
    .max(MAX_TOPICS, `expected at most ${MAX_TOPICS} topics`)
    .refine((list) => new Set(list).size === list.length, { error: "expected each topic once" }),
], "expected a topic or a list of topics");

/** A type's name. */
export const type = z.string(`expected 1 to ${LIMITS.type} letters, digits, ".", "_" or "-"`)
  .regex(/^[A-Za-z0-9_.-]{1,100}$/, `expected 1 to ${LIMITS.type} letters, digits, ".", "_" or "-"`)
  .refine((name) => !name.startsWith("tidings."), {
    error: 'types that begin with "tidings." are the gateway\'s own',
  })
  .openapi({ maxLength: LIMITS.type, example: "friend_request" });

const link = text(0, LIMITS.link).refine(isLink, {
  error: 'expected an absolute http or https address, or a path that begins with one "/"',
}).openapi({ example: "/friends/7" });

const data = z.unknown()
  .superRefine((value, context) => {
    const measured = measureData(value);
    if (typeof measured === "string") context.addIssue({ code: "custom", message: measured });
  })
  .openapi({ description: DATA_DESCRIPTION });

const ttl = z.union([
  z.number().positive("expected more than 0 seconds").max(
    DURATION_MAX / 1_000,
    "expected at most 100 years",
  ),
  z.string().refine((value) => (parseDuration(value) ?? 0) > 0, { error: DURATION_EXPECTED }),
], `expected seconds, or ${DURATION_EXPECTED.replace("expected ", "")}`).openapi({ example: "10m" });

const deliverAt = z.iso.datetime({
  offset: true,
  error: "expected a time as in RFC 3339, such as 2026-01-31T18:00:00Z",
});

/** One notification to send, as it comes from outside. */
export const publicationSchema = z.strictObject({
  to: topics.openapi({ description: "A topic or a list of topics" }),
  type: type.nullish().openapi({ description: "The event's name; `notification` unless given" }),
  title: text(0, LIMITS.title).nullish(),
  body: z.string("expected a text").refine((value) => Buffer.byteLength(value) <= LIMITS.body, {
    error: `expected at most ${LIMITS.body} bytes of UTF-8`,
  }).refine(isStorable, { error: NOT_STORABLE })
    .nullish().openapi({ description: `At most ${LIMITS.body} bytes of UTF-8` }),
  link: link.nullish().openapi({ description: "Where it leads: http(s), or a path of the application" }),
  data: data.optional(),
  sender: text(1, LIMITS.sender).nullish().openapi({
    description: "Administrators only; the token's `sub` unless given",
  }),
  priority: z.enum(PRIORITIES as [Priority, ...Priority[]], `expected one of ${PRIORITIES.join(", ")}`)
    .nullish(),
  collapseKey: text(1, LIMITS.collapseKey).nullish().openapi({
    description: "Of several with the same one, only the newest matters",
  }),
  dedupeKey: text(1, LIMITS.dedupeKey).nullish().openapi({
    description: "Once per topic: a repeat returns the first one's id",
  }),
  ttl: ttl.nullish().openapi({ description: "Seconds, or a duration such as `10m`" }),
  transient: z.boolean("expected true or false").nullish().openapi({
    description: "Live only: never in the inbox, never pushed",
  }),
  deliverAt: deliverAt.nullish().openapi({ description: "Send it then" }),
  push: z.boolean("expected true or false").nullish().openapi({
    description:
      "true: push it to those who are away; false: never; absent: to those whose preferences ask for pushes",
  }),
}, { error: (issue) => issue.code === "invalid_type" ? "expected an object" : undefined })
  .openapi("Publication");

/** One or many, as `POST /v1/notifications` takes them. */
export const publicationsSchema = z.union([
  publicationSchema,
  z.array(publicationSchema)
    .min(1, "expected at least one notification")
    .max(MAX_PUBLICATIONS, `expected at most ${MAX_PUBLICATIONS} notifications`),
], "expected a notification or a list of notifications");

/** Leaves out what is absent, and brings the rest into one form. */
export function normalise(publication: z.output<typeof publicationSchema>): CheckedPublication {
  const { to, ttl, ...rest } = publication;
  const checked: Record<string, unknown> = { to: typeof to === "string" ? [to] : to };
  for (const [name, value] of Object.entries(rest)) {
    if (value !== undefined && value !== null) checked[name] = value;
  }
  if (ttl !== undefined && ttl !== null) {
    checked["ttl"] = typeof ttl === "number" ? ttl * 1_000 : parseDuration(ttl);
  }
  return checked as unknown as CheckedPublication;
}

/** Bytes that one row of it takes, roughly. */
export function weigh(publication: CheckedPublication): number {
  const { body, data, title, link } = publication;
  return 200 + (body === undefined ? 0 : Buffer.byteLength(body)) + (title?.length ?? 0) +
    (link?.length ?? 0) +
    (data === undefined ? 0 : Number(measureData(data)));
}

/** A text of so many characters. */
export function text(min: number, max: number) {
  const expected = min === 0 ? `expected at most ${max} characters` : `expected ${min} to ${max} characters`;
  return z.string("expected a text")
    .refine((value) => value.length >= min && characters(value, max) <= max, { error: expected })
    .refine(isStorable, { error: NOT_STORABLE })
    .openapi({ maxLength: max, ...(min > 0 ? { minLength: min } : {}) });
}

/** As SQL counts them: code points. Counted only where that makes a difference. */
function characters(value: string, max: number): number {
  return value.length <= max || value.length > 2 * max ? value.length : [...value].length;
}

/** Where a browser goes with it decides: `//host`, `/\host` and `javascript:` leave the application unnoticed. */
function isLink(value: string): boolean {
  // deno-lint-ignore no-control-regex -- browsers drop control characters before they look
  if (/[\u0000-\u0020\u007f]/.test(value)) return false;
  if (value.startsWith("/")) {
    const base = "http://path.invalid";
    return URL.canParse(value, base) && new URL(value, base).origin === base;
  }
  return /^https?:\/\//i.test(value) && URL.canParse(value);
}
