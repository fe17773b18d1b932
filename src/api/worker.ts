/**
 * `/v1/worker`: what a device may do by itself, shown by its own token (`Tidings-Device`), because a service worker that a push
 * woke has no login: fetch what was cut from a push, mark it, say that it was shown, renew its subscription.
 *
 * Only for notifications that were pushed to this device; everything else is as if it did not exist.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { TidingsError } from "../errors.ts";
import { DEVICE_HEADER, PATHS } from "../protocol.ts";
import type { DeviceStore, KnownDevice } from "../push/device_store.ts";
import { readDeviceToken } from "../push/device_token.ts";
import type { Provider } from "../push/provider.ts";
import { documented, OF_A_DEVICE, problems } from "./openapi.ts";
import { invalid, violations } from "./violations.ts";

/** What the routes work with. */
export interface WorkerDeps {
  devices: DeviceStore;
  providers: readonly Provider[];
}

interface WorkerEnv {
  Variables: { device: KnownDevice };
}

const MAX_BODY = 16 * 1024;
const MAX_IDS = 100;

const ids = z.array(z.string().regex(/^\d{1,18}$/, "expected a notification's id"))
  .min(1, "expected at least one id").max(MAX_IDS, `expected at most ${MAX_IDS} ids`);

const headers = z.object({
  [DEVICE_HEADER]: z.string().openapi({ description: "The token that registering the device gave" }),
});

const DENIED = ["token_required", "invalid_token", "unavailable"] as const;

/** The routes; they stand for themselves, and are mounted before `authenticate`. */
export function workerRoutes({ devices, providers }: WorkerDeps): OpenAPIHono<WorkerEnv> {
  const routes = documented<WorkerEnv>();
  const bounded: MiddlewareHandler<WorkerEnv> = bodyLimit({
    maxSize: MAX_BODY,
    onError: () => {
      throw new TidingsError("too_large", `Cannot read the body: it has more than ${MAX_BODY} bytes`);
    },
  });
  const known: MiddlewareHandler<WorkerEnv> = async (c, next) => {
    c.set("device", await identify(c, devices));
    await next();
  };
  const middleware = [known, bounded];
  const json = <T extends z.ZodType>(schema: T) => ({
    required: true,
    content: { "application/json": { schema } },
  });

  routes.openapi(
    createRoute({
      method: "get",
      path: `${PATHS.worker}/notifications`,
      operationId: "fetchPushed",
      summary: "What was pushed to this device, whole",
      tags: ["worker"],
      ...OF_A_DEVICE,
      middleware,
      request: {
        headers,
        query: z.object({
          ids: z.string().max(2_000).transform((text) => text.split(",")).pipe(ids).openapi({
            type: "string",
            description: "Ids, separated by commas",
          }),
        }),
      },
      responses: {
        200: {
          description: "Those that were pushed to it and are still there",
          content: {
            "application/json": {
              schema: z.object({ items: z.array(z.unknown()).openapi({ description: "As in the feed" }) }),
            },
          },
        },
        ...problems("invalid_request", ...DENIED),
      },
    }),
    async (c) => {
      const items = await devices.items(c.get("device").number, c.req.valid("query").ids);
      c.header("Cache-Control", "no-store");
      return c.json({ items: items as unknown[] }, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "post",
      path: `${PATHS.worker}/mark`,
      operationId: "markPushed",
      summary: "Mark what was pushed to this device",
      tags: ["worker"],
      ...OF_A_DEVICE,
      middleware,
      request: {
        headers,
        body: json(z.strictObject({ ids, state: z.enum(["seen", "read", "unread", "archived"]) })),
      },
      responses: {
        200: {
          description: "The person's count afterwards",
          content: { "application/json": { schema: z.object({ unread: z.int(), unseen: z.int() }) } },
        },
        ...problems("invalid_request", "too_large", ...DENIED),
      },
    }),
    async (c) => {
      const { ids, state } = c.req.valid("json");
      const { unread, unseen } = await devices.mark(c.get("device").number, ids, state);
      return c.json({ unread, unseen }, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "post",
      path: `${PATHS.worker}/shown`,
      operationId: "pushShown",
      summary: "Say that pushes were shown",
      tags: ["worker"],
      ...OF_A_DEVICE,
      middleware,
      request: { headers, body: json(z.strictObject({ ids })) },
      responses: { 204: { description: "Noted" }, ...problems("invalid_request", "too_large", ...DENIED) },
    }),
    async (c) => {
      await devices.shown(c.get("device").number, c.req.valid("json").ids);
      return c.body(null, 204);
    },
  );

  routes.openapi(
    createRoute({
      method: "put",
      path: `${PATHS.worker}/subscription`,
      operationId: "renewSubscription",
      summary: "Replace this device's subscription",
      description: "As registering it, without the kind",
      tags: ["worker"],
      ...OF_A_DEVICE,
      middleware,
      request: { headers, body: json(z.looseObject({})) },
      responses: { 204: { description: "Replaced" }, ...problems("invalid_request", "too_large", ...DENIED) },
    }),
    async (c) => {
      const { number, kind } = c.get("device");
      const provider = providers.find((one) => one.kind === kind);
      if (provider === undefined) {
        throw new TidingsError(
          "not_found",
          `Cannot renew this device: this gateway does not push to ${kind}`,
        );
      }
      const checked = provider.schema.safeParse(c.req.valid("json"));
      if (!checked.success) throw invalid("renew this device", violations(checked.error));
      await devices.renew(number, await provider.register(checked.data));
      return c.body(null, 204);
    },
  );

  return routes;
}

async function identify(c: Context, devices: DeviceStore): Promise<KnownDevice> {
  const given = c.req.header(DEVICE_HEADER);
  if (given === undefined) {
    throw new TidingsError("token_required", `Cannot do this: the header ${DEVICE_HEADER} is missing`);
  }
  const token = readDeviceToken(given);
  const device = token && await devices.bySecret(token.number, token.hash);
  if (device === undefined) {
    throw new TidingsError(
      "invalid_token",
      "Cannot do this: no device has this token (any more); register it again",
    );
  }
  return device;
}
