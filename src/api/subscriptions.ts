/**
 * `/v1/subscriptions`: the topics that the person who asks follows. Following lasts; what is sent to a followed topic reaches
 * the person and their inbox.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import type { InboxStore } from "../database/inbox_store.ts";
import type { Rights } from "../feed/rights.ts";
import { isTopic, TOPIC_EXPECTED } from "../feed/topic.ts";
import { PATHS } from "../protocol.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";

/** The routes; `authenticate` has to run before them. */
export function subscriptionRoutes(
  deps: { store: InboxStore; rights: Pick<Rights, "authorize"> },
): OpenAPIHono<AuthEnv> {
  const { store, rights } = deps;
  const params = z.object({
    topic: z.string().refine(isTopic, { error: TOPIC_EXPECTED }).openapi({ example: "climb:route:12" }),
  });
  const list = createRoute({
    method: "get",
    path: PATHS.subscriptions,
    operationId: "listSubscriptions",
    summary: "The topics that are followed",
    tags: ["following"],
    ...SECURED,
    responses: {
      200: {
        description: "At most 1,000, in the order of their names",
        content: {
          "application/json": {
            schema: z.object({
              subscriptions: z.array(z.object({ topic: z.string(), followedAt: z.iso.datetime() })),
            }).openapi("Subscriptions"),
          },
        },
      },
      ...problems(...WHO),
    },
  });
  const follow = createRoute({
    method: "put",
    path: `${PATHS.subscriptions}/{topic}`,
    operationId: "follow",
    summary: "Follow a topic",
    description:
      "From here on, for good; following twice is no error. Open sessions begin to receive without reconnecting. The token's " +
      "`subscribe` patterns or the application's policy have to allow the topic.",
    tags: ["following"],
    ...SECURED,
    request: { params },
    responses: {
      204: { description: "Followed" },
      ...problems("invalid_request", "forbidden", "conflict", ...WHO),
    },
  });
  const unfollow = createRoute({
    method: "delete",
    path: `${PATHS.subscriptions}/{topic}`,
    operationId: "unfollow",
    summary: "Cease to follow a topic",
    description: "What was sent in between stays in the inbox. Not to have followed is no error.",
    tags: ["following"],
    ...SECURED,
    request: { params },
    responses: { 204: { description: "Not followed any more" }, ...problems("invalid_request", ...WHO) },
  });

  return documented()
    .openapi(list, async (c) => {
      const followed = await store.followed(c.get("identity").user);
      return c.json({
        subscriptions: followed.map(({ topic, followedAt }) => ({
          topic,
          followedAt: followedAt.toISOString(),
        })),
      }, 200);
    })
    .openapi(follow, async (c) => {
      const identity = c.get("identity");
      const { topic } = c.req.valid("param");
      await rights.authorize(identity, [topic]);
      await store.follow(identity.user, topic);
      return c.body(null, 204);
    })
    .openapi(unfollow, async (c) => {
      await store.unfollow(c.get("identity").user, c.req.valid("param").topic);
      return c.body(null, 204);
    });
}
