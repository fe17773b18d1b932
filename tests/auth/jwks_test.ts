import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { type JWTHeaderParameters, SignJWT } from "jose";
import { JWKS } from "../../src/auth/jwks.ts";
import { createVerifier } from "../../src/auth/token.ts";
import { TidingsError } from "../../src/errors.ts";
import { manualClock } from "../helpers/manual_clock.ts";

const URL_OF_KEYS = "https://id.example.com/keys";

interface Signer {
  jwk: Record<string, unknown>;
  sign(header?: Partial<JWTHeaderParameters>): Promise<string>;
}

function signer(kid: string | undefined, alg = "ES256"): Signer {
  const { publicKey, privateKey } = alg === "ES256"
    ? generateKeyPairSync("ec", { namedCurve: "P-256" })
    : generateKeyPairSync("rsa", { modulusLength: 2048 });
  const named = kid === undefined ? {} : { kid };
  return {
    jwk: { ...publicKey.export({ format: "jwk" }), ...named },
    sign: (header) =>
      new SignJWT({ sub: "42" }).setProtectedHeader({ alg, ...named, ...header }).sign(
        privateKey as KeyObject,
      ),
  };
}

/** An issuer that answers as the test says, and counts. */
function issuer(...keys: Signer[]) {
  const clock = manualClock();
  const self = {
    clock,
    keys,
    requests: 0,
    answer: (): Response | Promise<Response> => Response.json({ keys: self.keys.map(({ jwk }) => jwk) }),
    fetch: async (url: string, init: RequestInit): Promise<Response> => {
      assert.equal(url, URL_OF_KEYS);
      self.requests++;
      const answer = self.answer();
      if (answer instanceof Response) return answer;
      return await Promise.race([
        answer,
        new Promise<never>((_, reject) =>
          init.signal?.addEventListener("abort", () => reject(init.signal?.reason), { once: true })
        ),
      ]);
    },
  };
  return Object.assign(self, {
    verifier: createVerifier({ key: { jwksUrl: URL_OF_KEYS } }, { clock, fetch: self.fetch }),
  });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(() => assert.fail("it was accepted"), (reason) => reason);
  assert.ok(error instanceof TidingsError, String(error));
  return error.code;
}

Deno.test("keys are fetched when the first token comes, once for all who wait, and kept", async () => {
  const one = signer("one");
  const site = issuer(one);
  const token = await one.sign();
  assert.equal(site.requests, 0);
  const identities = await Promise.all(Array.from({ length: 20 }, () => site.verifier.verify(token)));
  assert.ok(identities.every(({ user }) => user === "42"));
  site.clock.advance(JWKS.maxAge - 1);
  await site.verifier.verify(token);
  assert.equal(site.requests, 1);
});

Deno.test("a token of a new key is accepted once the issuer has it, and made-up keys do not hammer the issuer", async () => {
  const [one, two] = [signer("one"), signer("two")];
  const site = issuer(one);
  await site.verifier.verify(await one.sign());
  site.keys = [one, two];
  // within the cooldown the issuer is not asked again, however many come
  const early = await two.sign();
  for (let i = 0; i < 10; i++) assert.equal(await codeOf(site.verifier.verify(early)), "invalid_token");
  assert.equal(site.requests, 1);
  site.clock.advance(JWKS.cooldown);
  assert.equal((await site.verifier.verify(early)).user, "42");
  assert.equal(site.requests, 2);
  for (let i = 0; i < 10; i++) {
    assert.equal(
      await codeOf(site.verifier.verify(await one.sign({ kid: `made-up-${i}` }))),
      "invalid_token",
    );
  }
  assert.equal(site.requests, 2);
});

Deno.test("a key that the issuer took back stops working when the kept keys are old", async () => {
  const [one, two] = [signer("one"), signer("two")];
  const site = issuer(one, two);
  await site.verifier.verify(await one.sign());
  site.keys = [two];
  site.clock.advance(JWKS.maxAge);
  assert.equal(await codeOf(site.verifier.verify(await one.sign())), "invalid_token");
  assert.equal((await site.verifier.verify(await two.sign())).user, "42");
});

Deno.test("an issuer that cannot be reached is unavailable and not the token's fault, and is asked again soon", async () => {
  const one = signer("one");
  const site = issuer(one);
  const answer = site.answer;
  site.answer = () => Promise.reject(new TypeError("connection refused"));
  assert.equal(await codeOf(site.verifier.verify(await one.sign())), "unavailable");
  assert.equal(await codeOf(site.verifier.verify(await one.sign())), "unavailable");
  assert.equal(site.requests, 1);
  site.answer = answer;
  site.clock.advance(JWKS.retry);
  assert.equal((await site.verifier.verify(await one.sign())).user, "42");
});

Deno.test("while the issuer is away its last keys stay in use, for a day and no longer", async () => {
  const [one, two] = [signer("one"), signer("two")];
  const site = issuer(one);
  await site.verifier.verify(await one.sign());
  site.answer = () => new Response("away", { status: 503 });
  site.clock.advance(JWKS.maxAge);
  assert.equal((await site.verifier.verify(await one.sign())).user, "42");
  // a key that is not known may be new: only the issuer could tell
  assert.equal(await codeOf(site.verifier.verify(await two.sign())), "unavailable");
  site.clock.advance(JWKS.stale - JWKS.maxAge - 1);
  assert.equal((await site.verifier.verify(await one.sign())).user, "42");
  site.clock.advance(JWKS.retry);
  assert.equal(await codeOf(site.verifier.verify(await one.sign())), "unavailable");
});

Deno.test("an issuer that does not answer holds nobody up for longer than the timeout, nor a second time", async () => {
  const one = signer("one");
  const site = issuer(one);
  const token = await one.sign();
  await site.verifier.verify(token);
  const asked = Promise.withResolvers<void>();
  site.answer = () => {
    asked.resolve();
    return new Promise(() => {});
  };
  site.clock.advance(JWKS.maxAge);
  const waiting = site.verifier.verify(token);
  await asked.promise;
  site.clock.advance(JWKS.timeout);
  assert.equal((await waiting).user, "42");
  site.clock.advance(JWKS.retry);
  // another request is under way, and the kept keys answer without it
  assert.equal((await site.verifier.verify(token)).user, "42");
  assert.equal(site.requests, 3);
  site.clock.advance(JWKS.timeout);
  assert.equal(site.clock.waiting, 0);
});

Deno.test("an answer that is no key set, too large, or of too many keys is not believed", async () => {
  const one = signer("one");
  const answers: [string, () => Response][] = [
    ["not JSON", () => new Response("<html>")],
    ["another shape", () => Response.json({ key: one.jwk })],
    ["not a list", () => Response.json({ keys: {} })],
    ["members of another shape", () => Response.json({ keys: ["x"] })],
    ["an error", () => Response.json({ keys: [one.jwk] }, { status: 500 })],
    ["too large", () => Response.json({ keys: [one.jwk], pad: "x".repeat(JWKS.maxBytes) })],
    ["too many", () => Response.json({ keys: Array(JWKS.maxKeys + 1).fill(one.jwk) })],
    ["no body", () => new Response(null)],
  ];
  for (const [what, answer] of answers) {
    const site = issuer(one);
    site.answer = answer;
    assert.equal(await codeOf(site.verifier.verify(await one.sign())), "unavailable", what);
  }
});

Deno.test("an endless answer is cut off", async () => {
  const one = signer("one");
  const site = issuer(one);
  let sent = 0;
  const cut = Promise.withResolvers<void>();
  site.answer = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          sent += 64 * 1024;
          controller.enqueue(new Uint8Array(64 * 1024).fill(32));
        },
        cancel: () => cut.resolve(),
      }),
    );
  assert.equal(await codeOf(site.verifier.verify(await one.sign())), "unavailable");
  await cut.promise;
  assert.ok(sent <= JWKS.maxBytes + 3 * 64 * 1024, String(sent));
});

Deno.test("a token without a key id is tried with every key of its kind", async () => {
  const keys = [signer("one"), signer("two"), signer("three", "RS256")];
  const site = issuer(...keys);
  for (const key of keys) {
    assert.equal((await site.verifier.verify(await nameless(key))).user, "42");
  }
  assert.equal(await codeOf(site.verifier.verify(await nameless(signer("stranger")))), "invalid_token");
});

Deno.test("a key set verifies no secrets and no none, even where it lists them", async () => {
  const one = signer("one", "RS256");
  const site = issuer(one);
  const secret = new TextEncoder().encode("x".repeat(32));
  site.answer = () =>
    Response.json({
      keys: [{ kty: "oct", kid: "s", k: btoa("x".repeat(32)).replaceAll("=", "") }, one.jwk],
    });
  const shared = await new SignJWT({ sub: "42" }).setProtectedHeader({ alg: "HS256", kid: "s" }).sign(secret);
  assert.equal(await codeOf(site.verifier.verify(shared)), "invalid_token");
  const pem = new TextEncoder().encode(JSON.stringify(one.jwk));
  const confused = await new SignJWT({ sub: "42" }).setProtectedHeader({ alg: "HS256", kid: "one" }).sign(
    pem,
  );
  assert.equal(await codeOf(site.verifier.verify(confused)), "invalid_token");
});

/** A token of a key, without its id. */
function nameless(key: Signer): Promise<string> {
  const header: Record<string, unknown> = {};
  header.kid = undefined;
  return key.sign(header);
}
