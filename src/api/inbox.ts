/**
 * `/v1/inbox`: what was sent to the person who asks, with its state.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import type { InboxPage, InboxStore, State } from "../database/inbox_store.ts";
import { TidingsError } from "../errors.ts";
import { exactItemOf } from "../log/row.ts";
import { PATHS } from "../protocol.ts";
import { type BodyBudget, textBody } from "./body.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";

/** Rows of a page. */
export const INBOX_PAGE = { usual: 20, most: 200 } as const;

/** How often at most it is looked further for one page. */
const LOOKS = 3;

/** The states that each filter stands for. */
const FILTERS = {
  unseen: ["unseen"],
  seen: ["seen"],
  unread: ["unseen", "seen"],
  read: ["read"],
  archived: ["archived"],
  inbox: ["unseen", "seen", "read"],
  all: ["unseen", "seen", "read", "archived"],
} as const satisfies Record<string, readonly State[]>;

const filters = Object.keys(FILTERS) as (keyof typeof FILTERS)[];
const id = z.string("expected an id").regex(/^[1-9]\d{0,17}$/, "expected an id");

const countSchema = z.object({
  unread: z.int().openapi({ description: "Not read: unseen and seen" }),
  unseen: z.int().openapi({ description: "Never looked at" }),
}).openapi("InboxCount");

const itemSchema = z.looseObject({
  id: z.string(),
  topic: z.string(),
  type: z.string(),
  title: z.string().optional(),
  body: z.string().optional(),
  link: z.string().optional(),
  data: z.unknown().optional(),
  sender: z.string().optional(),
  createdAt: z.string(),
  state: z.enum(["unseen", "seen", "read", "archived"]),
}).openapi("InboxItem");

const markSchema = z.strictObject({
  ids: z.array(id, "expected a list of ids").min(1, "expected at least one id").max(
    1_000,
    "expected at most 1000 ids",
  )
    .optional(),
  all: z.literal(true, "expected true").optional(),
  before: id.optional().openapi({ description: "This one and what is older" }),
  state: z.enum(["seen", "read", "unread", "archived"], "expected one of seen, read, unread, archived"),
}).refine((mark) => [mark.ids, mark.all, mark.before].filter((part) => part !== undefined).length === 1, {
  error: "expected exactly one of ids, all and before",
  path: ["ids"],
}).openapi("Mark");

/** The routes; `authenticate` has to run before them. */
export function inboxRoutes(deps: { store: InboxStore; budget: BodyBudget }): OpenAPIHono<AuthEnv> {
  const { store } = deps;
  const page = createRoute({
    method: "get",
    path: PATHS.inbox,
    operationId: "readInbox",
    summary: "A page of the inbox, newest first",
    tags: ["inbox"],
    ...SECURED,
    request: {
      query: z.object({
        state: z.enum(filters, `expected one of ${filters.join(", ")}`).default("inbox").openapi({
          description: "`inbox` is all but archived; `unread` is unseen and seen",
        }),
        topic: z.string().max(200, "expected at most 200 characters").optional(),
        type: z.string().max(100, "expected at most 100 characters").optional(),
        before: z.string().regex(/^[1-9]\d{0,17}(\.\d{1,19})?$/, "expected the `next` of a page, or an id")
          .optional()
          .openapi({ description: "The `next` of the page before, or an id: only what is older" }),
        limit: z.coerce.number("expected a number").int("expected a whole number").min(
          1,
          "expected at least 1",
        ).max(
          INBOX_PAGE.most,
          `expected at most ${INBOX_PAGE.most}`,
        ).default(INBOX_PAGE.usual),
      }),
    },
    responses: {
      200: {
        description: "The page",
        content: {
          "application/json": {
            schema: z.object({
              items: z.array(itemSchema),
              next: z.string().optional().openapi({
                description:
                  "The `before` of the next page; absent on the last. A filter may leave a page short, or empty, that has a next",
              }),
            }).openapi("InboxPage"),
          },
        },
      },
      ...problems("invalid_request", "not_found", ...WHO),
    },
  });
  const count = createRoute({
    method: "get",
    path: `${PATHS.inbox}/count`,
    operationId: "countInbox",
    summary: "How many are unread, how many unseen",
    tags: ["inbox"],
    ...SECURED,
    responses: {
      200: { description: "The counts", content: { "application/json": { schema: countSchema } } },
      ...problems(...WHO),
    },
  });
  const mark = createRoute({
    method: "post",
    path: `${PATHS.inbox}/mark`,
    operationId: "markInbox",
    summary: "Mark some, all, or everything up to one",
    description:
      "`seen` and `read` never take anything back; `unread` makes seen of what was read or archived. All ids or none: one that " +
      "is not in the person's inbox is answered as if it did not exist. What arrives at that moment is not marked by `all`.",
    tags: ["inbox"],
    ...SECURED,
    middleware: [textBody(64 * 1024, deps.budget)],
    request: { body: { required: true, content: { "application/json": { schema: markSchema } } } },
    responses: {
      200: {
        description: "Marked; the counts after it",
        content: { "application/json": { schema: countSchema } },
      },
      ...problems("invalid_request", "not_found", "too_large", "unsupported_media_type", ...WHO),
    },
  });

  return documented()
    .openapi(page, async (c) => {
      const { user } = c.get("identity");
      const { state, topic, type, before, limit } = c.req.valid("query");
      const rows: InboxPage["rows"] = [];
      let next = before === undefined ? undefined : await place(user, before);
      // Where a filter leaves little it is looked further, but not for ever: the next page goes on from there.
      for (let look = 0; look < LOOKS; look++) {
        const found = await store.page(user, {
          states: FILTERS[state],
          ...(topic === undefined ? {} : { topic }),
          ...(type === undefined ? {} : { type }),
          ...(next === undefined ? {} : { before: next }),
          rows: limit - rows.length,
        });
        rows.push(...found.rows);
        next = found.next;
        if (next === undefined || rows.length >= limit) break;
      }
      c.header("Cache-Control", "no-store");
      return c.json({
        items: rows.map((row) => ({ ...exactItemOf(row), state: row.state })),
        ...(next === undefined ? {} : { next: `${next.id}.${next.xid}` }),
      } as never, 200);
    })
    .openapi(count, async (c) => {
      c.header("Cache-Control", "no-store");
      return c.json(await store.count(c.get("identity").user), 200);
    })
    .openapi(mark, async (c) => {
      const { ids, all, before, state } = c.req.valid("json");
      return c.json(
        await store.mark(c.get("identity").user, {
          ...(ids === undefined ? {} : { ids }),
          ...(all === undefined ? {} : { all }),
          ...(before === undefined ? {} : { before }),
          state,
        }),
        200,
      );
    });

  async function place(user: string, before: string): Promise<{ id: string; xid: string }> {
    const [id = "", xid] = before.split(".");
    const known = xid ?? await store.placeOf(user, id);
    if (known === undefined) {
      throw new TidingsError(
        "not_found",
        "Cannot read on: before is not in this inbox; begin at the first page",
        {
          errors: [{ field: "before", message: "is not in this inbox" }],
        },
      );
    }
    return { id, xid: known };
  }
}
