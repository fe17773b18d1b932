/**
 * Frames from a WebSocket client, checked. The names are those of protocol.ts.
 * @module
 */
import { z } from "zod";
import { TidingsError } from "../errors.ts";
import { parsePublications } from "../exact_json.ts";
import type { ClientFrame } from "../protocol.ts";

const ref = z.string("expected a string").max(100, "expected at most 100 characters").optional();
const token = z.string("expected a token").max(8_192, "expected at most 8192 characters");
const topics = z.array(z.string("expected a topic"), "expected a list of topics").min(
  1,
  "expected at least one topic",
).max(
  100,
  "expected at most 100 topics",
);
const since = z.string("expected a cursor, now, earliest or a duration").max(
  4_096,
  "expected at most 4096 characters",
).optional();
const presence = z.boolean("expected true or false").optional();
const ids = z.array(
  z.string("expected an id").regex(/^\d{1,19}$/, "expected an id"),
  "expected a list of ids",
).min(1).max(
  1_000,
  "expected at most 1000 ids",
);

/** Every operation and its fields. `publish` is checked like a request to `POST /v1/notifications`, by whoever sends it. */
const frames = {
  hello: z.strictObject({
    op: z.literal("hello"),
    ref,
    token,
    since,
    topics: topics.or(z.tuple([])).optional(),
    presence,
  }),
  auth: z.strictObject({ op: z.literal("auth"), ref, token }),
  subscribe: z.strictObject({
    op: z.literal("subscribe"),
    ref,
    topics,
    since,
    presence,
  }),
  unsubscribe: z.strictObject({ op: z.literal("unsubscribe"), ref, topics }),
  publish: z.looseObject({ op: z.literal("publish"), ref }),
  mark: z.strictObject({
    op: z.literal("mark"),
    ref,
    ids: ids.optional(),
    all: z.literal(true, "expected true").optional(),
    before: z.string("expected an id").regex(/^\d{1,19}$/, "expected an id").optional(),
    state: z.enum(["seen", "read", "unread", "archived"], "expected one of seen, read, unread, archived"),
  }).refine((mark) => [mark.ids, mark.all, mark.before].filter((part) => part !== undefined).length === 1, {
    error: "expected exactly one of ids, all and before",
    path: ["ids"],
  }),
  ack: z.strictObject({
    op: z.literal("ack"),
    ref,
    cursor: z.string("expected a cursor").max(4_096),
    visible: z.boolean("expected true or false").optional(),
  }),
  ping: z.strictObject({ op: z.literal("ping"), ref }),
};

/**
 * Reads a frame.
 * @throws {TidingsError} `protocol_error` when it is no JSON object with a known `op` (the session ends); `invalid_request`
 * with the fields that are wrong (the session goes on)
 */
export function parseFrame(text: string): ClientFrame {
  let value: unknown;
  try {
    value = parsePublications(text);
  } catch (error) {
    throw new TidingsError("protocol_error", "Cannot read the frame: it is not JSON", { cause: error });
  }
  const op = (value as { op?: unknown } | null)?.op;
  if (typeof op !== "string" || !Object.hasOwn(frames, op)) {
    throw new TidingsError(
      "protocol_error",
      `Cannot read the frame: op must be one of ${Object.keys(frames).join(", ")}`,
    );
  }
  const result = frames[op as keyof typeof frames].safeParse(value);
  if (result.success) return result.data as ClientFrame;
  const errors = result.error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((field) => ({ field: field.slice(0, 100), message: "there is no such field" }))
      : [{ field: issue.path.join(".") || op, message: issue.message }]
  ).slice(0, 20);
  throw new TidingsError(
    "invalid_request",
    `Cannot ${op}: ${errors.map(({ field, message }) => `${field}: ${message}`).join("; ")}`,
    {
      errors,
    },
  );
}

/** The `ref` of a frame that could not be read as a whole. */
export function refOf(text: string): string | undefined {
  try {
    const { ref } = JSON.parse(text) as { ref?: unknown };
    return typeof ref === "string" && ref.length <= 100 ? ref : undefined;
  } catch {
    // not JSON: then there is none, and the frame itself is answered with an error
    return undefined;
  }
}
