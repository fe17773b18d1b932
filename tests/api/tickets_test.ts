import assert from "node:assert/strict";
import { OpenAPIHono } from "@hono/zod-openapi";
import { ticketRoutes } from "../../src/api/tickets.ts";
import { readCredentials } from "../../src/auth/credentials.ts";
import { authenticate, type AuthEnv } from "../../src/auth/middleware.ts";
import { createOrigins } from "../../src/auth/origin.ts";
import { createTickets } from "../../src/auth/ticket.ts";
import { createTicketStore, MAX_OPEN_TICKETS } from "../../src/auth/ticket_store.ts";
import { createVerifier, mint } from "../../src/auth/token.ts";
import { systemClock } from "../../src/clock.ts";
import { toProblem } from "../../src/errors.ts";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";

const SECRET = "a secret of at least thirty-two bytes, for tests";
const OWN = "https://push.example.com";
const token = await mint(SECRET, { sub: "42", tidings: { subscribe: ["climb:*"] } }, 600, systemClock);

function gateway(database: TestDatabase) {
  const deps = {
    verifier: createVerifier({ key: { secret: SECRET } }, { clock: systemClock, fetch }),
    tickets: createTickets(createTicketStore(database.sql), { clock: systemClock }),
    origins: createOrigins([]),
    cookie: "session",
  };
  const app = new OpenAPIHono<AuthEnv>();
  app.use(authenticate(deps));
  app.route("/", ticketRoutes(deps));
  app.get("/who", (c) => c.json(c.get("identity")));
  app.onError((error, c) => {
    const problem = toProblem(error);
    return c.json(problem, problem.status as 400);
  });
  return { app, deps };
}

const post = (headers: Record<string, string>) => ({ method: "POST", headers });
const bearer = { authorization: `Bearer ${token}` };

Deno.test("POST /v1/tickets makes a ticket that lets its user in once, over HTTP or by an upgrade", async () => {
  await using database = await testDatabase();
  const { app, deps } = gateway(database);
  for (const upgrade of [false, true]) {
    const response = await app.request("/v1/tickets", post(bearer));
    assert.equal(response.status, 201);
    assert.equal(response.headers.get("cache-control"), "no-store");
    const { ticket, expiresAt } = await response.json();
    assert.match(expiresAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const expected = await deps.verifier.verify(token);
    if (upgrade) {
      const head = { method: "GET", url: `/v1/feed?ticket=${ticket}`, upgrade, header: () => undefined };
      assert.deepEqual(await readCredentials(head, deps), {
        kind: "identity",
        identity: expected,
        via: "ticket",
      });
    } else {
      assert.deepEqual(await (await app.request(`/who?ticket=${ticket}`)).json(), expected);
    }
    const again = await app.request(`/who?ticket=${ticket}`);
    assert.equal(again.status, 401);
    assert.equal((await again.json()).code, "invalid_token");
  }
});

Deno.test("POST /v1/tickets takes the cookie from the gateway's own pages, and not from foreign ones", async () => {
  await using database = await testDatabase();
  const { app } = gateway(database);
  const headers = { cookie: `session=${token}`, host: "push.example.com" };
  assert.equal((await app.request("/v1/tickets", post({ ...headers, origin: OWN }))).status, 201);
  for (const origin of [{ origin: "https://evil.test" }, {}]) {
    const response = await app.request("/v1/tickets", post({ ...headers, ...origin }));
    assert.equal(response.status, 403);
    assert.equal((await response.json()).code, "origin_not_allowed");
  }
});

Deno.test("POST /v1/tickets makes none without a token, none for a ticket, and not too many", async () => {
  await using database = await testDatabase();
  const { app } = gateway(database);
  const codeOf = async (path: string, headers: Record<string, string>) =>
    (await (await app.request(path, post(headers))).json()).code;
  assert.equal(await codeOf("/v1/tickets", {}), "token_required");
  const { ticket } = await (await app.request("/v1/tickets", post(bearer))).json();
  assert.equal(await codeOf(`/v1/tickets?ticket=${ticket}`, {}), "forbidden");
  for (let i = 1; i < MAX_OPEN_TICKETS; i++) await app.request("/v1/tickets", post(bearer));
  const response = await app.request("/v1/tickets", post(bearer));
  assert.equal(response.status, 429);
  assert.equal((await response.json()).retryAfter, 30);
});

Deno.test("the ticket route is in the OpenAPI document", async () => {
  await using database = await testDatabase();
  const { app } = gateway(database);
  const document = app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "x", version: "1" } });
  const route = document.paths?.["/v1/tickets"]?.post;
  assert.deepEqual(Object.keys(route?.responses ?? {}), ["201", "401", "403", "429", "503"]);
});
