import assert from "node:assert/strict";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { Hono } from "hono";
import { BodyBudget } from "../src/api/body.ts";
import type { AuthEnv } from "../src/auth/middleware.ts";
import { TidingsError } from "../src/errors.ts";
import { type TestApi, testApi, type TestApiOptions } from "./helpers/api.ts";

/** The app without a database: nothing here asks for one. */
async function api(options: TestApiOptions = {}): Promise<TestApi> {
  return await testApi({ url: "postgres://127.0.0.1:1/none" }, { database: false, ...options });
}

async function problem(response: Response) {
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  return await response.json();
}

Deno.test("an address where nothing is answers 404, another method 405 with what is allowed", async () => {
  await using app = await api();
  for (const path of ["/", "/nothing", "/v1", "/v1/nothing", "/v1/topics", "/v1/topics/a/b"]) {
    const response = await fetch(app.url + path);
    assert.equal(response.status, 404, path);
    assert.deepEqual(await problem(response), {
      type: "urn:tidings:error:not_found",
      title: "There is nothing here",
      status: 404,
      code: "not_found",
      detail: `There is nothing at ${path}`,
    });
  }
  for (
    const [method, path, allow] of [
      ["GET", "/v1/notifications", "POST"],
      ["DELETE", "/v1/topics/user:1", "POST"],
      ["POST", "/healthz", "GET, HEAD"],
      ["PATCH", "/openapi.json", "GET, HEAD"],
    ] as const
  ) {
    const response = await fetch(app.url + path, { method });
    assert.equal(response.status, 405, path);
    assert.equal(response.headers.get("allow"), allow);
    assert.equal((await problem(response)).code, "method_not_allowed");
  }
  const options = await fetch(`${app.url}/v1/notifications`, { method: "OPTIONS" });
  assert.equal(options.status, 204);
  assert.equal(options.headers.get("allow"), "POST");
  const head = await fetch(`${app.url}/healthz`, { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), "");
});

Deno.test("every answer has a request id: the client's where it is sane, else a new one", async () => {
  await using app = await api();
  const ask = async (id?: string) => {
    const response = await fetch(
      `${app.url}/healthz`,
      id === undefined ? {} : { headers: { "x-request-id": id } },
    );
    await response.body?.cancel();
    return response.headers.get("x-request-id");
  };
  assert.equal(await ask("abc-123"), "abc-123");
  for (const id of ["a b", "x".repeat(256), "<script>"]) {
    assert.match(await ask(id) ?? "", /^[0-9a-f-]{36}$/);
  }
  assert.notEqual(await ask(), await ask());
});

Deno.test("every answer carries careful headers, an error as well", async () => {
  await using app = await api();
  for (const path of ["/healthz", "/nothing", "/v1/notifications"]) {
    const response = await fetch(app.url + path);
    await response.body?.cancel();
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    assert.equal(response.headers.get("referrer-policy"), "no-referrer");
    assert.equal(response.headers.get("x-frame-options"), "DENY");
    assert.equal(
      response.headers.get("content-security-policy"),
      "default-src 'none'; frame-ancestors 'none'",
    );
  }
});

/** Routes that fail in all ways. */
function failing() {
  return new Hono<AuthEnv>()
    .get("/v1/broken", () => {
      throw new TypeError("the secret is hunter2");
    })
    .get("/v1/rejected", () => Promise.reject({ not: "an error" }))
    .get("/v1/later", () => {
      throw new TidingsError("unavailable", "Cannot do it now: try again", { retryAfter: 1.2 });
    });
}

Deno.test("an error that nobody foresaw tells the client its id only, and the log everything", async () => {
  const records: LogRecord[] = [];
  await configure({
    sinks: { memory: (record) => records.push(record) },
    loggers: [
      { category: "tidings", lowestLevel: "info", sinks: ["memory"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["memory"] },
    ],
  });
  try {
    await using app = await api({ routes: [failing()] });
    const response = await app.call("/v1/broken", { headers: { "x-request-id": "broken-1" } });
    assert.equal(response.status, 500);
    assert.deepEqual(await problem(response), {
      type: "urn:tidings:error:internal",
      title: "Something went wrong here",
      status: 500,
      code: "internal",
      detail: "It was logged as request broken-1",
    });
    const strange = await app.call("/v1/rejected");
    assert.equal(strange.status, 500);
    assert.equal((await problem(strange)).code, "internal");
    const [logged] = records.filter(({ level }) => level === "error");
    assert.equal(logged?.properties["requestId"], "broken-1");
    assert.match(String(logged?.properties["error"]), /hunter2/);

    const later = await app.call("/v1/later");
    assert.equal(later.status, 503);
    assert.equal(later.headers.get("retry-after"), "2");
    assert.equal((await problem(later)).detail, "Cannot do it now: try again");
    assert.ok(records.some(({ level }) => level === "warning"));
  } finally {
    await reset();
  }
});

Deno.test("/healthz and /readyz answer everybody; /readyz says no with 503 and what is wrong", async () => {
  let ok = true;
  await using app = await api({
    ready: () => Promise.resolve({ ok, checks: { log: ok ? "ok" : "not read for 12 s" } }),
  });
  const ask = async (path: string) => {
    const response = await fetch(app.url + path);
    assert.equal(response.headers.get("cache-control"), "no-store");
    return [response.status, await response.json()];
  };
  assert.deepEqual(await ask("/healthz"), [200, { ok: true }]);
  assert.deepEqual(await ask("/readyz"), [200, { ok: true, checks: { log: "ok" } }]);
  ok = false;
  assert.deepEqual(await ask("/readyz"), [503, { ok: false, checks: { log: "not read for 12 s" } }]);
  assert.deepEqual(await ask("/healthz"), [200, { ok: true }]);
});

Deno.test("/metrics is for administrators, and counts requests by route and never by what they ask for", async () => {
  await using app = await api();
  assert.equal((await problem(await fetch(`${app.url}/metrics`))).code, "token_required");
  assert.equal((await problem(await app.call("/metrics"))).code, "forbidden");
  for (const path of ["/healthz", "/nothing-1", "/nothing-2", "/v1/topics/user:1"]) {
    await (await fetch(app.url + path, { method: path.startsWith("/v1") ? "POST" : "GET" })).body?.cancel();
  }
  const admin = await app.token("root", { admin: true });
  const response = await app.call("/metrics", {}, admin);
  assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=/);
  const text = await response.text();
  assert.match(text, /tidings_http_requests_total\{method="GET",route="\/healthz",status="200"\} 1/);
  assert.match(text, /tidings_http_requests_total\{method="GET",route="none",status="404"\} 2/);
  assert.match(
    text,
    /tidings_http_requests_total\{method="POST",route="\/v1\/topics\/:topic",status="401"\} 1/,
  );
  assert.match(text, /tidings_http_request_duration_seconds_count\{method="GET",route="\/healthz"\} 1/);
  assert.doesNotMatch(text, /nothing-|user:1/);

  await using open = await api({ openMetrics: true });
  const free = await fetch(`${open.url}/metrics`);
  assert.equal(free.status, 200);
  await free.body?.cancel();
});

Deno.test("pages of allowed origins may ask, others are told nothing", async () => {
  await using app = await api({ origins: ["https://app.example.com"] });
  const preflight = (origin: string) =>
    fetch(`${app.url}/v1/notifications`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      },
    });
  const allowed = await preflight("https://app.example.com");
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get("access-control-allow-origin"), "https://app.example.com");
  const foreign = await preflight("https://evil.test");
  assert.equal(foreign.headers.get("access-control-allow-origin"), null);
  // an error has to be readable, too
  const refused = await fetch(`${app.url}/v1/notifications`, {
    method: "POST",
    headers: { origin: "https://app.example.com" },
  });
  assert.equal(refused.headers.get("access-control-allow-origin"), "https://app.example.com");
  assert.equal((await problem(refused)).code, "token_required");
});

Deno.test("bodies under way are bounded for each user and all together", () => {
  const budget = new BodyBudget({ total: 100, perUser: 60 });
  const code = (expected: string) => (error: unknown) =>
    error instanceof TidingsError && error.code === expected;
  const ann = budget.take("ann", 50);
  assert.throws(() => budget.take("ann", 20), code("too_many_requests"));
  const bob = budget.take("bob", 50);
  assert.throws(() => budget.take("cid", 1), code("unavailable"));
  ann();
  assert.equal(budget.held, 50);
  const cid = budget.take("cid", 50);
  bob();
  cid();
  assert.equal(budget.held, 0);
  // one that is larger than all still gets its turn when nothing else is there
  budget.take("ann", 1_000)();
  assert.equal(budget.held, 0);
});

Deno.test("a body budget is given back however the request ends", async () => {
  const budget = new BodyBudget();
  await using app = await api({ budget });
  for (const body of ["{", "{}", '{"to":"all"}']) {
    const response = await app.send(body);
    assert.ok(response.status >= 400);
    await response.body?.cancel();
  }
  assert.equal(budget.held, 0);
});

Deno.test("/docs shows every operation and schema, with nothing from elsewhere and no script", async () => {
  await using app = await api();
  const response = await fetch(`${app.url}/docs`);
  assert.equal(response.status, 200);
  assert.match(
    response.headers.get("content-security-policy") ?? "",
    /^default-src 'none'; style-src 'sha256-/,
  );
  const page = await response.text();
  for (
    const part of [
      "POST /v1/notifications",
      "POST /v1/topics/{topic}",
      'id="schema-Publication"',
      "collapseKey",
    ]
  ) {
    assert.ok(page.includes(part), part);
  }
  assert.doesNotMatch(page, /<script|https?:\/\/(?!example)|\[object|undefined/);
  for (const [, target] of page.matchAll(/href="#([^"]+)"/g)) {
    assert.ok(page.includes(`id="${target}"`), `${target}`);
  }
});
