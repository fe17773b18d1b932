/**
 * All HTTP routes as one fetch handler: what holds for every request is here (ids, errors, headers, counts), what a route does is in
 * its own module.
 *
 * Invariants: every error is problem+json with a stable code; nothing of an unexpected error leaves but its request's id, under
 * which it is logged; labels of metrics come from routes and never from a request.
 * @module
 */
import type { HttpBindings } from "@hono/node-server";
import { OpenAPIHono } from "@hono/zod-openapi";
import { getLogger } from "@logtape/logtape";
import type { Context, Hono, MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import { requestId } from "hono/request-id";
import { routePath } from "hono/route";
import { TrieRouter } from "hono/router/trie-router";
import { Counter, Histogram, type Registry } from "prom-client";
import { DOCS_POLICY, docsPage } from "./api/docs.ts";
import { documented, openApiDocument } from "./api/openapi.ts";
import { type Readiness, systemRoutes } from "./api/system.ts";
import type { AuthEnv } from "./auth/middleware.ts";
import type { Clock } from "./clock.ts";
import { TidingsError, toProblem } from "./errors.ts";

/** The environment of every handler: under the server there are `incoming` and `outgoing`. */
export interface AppEnv extends AuthEnv {
  Bindings: Partial<HttpBindings>;
}

/** What an app is made of. */
export interface AppDeps {
  /** For the OpenAPI document. */
  version: string;
  clock: Clock;
  metrics: Registry;
  /** Whether everybody may read the metrics. */
  openMetrics: boolean;
  ready: () => Promise<Readiness>;
  /** Sets `identity` or throws; runs before `routes`. */
  authenticate: MiddlewareHandler<AuthEnv>;
  /** CORS. */
  allowOrigins: MiddlewareHandler;
  /** Routes under `/v1` that need an identity. */
  routes: readonly Hono<AuthEnv>[];
  /** Routes that look after themselves, such as pages and files. They come first. */
  // deno-lint-ignore no-explicit-any -- whatever their environment is, nothing here looks into it
  open?: readonly Hono<any>[];
}

/** The app. Its `fetch` goes to the server. */
export function createApp(deps: AppDeps): OpenAPIHono<AuthEnv> {
  const app = documented();
  const known = knownMethods(app);
  app.use(requestId());
  app.use(onlyErrors);
  app.use(observe(deps));
  app.use(secure);
  app.use(deps.allowOrigins);
  app.onError((error, c) => answer(c, error));
  app.notFound((c) => {
    const methods = known(c.req.path);
    if (methods.length === 0) {
      return answer(c, new TidingsError("not_found", `There is nothing at ${c.req.path.slice(0, 200)}`));
    }
    c.header("Allow", methods.join(", "));
    if (c.req.method === "OPTIONS") return c.body(null, 204);
    return answer(
      c,
      new TidingsError(
        "method_not_allowed",
        `Cannot ${c.req.method} ${c.req.path.slice(0, 200)}: it takes ${methods.join(", ")}`,
      ),
    );
  });

  for (const routes of deps.open ?? []) mount(app, routes);
  mount(app, systemRoutes(deps));
  mount(app, documents(app, deps.version));
  app.use("/v1/*", async (c, next) => {
    // an address without a route, or without this method, is that for everybody
    if (known(c.req.path).some((method) => method === c.req.method)) return await deps.authenticate(c, next);
    await next();
  });
  for (const routes of deps.routes) mount(app, routes);
  return app;
}

/** Documented routes bring their documentation along. */
// deno-lint-ignore no-explicit-any -- as above
function mount(app: OpenAPIHono<AuthEnv>, routes: Hono<any>): void {
  app.route("/", routes);
}

function documents(app: OpenAPIHono<AuthEnv>, version: string): OpenAPIHono<AuthEnv> {
  let document: object | undefined;
  let page: string | undefined;
  const get = () => document ??= openApiDocument(app, version);
  const headers = { "Cache-Control": "public, max-age=300" };
  const routes = new OpenAPIHono<AuthEnv>();
  routes.get("/openapi.json", (c) => c.json(get(), 200, headers));
  routes.get("/docs", async (c) => {
    page ??= await docsPage(get());
    return c.html(page, 200, { ...headers, "Content-Security-Policy": DOCS_POLICY });
  });
  return routes;
}

/** Which methods a path takes. Made when it is first asked, from all routes there are then. */
function knownMethods(app: OpenAPIHono<AuthEnv>): (path: string) => string[] {
  let router: TrieRouter<string> | undefined;
  return (path) => {
    if (router === undefined) {
      router = new TrieRouter();
      for (const route of app.routes) {
        if (route.method !== "ALL") router.add("ALL", route.path, route.method);
      }
    }
    const methods = new Set(router.match("ALL", path)[0].map(([method]) => method));
    if (methods.has("GET")) methods.add("HEAD");
    return [...methods].sort();
  };
}

/** Headers that make browsers careful with whatever an answer holds. */
const secure: MiddlewareHandler = async (c, next) => {
  // beforehand, for routes that write to the socket themselves
  c.header("Referrer-Policy", "no-referrer");
  c.header("X-Content-Type-Options", "nosniff");
  await next();
  for (const [name, value] of Object.entries(UNLESS_GIVEN)) {
    if (!c.res.headers.has(name)) c.header(name, value);
  }
};

/** What a route may say otherwise. */
const UNLESS_GIVEN: Readonly<Record<string, string>> = {
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "X-Frame-Options": "DENY",
};

/** The framework asks `onError` about Errors only; anything else that was thrown becomes one. */
const onlyErrors: MiddlewareHandler = async (_c, next) => {
  try {
    await next();
  } catch (thrown) {
    throw thrown instanceof Error
      ? thrown
      : new Error("Something other than an Error was thrown", { cause: thrown });
  }
};

/** Counts, times and logs requests. */
function observe({ clock, metrics }: AppDeps): MiddlewareHandler {
  const requests = new Counter({
    name: "tidings_http_requests_total",
    help: "HTTP requests that were answered",
    labelNames: ["method", "route", "status"],
    registers: [metrics],
  });
  const seconds = new Histogram({
    name: "tidings_http_request_duration_seconds",
    help: "From a request's headers to those of its answer",
    labelNames: ["method", "route"],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [metrics],
  });
  return async (c, next) => {
    const start = clock.now();
    await next();
    const method = METHODS.has(c.req.method) ? c.req.method : "other";
    const path = routePath(c, -1);
    const route = c.res.status === 404 || path.endsWith("*") ? "none" : path;
    const duration = (clock.now() - start) / 1_000;
    requests.inc({ method, route, status: c.res.status });
    seconds.observe({ method, route }, duration);
    getLogger(["tidings", "http"]).debug("{method} {path} {status}", {
      method,
      path: c.req.path,
      status: c.res.status,
      seconds: duration,
      requestId: c.get("requestId"),
    });
  };
}

const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** Any error as problem+json. */
function answer(c: Context, thrown: unknown): Response {
  const error = toKnown(c, thrown);
  const problem = toProblem(error);
  const requestId: string | undefined = c.get("requestId");
  const log = getLogger(["tidings", "http"]).with({ requestId, method: c.req.method, path: c.req.path });
  if (problem.code === "internal") {
    problem.detail = `It was logged as request ${requestId}`;
    log.error("Cannot answer {method} {path} (request {requestId}): {error}", { error });
  } else if (problem.status >= 500) {
    log.warn("Cannot answer {method} {path}: {reason}", {
      reason: problem.detail,
      cause: (error as Error).cause,
    });
  }
  if (problem.retryAfter !== undefined) c.header("Retry-After", String(Math.ceil(problem.retryAfter)));
  return c.body(JSON.stringify(problem), problem.status as 500, {
    "Content-Type": "application/problem+json",
  });
}

/** What the framework throws, in our words. */
function toKnown(c: Context, error: unknown): unknown {
  if (error instanceof TidingsError) return error;
  if (c.env?.incoming?.destroyed === true && !c.env.incoming.complete) {
    return new TidingsError("request_timeout", "Cannot read the body: the connection ended before it did");
  }
  if (!(error instanceof HTTPException)) return error;
  switch (error.status) {
    case 400:
      return new TidingsError("invalid_request", "Cannot read the body: it is not valid JSON");
    case 413:
      return new TidingsError("too_large", "Cannot read the body: it is too large");
    case 415:
      return new TidingsError(
        "unsupported_media_type",
        "Cannot read the body: expected Content-Type: application/json",
      );
    default:
      return error;
  }
}
