import assert from "node:assert/strict";
import { Hono } from "hono";
import { allowOrigins, authenticate, type AuthEnv, requireAdmin } from "../../src/auth/middleware.ts";
import { createOrigins } from "../../src/auth/origin.ts";
import { createVerifier, mint } from "../../src/auth/token.ts";
import { toProblem } from "../../src/errors.ts";
import { manualClock } from "../helpers/manual_clock.ts";

const SECRET = "a secret of at least thirty-two bytes, for tests";
const LISTED = "https://app.example.com";
const FOREIGN = "https://evil.test";
const clock = manualClock();
const token = await mint(SECRET, { sub: "42" }, 60, clock);
const adminToken = await mint(SECRET, { sub: "1", tidings: { admin: true } }, 60, clock);

function app(...allowed: string[]): Hono<AuthEnv> {
  const never = () => Promise.reject(new Error("no tickets here"));
  const origins = createOrigins(allowed);
  const verifier = createVerifier({ key: { secret: SECRET } }, { clock, fetch: never });
  return new Hono<AuthEnv>()
    .use(allowOrigins(origins))
    .use(authenticate({ verifier, tickets: { create: never, redeem: never }, origins, cookie: "session" }))
    .all("/who", (c) => c.text(c.get("identity").user))
    .get("/admin", requireAdmin(), (c) => c.text("yes"))
    .onError((error, c) => {
      const problem = toProblem(error);
      return c.json(problem, problem.status as 400);
    });
}

function bearer(value = token): Record<string, string> {
  return { authorization: `Bearer ${value}` };
}

Deno.test("authenticate() sets the identity that handlers read", async () => {
  const response = await app().request("/who", { headers: bearer() });
  assert.equal(response.status, 200);
  assert.equal(await response.text(), "42");
  assert.equal(response.headers.get("www-authenticate"), null);
});

Deno.test("authenticate() answers a request without credentials with token_required, and names the scheme", async () => {
  const response = await app().request("/who");
  assert.equal(response.status, 401);
  assert.equal(response.headers.get("www-authenticate"), "Bearer");
  assert.equal((await response.json()).code, "token_required");
  const wrong = await app().request("/who", { headers: bearer("x") });
  assert.equal(wrong.headers.get("www-authenticate"), "Bearer");
  assert.equal((await wrong.json()).code, "invalid_token");
});

Deno.test("authenticate() refuses a token in the URL", async () => {
  const response = await app().request(`/who?token=${token}`);
  assert.equal(response.status, 400);
  assert.equal((await response.json()).code, "invalid_request");
});

Deno.test("requireAdmin() lets administrators through and nobody else", async () => {
  assert.equal((await app().request("/admin", { headers: bearer(adminToken) })).status, 200);
  const response = await app().request("/admin", { headers: bearer() });
  assert.equal(response.status, 403);
  assert.equal((await response.json()).code, "forbidden");
});

Deno.test("an answer to a listed origin may be read there, with cookies", async () => {
  const response = await app(LISTED).request("/who", { headers: { ...bearer(), origin: LISTED } });
  assert.equal(response.headers.get("access-control-allow-origin"), LISTED);
  assert.equal(response.headers.get("access-control-allow-credentials"), "true");
  assert.match(response.headers.get("vary") ?? "", /Origin/);
});

Deno.test("an answer to an origin that a wildcard or a star covers may be read there, without cookies", async () => {
  for (const entry of ["https://*.example.com", "*"]) {
    const response = await app(entry).request("/who", { headers: { ...bearer(), origin: LISTED } });
    assert.equal(response.headers.get("access-control-allow-origin"), LISTED);
    assert.equal(response.headers.get("access-control-allow-credentials"), null);
    assert.match(response.headers.get("vary") ?? "", /Origin/);
  }
});

Deno.test("an answer to a foreign origin may not be read there, an error included", async () => {
  const response = await app(LISTED).request("/who", { headers: { ...bearer(), origin: FOREIGN } });
  assert.equal(response.status, 403);
  assert.equal((await response.json()).code, "origin_not_allowed");
  assert.equal(response.headers.get("access-control-allow-origin"), null);
  const unconfigured = await app().request("/who", { headers: { ...bearer(), origin: FOREIGN } });
  assert.equal(unconfigured.headers.get("access-control-allow-origin"), null);
});

Deno.test("an error may be read by a listed origin", async () => {
  const response = await app(LISTED).request("/who", { headers: { origin: LISTED } });
  assert.equal(response.status, 401);
  assert.equal(response.headers.get("access-control-allow-origin"), LISTED);
});

Deno.test("a preflight is answered without credentials for a listed origin, and not for a foreign one", async () => {
  const preflight = (origin: string) =>
    app(LISTED).request("/who", {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization,idempotency-key",
      },
    });
  const response = await preflight(LISTED);
  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-origin"), LISTED);
  assert.match(response.headers.get("access-control-allow-methods") ?? "", /PUT/);
  assert.match(response.headers.get("access-control-allow-headers") ?? "", /authorization/);
  const refused = await preflight(FOREIGN);
  assert.equal(refused.status, 403);
  assert.equal(refused.headers.get("access-control-allow-origin"), null);
});
