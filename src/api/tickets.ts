/**
 * `POST /v1/tickets`: a one-time ticket for clients that cannot set headers.
 * @module
 */
import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import { TICKET_TTL, type Tickets } from "../auth/ticket.ts";
import { PATHS } from "../protocol.ts";
import { problems, SECURED, WHO } from "./openapi.ts";

const route = createRoute({
  method: "post",
  path: PATHS.tickets,
  operationId: "makeTicket",
  summary: "Make a one-time ticket",
  description:
    `For clients that cannot set headers, such as a browser's EventSource and WebSocket: the ticket goes into the URL ` +
    `(\`?ticket=\`), is good once and for ${TICKET_TTL} s, on any instance, and stands for the token that this request was made ` +
    "with, until that token expires.",
  tags: ["identity"],
  ...SECURED,
  responses: {
    201: {
      description: "A ticket",
      headers: z.object({ "Cache-Control": z.literal("no-store") }),
      content: {
        "application/json": {
          schema: z.object({
            ticket: z.string().openapi({ example: "3q2-7wAAAAC0r6mNT1l5bQ3nJ9kq8s1v0Xw2yZ4a6Bc" }),
            expiresAt: z.iso.datetime().openapi({ example: "2026-01-01T12:00:30.000Z" }),
          }).openapi("Ticket"),
        },
      },
    },
    ...problems(
      ...WHO,
      "origin_not_allowed",
      "forbidden",
      "too_many_requests",
    ),
  },
});

/** The route; `authenticate` has to run before it. */
export function ticketRoutes(deps: { tickets: Tickets }): OpenAPIHono<AuthEnv> {
  return new OpenAPIHono<AuthEnv>().openapi(route, async (c) => {
    const { ticket, expiresAt } = await deps.tickets.create(c.get("identity"));
    c.header("Cache-Control", "no-store");
    return c.json({ ticket, expiresAt: expiresAt.toISOString() }, 201);
  });
}
