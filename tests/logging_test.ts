import assert from "node:assert/strict";
import { mint } from "../src/auth/token.ts";
import { systemClock } from "../src/clock.ts";
import { mask } from "../src/logging.ts";

Deno.test("mask() hides tokens, tickets and the passwords of URLs, and leaves the rest", async () => {
  const token = await mint("x".repeat(40), { sub: "42" }, 60, systemClock);
  assert.equal(mask(`Bearer ${token}, refused`), "Bearer (token), refused");
  assert.equal(
    mask('"postgres://me:p:w@db:5432/app" and http://user:pw@host/path?x=1'),
    '"postgres://me:(password)@db:5432/app" and http://user:(password)@host/path?x=1',
  );
  assert.equal(mask("GET /v1/feed?ticket=abc-DEF_1&since=now"), "GET /v1/feed?ticket=(ticket)&since=now");
  const harmless = "Listening on http://127.0.0.1:8080 at 10:30, mail me@example.com";
  assert.equal(mask(harmless), harmless);
});
