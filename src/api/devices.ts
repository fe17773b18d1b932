/**
 * `/v1/devices`: where a person's pushes go.
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { AuthEnv } from "../auth/middleware.ts";
import { invalidField, TidingsError } from "../errors.ts";
import { PATHS } from "../protocol.ts";
import type { DeviceStore } from "../push/device_store.ts";
import { deviceToken, makeSecret } from "../push/device_token.ts";
import type { Provider } from "../push/provider.ts";
import { type BodyBudget, textBody } from "./body.ts";
import { documented, problems, SECURED, WHO } from "./openapi.ts";
import { invalid, violations } from "./violations.ts";

/** What the routes work with. */
export interface DeviceDeps {
  devices: DeviceStore;
  providers: readonly Provider[];
  budget: BodyBudget;
}

/** The most bytes of one registration. */
const MAX_BODY = 16 * 1024;

const params = z.object({
  id: z.string().regex(/^[A-Za-z0-9_.-]{1,100}$/, 'expected 1 to 100 letters, digits, ".", "_" or "-"')
    .openapi({
      description: "Chosen by the client, one for each browser or app; unique among the person's devices",
      example: "laptop-firefox",
    }),
});

const deviceSchema = z.object({
  id: z.string(),
  kind: z.string(),
  createdAt: z.iso.datetime(),
  seenAt: z.iso.datetime().openapi({ description: "When it was registered last" }),
}).openapi("Device");

/** The routes; `authenticate` has to run before them. */
export function deviceRoutes({ devices, providers, budget }: DeviceDeps): OpenAPIHono<AuthEnv> {
  const kinds = providers.map(({ kind }) => kind);
  const routes = documented();

  routes.openapi(
    createRoute({
      method: "get",
      path: `${PATHS.devices}/key`,
      operationId: "pushKey",
      summary: "What a browser needs to subscribe",
      tags: ["push"],
      ...SECURED,
      responses: {
        200: {
          description:
            "The kinds of devices this gateway pushes to, and the public key for `PushManager.subscribe`",
          content: {
            "application/json": {
              schema: z.object({
                kinds: z.array(z.string()).openapi({ example: ["webpush"] }),
                applicationServerKey: z.string().optional().openapi({
                  description: "VAPID public key, base64url. Absent: no Web Push here",
                }),
              }).openapi("PushKey"),
            },
          },
        },
        ...problems(...WHO),
      },
    }),
    (c) => c.json({ kinds, ...Object.assign({}, ...providers.map(({ facts }) => facts ?? {})) }, 200),
  );

  routes.openapi(
    createRoute({
      method: "get",
      path: PATHS.devices,
      operationId: "listDevices",
      summary: "One's devices",
      tags: ["push"],
      ...SECURED,
      responses: {
        200: {
          description: "Those seen last come first",
          content: { "application/json": { schema: z.object({ items: z.array(deviceSchema) }) } },
        },
        ...problems(...WHO),
      },
    }),
    async (c) => {
      const items = (await devices.list(c.get("identity").user)).map(({ id, kind, createdAt, seenAt }) => ({
        id,
        kind,
        createdAt: createdAt.toISOString(),
        seenAt: seenAt.toISOString(),
      }));
      return c.json({ items }, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "put",
      path: `${PATHS.devices}/{id}`,
      operationId: "registerDevice",
      summary: "Register a device, or renew it",
      description:
        "A device belongs to one person at a time: registered by another login, it moves. The token in the answer lets the " +
        "device's worker fetch, mark and renew by itself; every registration makes a new one.",
      tags: ["push"],
      ...SECURED,
      middleware: [textBody(MAX_BODY, budget)],
      request: {
        params,
        body: {
          required: true,
          content: {
            "application/json": {
              schema: z.looseObject({
                kind: z.string("expected a kind of device").openapi({ enum: kinds, example: "webpush" }),
              }).openapi({
                description:
                  "With `webpush`, what PushSubscription.toJSON() gives; with `fcm`, `token` and `format`; " +
                  "with `webhook`, `url` and `secret`",
              }),
            },
          },
        },
      },
      responses: {
        200: {
          description: "Registered",
          content: {
            "application/json": {
              schema: z.object({
                id: z.string(),
                kind: z.string(),
                token: z.string().openapi({ description: "Secret; for the header Tidings-Device" }),
              }).openapi("RegisteredDevice"),
            },
          },
        },
        ...problems("invalid_request", "too_large", ...WHO),
      },
    }),
    async (c) => {
      const { kind, ...input } = c.req.valid("json");
      const { id } = c.req.valid("param");
      const provider = providers.find((one) => one.kind === kind);
      if (provider === undefined) {
        const expected = kinds.length === 0
          ? "this gateway has no push service set up"
          : `expected ${kinds.join(", ")}`;
        throw invalidField("register this device", "kind", expected);
      }
      const checked = provider.schema.safeParse(input);
      if (!checked.success) throw invalid("register this device", violations(checked.error));
      const registration = await provider.register(checked.data);
      const { secret, hash } = makeSecret();
      const { user } = c.get("identity");
      const number = await devices.register({
        ...registration,
        user,
        id,
        kind,
        silent: provider.silent,
        secret: hash,
      });
      c.header("Cache-Control", "no-store");
      return c.json({ id, kind, token: deviceToken(number, secret) }, 200);
    },
  );

  routes.openapi(
    createRoute({
      method: "delete",
      path: `${PATHS.devices}/{id}`,
      operationId: "removeDevice",
      summary: "Remove a device",
      tags: ["push"],
      ...SECURED,
      request: { params },
      responses: { 204: { description: "It gets no more pushes" }, ...problems("not_found", ...WHO) },
    }),
    async (c) => {
      const { id } = c.req.valid("param");
      if (await devices.remove(c.get("identity").user, id)) return c.body(null, 204);
      throw new TidingsError("not_found", `Cannot remove ${id}: you have no device of this name`);
    },
  );

  return routes;
}
