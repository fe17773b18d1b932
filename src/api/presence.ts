/**
 * `GET /v1/topics/{topic}/presence`: who is here.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import { invalidField } from "../errors.ts";
import type { PresenceStore } from "../feed/presence_store.ts";
import type { Rights } from "../feed/rights.ts";
import { isTopic, TOPIC_EXPECTED } from "../feed/topic.ts";
import { PATHS } from "../protocol.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";

/** People that one answer names at most; of a topic with more only the count is told. */
export const PRESENCE_MAX = 1_000;

const route = createRoute({
  method: "get",
  path: `${PATHS.topics}/{topic}/presence`,
  operationId: "readPresence",
  summary: "Who is in a topic",
  description:
    "People with at least one session that is subscribed to the topic, on any gateway; everybody who is connected is in `all` " +
    "and in their own topic. Allowed to whoever may subscribe to the topic, by their token and the application's policy. " +
    `Of topics with more than ${PRESENCE_MAX} people, and with \`count=true\`, only the count is told. ` +
    "Joins and leaves come to sessions that ask for them with `presence`; whoever asks for both, the feed first, misses nobody.",
  tags: ["presence"],
  ...SECURED,
  request: {
    params: z.object({ topic: z.string().openapi({ example: "climb:route:12" }) }),
    query: z.object({
      count: z.enum(["true", "false"], "expected true or false").default("false").openapi({
        description: "`true`: the count only",
      }),
    }),
  },
  responses: {
    200: {
      description: "The count, and the people by name",
      headers: z.object({ "Cache-Control": z.literal("no-store") }),
      content: {
        "application/json": {
          schema: z.object({
            topic: z.string(),
            count: z.int(),
            people: z.array(z.object({
              user: z.string(),
              since: z.iso.datetime().openapi({ description: "When the first of their sessions came" }),
            })).optional(),
          }).openapi("Presence"),
        },
      },
    },
    ...problems("invalid_request", "forbidden", ...WHO),
  },
});

/** The route; `authenticate` has to run before it. */
export function presenceRoutes(
  deps: { presence: Pick<PresenceStore, "present">; rights: Pick<Rights, "authorize"> },
): OpenAPIHono<AuthEnv> {
  return documented().openapi(route, async (c) => {
    const { topic } = c.req.valid("param");
    if (!isTopic(topic)) throw invalidField("tell who is here", "topic", TOPIC_EXPECTED);
    await deps.rights.authorize(c.get("identity"), [topic]);
    const wanted = c.req.valid("query").count === "true" ? 0 : PRESENCE_MAX;
    const { count, people } = await deps.presence.present(topic, wanted);
    const named = wanted === 0 || count > PRESENCE_MAX
      ? {}
      : { people: people.map(({ user, since }) => ({ user, since: new Date(since).toISOString() })) };
    c.header("Cache-Control", "no-store");
    return c.json({ topic, count, ...named }, 200);
  });
}
