import assert from "node:assert/strict";
import { type Credentials, type CredentialsDeps, readCredentials } from "../../src/auth/credentials.ts";
import type { Identity } from "../../src/auth/identity.ts";
import { createOrigins, type RequestHead } from "../../src/auth/origin.ts";
import type { Tickets } from "../../src/auth/ticket.ts";
import { createVerifier, mint } from "../../src/auth/token.ts";
import { TidingsError } from "../../src/errors.ts";
import { manualClock } from "../helpers/manual_clock.ts";

const SECRET = "a secret of at least thirty-two bytes, for tests";
const HOST = "push.example.com";
const OWN = `https://${HOST}`;
const LISTED = "https://app.example.com";
const FOREIGN = "https://evil.test";

const clock = manualClock();
const verifier = createVerifier(
  { key: { secret: SECRET } },
  { clock, fetch: () => Promise.reject(new Error("nothing is fetched here")) },
);
const token = await mint(SECRET, { sub: "42" }, 60, clock);
const other = await mint(SECRET, { sub: "43" }, 60, clock);
const old = await mint(SECRET, { sub: "42" }, -60, clock);

/** Knows one ticket, `good`, and counts what is redeemed. */
function tickets(): Tickets & { redeemed: string[] } {
  const identity: Identity = { user: "44", subscribe: [], publish: [], admin: false };
  const redeemed: string[] = [];
  return {
    redeemed,
    create: () => Promise.reject(new Error("nothing is made here")),
    redeem(ticket) {
      redeemed.push(ticket);
      if (ticket === "good") return Promise.resolve(identity);
      return Promise.reject(new TidingsError("invalid_token", "Cannot accept the ticket"));
    },
  };
}

function deps(allowed: string[] = [], more: Partial<CredentialsDeps> = {}): CredentialsDeps {
  return { verifier, tickets: tickets(), origins: createOrigins(allowed), cookie: "session", ...more };
}

function get(headers: Record<string, string>, more: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    url: "/v1/feed",
    upgrade: false,
    header: (name) => ({ host: HOST, ...headers } as Record<string, string>)[name],
    ...more,
  };
}

function who(credentials: Credentials): string {
  return credentials.kind === "none" ? "none" : `${credentials.identity.user} by ${credentials.via}`;
}

async function outcome(request: RequestHead, against: CredentialsDeps): Promise<string> {
  return await readCredentials(request, against).then(who, (error) => {
    assert.ok(error instanceof TidingsError, String(error));
    return error.code;
  });
}

const bearer = { authorization: `Bearer ${token}` };
const cookie = { cookie: `theme=dark; session=${token}; last=1` };
const upgrade = { upgrade: true };
const post = { method: "POST" };

Deno.test("a bearer token is read, its scheme in any case", async () => {
  for (const value of [`Bearer ${token}`, `bearer ${token}`, `BEARER   ${token} `]) {
    assert.equal(await outcome(get({ authorization: value }), deps()), "42 by bearer");
  }
  assert.equal(await outcome(get({ authorization: `Bearer ${old}` }), deps()), "token_expired");
  assert.equal(await outcome(get({ authorization: "Bearer nonsense" }), deps()), "invalid_token");
});

Deno.test("an Authorization header without a scheme or without a token is refused, another scheme is a proxy's", async () => {
  for (const value of [token, "Bearer", "Bearer ", ""]) {
    assert.equal(await outcome(get({ authorization: value }), deps()), "invalid_token", value);
  }
  assert.equal(await outcome(get({ authorization: "Basic dTpw" }), deps()), "none");
  assert.equal(
    await outcome(get({ authorization: "Basic dTpw", ...cookie, origin: OWN }), deps()),
    "42 by cookie",
  );
});

Deno.test("a request without credentials has none, on an upgrade too", async () => {
  assert.equal(await outcome(get({}), deps()), "none");
  assert.equal(await outcome(get({}, upgrade), deps()), "none");
  assert.equal(await outcome(get({ cookie: "theme=dark" }), deps()), "none");
  assert.equal(await outcome(get({ cookie: "session=" }), deps()), "none");
});

Deno.test("a token in the URL is refused whatever else is sent, and the message names the ticket", async () => {
  const targets = [
    `/v1/feed?token=${token}`,
    `/v1/feed?since=now&access_token=${token}`,
    `/v1/feed?jwt=x`,
    `/v1/feed?token=`,
    `/v1/feed?ticket=${token}`,
    `${OWN}/v1/feed?token=${token}`,
  ];
  for (const url of targets) {
    for (const headers of [{}, bearer, { ...cookie, origin: OWN }]) {
      await assert.rejects(readCredentials(get(headers, { url }), deps()), (error: TidingsError) => {
        assert.equal(error.code, "invalid_request");
        assert.match(error.message, /ticket/);
        assert.ok(!error.message.includes(token));
        return true;
      });
    }
  }
});

Deno.test("a ticket is redeemed for reading, and only then", async () => {
  const url = "/v1/feed?since=now&ticket=good";
  assert.equal(await outcome(get({}, { url }), deps()), "44 by ticket");
  assert.equal(await outcome(get({}, { url, ...upgrade }), deps()), "44 by ticket");
  assert.equal(await outcome(get({}, { url: "/v1/feed?ticket=bad" }), deps()), "invalid_token");
  assert.equal(await outcome(get({}, { url: "/v1/feed?ticket=" }), deps()), "invalid_token");
  const against = deps();
  assert.equal(await outcome(get({}, { url, ...post }), against), "forbidden");
  assert.deepEqual((against.tickets as ReturnType<typeof tickets>).redeemed, []);
});

Deno.test("the token in the header decides over a ticket, and a ticket over the cookie", async () => {
  const against = deps();
  assert.equal(await outcome(get(bearer, { url: "/?ticket=good" }), against), "42 by bearer");
  assert.deepEqual((against.tickets as ReturnType<typeof tickets>).redeemed, []);
  assert.equal(
    await outcome(get({ ...cookie, origin: OWN }, { url: "/?ticket=good" }), deps()),
    "44 by ticket",
  );
  assert.equal(
    await outcome(get({ cookie: `session=${other}`, ...bearer, origin: FOREIGN }), deps()),
    "42 by bearer",
  );
  // what decides is not made up for by another
  assert.equal(
    await outcome(get({ ...cookie, origin: OWN, authorization: `Bearer ${old}` }), deps()),
    "token_expired",
  );
});

Deno.test("the cookie counts only under its configured name", async () => {
  const headers = { ...cookie, origin: OWN };
  const { cookie: _, ...withoutCookie } = deps();
  assert.equal(await outcome(get(headers), withoutCookie), "none");
  assert.equal(await outcome(get(headers), deps([], { cookie: "other" })), "none");
  assert.equal(await outcome(get(headers), deps([], { cookie: "sess" })), "none");
  assert.equal(await outcome(get({ cookie: `session=${old}`, origin: OWN }), deps()), "token_expired");
});

Deno.test("a cookie with Origin: the gateway's own and those listed by name, on reads, writes and upgrades alike", async () => {
  const lists: [string[], Record<string, string>][] = [
    [[], { [OWN]: "42 by cookie", [LISTED]: "origin_not_allowed", [FOREIGN]: "origin_not_allowed" }],
    [[LISTED], { [OWN]: "42 by cookie", [LISTED]: "42 by cookie", [FOREIGN]: "origin_not_allowed" }],
    [["*"], { [OWN]: "42 by cookie", [LISTED]: "origin_not_allowed", [FOREIGN]: "origin_not_allowed" }],
    [["https://*.example.com"], { [OWN]: "42 by cookie", [LISTED]: "origin_not_allowed" }],
    [["*", LISTED], {
      [LISTED]: "42 by cookie",
      [FOREIGN]: "origin_not_allowed",
      "null": "origin_not_allowed",
    }],
  ];
  for (const [allowed, expected] of lists) {
    for (const [origin, result] of Object.entries(expected)) {
      for (const kind of [{}, post, upgrade]) {
        assert.equal(
          await outcome(get({ ...cookie, origin }, kind), deps(allowed)),
          result,
          `${origin} against ${allowed}, ${JSON.stringify(kind)}`,
        );
      }
    }
  }
});

Deno.test("a cookie without Origin: never on a write or an upgrade, on a read when the page is known", async () => {
  const own = { ...cookie, "sec-fetch-site": "same-origin" };
  assert.equal(await outcome(get(own), deps()), "42 by cookie");
  assert.equal(await outcome(get(own, { method: "HEAD" }), deps()), "42 by cookie");
  assert.equal(await outcome(get({ ...cookie, referer: `${OWN}/page` }), deps()), "42 by cookie");
  for (const kind of [post, upgrade, { method: "DELETE" }, { method: "PUT" }]) {
    assert.equal(await outcome(get(own, kind), deps()), "origin_not_allowed", JSON.stringify(kind));
  }
  for (
    const headers of [
      cookie,
      { ...cookie, "sec-fetch-site": "cross-site" },
      { ...cookie, "sec-fetch-site": "same-site" },
      { ...cookie, referer: `${FOREIGN}/${HOST}` },
    ]
  ) assert.equal(await outcome(get(headers), deps()), "origin_not_allowed", JSON.stringify(headers));
});

Deno.test("with allowed origins configured a foreign origin is refused whatever its credentials", async () => {
  for (const kind of [{}, post, upgrade]) {
    for (const headers of [{}, bearer, cookie]) {
      assert.equal(
        await outcome(get({ ...headers, origin: FOREIGN }, kind), deps([LISTED])),
        "origin_not_allowed",
      );
    }
    assert.equal(await outcome(get({ ...bearer, origin: LISTED }, kind), deps([LISTED])), "42 by bearer");
    assert.equal(await outcome(get({ ...bearer, origin: OWN }, kind), deps([LISTED])), "42 by bearer");
    assert.equal(await outcome(get(bearer, kind), deps([LISTED])), "42 by bearer");
    assert.equal(await outcome(get({ ...bearer, origin: FOREIGN }, kind), deps(["*"])), "42 by bearer");
  }
  const against = deps([LISTED]);
  assert.equal(
    await outcome(get({ origin: FOREIGN }, { url: "/?ticket=good" }), against),
    "origin_not_allowed",
  );
  assert.deepEqual((against.tickets as ReturnType<typeof tickets>).redeemed, []);
});

Deno.test("without allowed origins a page from anywhere may come with a token of its own", async () => {
  assert.equal(await outcome(get({ ...bearer, origin: FOREIGN }), deps()), "42 by bearer");
  assert.equal(await outcome(get({ origin: FOREIGN }, upgrade), deps()), "none");
  assert.equal(
    await outcome(get({ origin: FOREIGN }, { url: "/?ticket=good", ...upgrade }), deps()),
    "44 by ticket",
  );
});
