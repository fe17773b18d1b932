/**
 * `GET /v1/feed`: one URL, negotiated. `Accept: text/event-stream` gets server-sent events, everything else a long-poll;
 * upgrades never come here.
 * @module
 */
import type { HttpBindings } from "@hono/node-server";
import { OpenAPIHono, z } from "@hono/zod-openapi";
import { problems, SECURED, WHO } from "../api/openapi.ts";
import type { AuthEnv } from "../auth/middleware.ts";
import { PATHS } from "../protocol.ts";
import type { Heart } from "./heart.ts";
import { LIMIT, longPoll, WAIT } from "./longpoll.ts";
import type { TransportDeps } from "./negotiate.ts";
import { serveEvents } from "./sse.ts";

/** The adapter's mark on an answer that was written by other means. */
const ALREADY_SENT = "x-hono-already-sent";

/** The adapter looks for its mark only on answers that have been looked into. */
export function sentAlready(response: Response): Response {
  if (response.headers.has(ALREADY_SENT)) void response.body;
  return response;
}

/** The route; `authenticate` has to run before it. */
export function feedRoutes(deps: TransportDeps, heart: Heart): OpenAPIHono<AuthEnv> {
  const app = new OpenAPIHono<AuthEnv>();
  app.openAPIRegistry.registerPath({
    method: "get",
    path: PATHS.feed,
    operationId: "readFeed",
    ...SECURED,
    summary: "The feed: what was missed, then live",
    description:
      "With `Upgrade: websocket` a WebSocket (`tidings.v1`), with `Accept: text/event-stream` server-sent events, otherwise a " +
      "long-poll. Always includes `user:<sub>`, `all` and what the person follows. PROTOCOL.md is the reference.",
    tags: ["feed"],
    request: {
      query: z.object({
        since: z.string().optional().openapi({
          description: "A cursor, `now`, `earliest`, or a duration such as `10m`",
        }),
        topics: z.string().optional().openapi({ description: "Further topics, separated by commas" }),
        presence: z.enum(["true", "false"]).optional().openapi({
          description: "`true`: also `tidings.join` and `tidings.leave` of `topics`",
        }),
        wait: z.coerce.number().int().min(0).max(WAIT.most).default(WAIT.usual).openapi({
          description: "Long-poll: seconds",
        }),
        limit: z.coerce.number().int().min(1).max(LIMIT.most).default(LIMIT.usual).openapi({
          description: "Long-poll: items at most",
        }),
      }),
      headers: z.object({ "Last-Event-ID": z.string().optional(), "If-None-Match": z.string().optional() }),
    },
    responses: {
      200: {
        description: "Items, perhaps none, and the cursor to go on from",
        content: {
          "application/json": {
            schema: z.object({
              cursor: z.string(),
              items: z.array(
                z.looseObject({ id: z.string(), topic: z.string(), type: z.string(), createdAt: z.string() })
                  .openapi("Item"),
              ),
              inbox: z.object({ unread: z.int(), unseen: z.int() }),
            }),
          },
          "text/event-stream": { schema: z.string() },
        },
      },
      304: { description: "Nothing new after `If-None-Match`" },
      ...problems(
        "invalid_request",
        ...WHO,
        "forbidden",
        "cursor_reset",
        "too_many_sessions",
        "restarting",
      ),
    },
  });
  app.get(PATHS.feed, async (c) => {
    const { outgoing } = c.env as HttpBindings;
    const query = new URL(c.req.url).searchParams;
    const identity = c.get("identity");
    const userAgent = c.req.header("user-agent");
    // some clients send an empty one when they have none
    const lastEventId = c.req.header("last-event-id") || undefined;
    // a HEAD has nobody to wait for
    const head = c.req.method === "HEAD";
    if (head) query.set("wait", "0");
    if (!head && wantsEvents(c.req.header("accept"))) {
      await serveEvents(
        { query, identity, lastEventId, userAgent, response: outgoing, headers: c.res.headers },
        deps,
        heart,
      );
      return new Response(null, { headers: { [ALREADY_SENT]: "true" } });
    }
    const gone = new AbortController();
    if (outgoing.destroyed) gone.abort();
    outgoing.once("close", () => gone.abort());
    const { status, headers, body } = await longPoll(
      {
        query,
        identity,
        lastEventId,
        userAgent,
        ifNoneMatch: c.req.header("if-none-match"),
        signal: gone.signal,
      },
      deps,
    );
    // by the context, so that what the middleware has set comes along
    return body === null ? c.body(null, status, headers) : c.body(body, 200, headers);
  });
  return app;
}

/** Whether events are named and not refused. */
function wantsEvents(accept: string | undefined): boolean {
  return (accept ?? "").split(",").some((part) =>
    /^\s*text\/event-stream\s*(;|$)/i.test(part) && !/;\s*q=0(\.0*)?\s*(;|$)/i.test(part)
  );
}
