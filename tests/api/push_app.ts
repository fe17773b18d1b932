/**
 * The routes about pushes and schedules, on a real database, asked as whoever the header `as` names.
 * @module
 */
import { Hono } from "hono";
import type { AuthEnv } from "../../src/auth/middleware.ts";
import { BodyBudget } from "../../src/api/body.ts";
import { digestRoutes } from "../../src/api/digests.ts";
import { deviceRoutes } from "../../src/api/devices.ts";
import { scheduleRoutes } from "../../src/api/schedules.ts";
import { workerRoutes } from "../../src/api/worker.ts";
import { systemClock } from "../../src/clock.ts";
import type { Statement } from "../../src/database/postgres.ts";
import { toProblem } from "../../src/errors.ts";
import { createDeviceStore } from "../../src/push/device_store.ts";
import { createDigestStore } from "../../src/push/digest_store.ts";
import type { Provider } from "../../src/push/provider.ts";
import { createScheduleBook } from "../../src/schedule/schedule_store.ts";

/** Asks: method and path, who (`!name` is an administrator), a body, further headers. */
export type Ask = (
  call: string,
  as?: string,
  body?: unknown,
  headers?: Record<string, string>,
  // deno-lint-ignore no-explicit-any -- JSON of many shapes
) => Promise<{ status: number; body: any }>;

/** The routes. Everybody may publish to `room:*` and to themselves. */
export function pushRoutes(sql: Statement, providers: readonly Provider[]): Hono<AuthEnv> {
  const app = new Hono<AuthEnv>();
  const budget = new BodyBudget();
  const devices = createDeviceStore(sql);
  app.onError((error, c) => {
    const problem = toProblem(error);
    return c.json(problem, problem.status as 500);
  });
  app.route("/", workerRoutes({ devices, providers }) as unknown as Hono<AuthEnv>);
  app.use("/v1/*", async (c, next) => {
    const name = c.req.header("as") ?? "ann";
    const user = name.replace("!", "");
    c.set("identity", {
      user,
      subscribe: [],
      publish: ["room:*", `user:${user}`],
      admin: name.startsWith("!"),
    });
    await next();
  });
  app.route("/", deviceRoutes({ devices, providers, budget }));
  app.route("/", digestRoutes({ digests: createDigestStore(sql), budget }));
  app.route("/", scheduleRoutes({ schedules: createScheduleBook(sql), budget, clock: systemClock }));
  return app;
}

/** Asks them without a network. */
export function pushApp(sql: Statement, providers: readonly Provider[]): Ask {
  const app = pushRoutes(sql, providers);
  return async (call, as, body, headers = {}) => {
    const [method = "", path = ""] = call.split(" ");
    const sent = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
    const response = await app.request(path, {
      method,
      headers: {
        ...(as === undefined ? {} : { as }),
        ...(sent === undefined
          ? {}
          : { "content-type": "application/json", "content-length": String(sent.length) }),
        ...headers,
      },
      ...(sent === undefined ? {} : { body: sent }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  };
}
