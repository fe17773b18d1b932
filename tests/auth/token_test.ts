import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { SignJWT } from "jose";
import { createVerifier, LEEWAY, MAX_TOKEN, mint, type VerifierOptions } from "../../src/auth/token.ts";
import { TidingsError } from "../../src/errors.ts";
import { manualClock } from "../helpers/manual_clock.ts";

const SECRET = "a secret of at least thirty-two bytes, for tests";
const clock = manualClock();
const now = clock.now() / 1_000;
const bytes = (text: string) => new TextEncoder().encode(text);
const noFetch = () => Promise.reject(new Error("nothing is fetched here"));

function verifier(options: Partial<VerifierOptions> = {}) {
  return createVerifier({ key: { secret: SECRET }, ...options }, { clock, fetch: noFetch });
}

function sign(
  payload: Record<string, unknown>,
  key: Uint8Array | KeyObject = bytes(SECRET),
  alg = "HS256",
): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg }).sign(key);
}

function raw(header: unknown, payload: unknown, signature = ""): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part(header)}.${part(payload)}.${signature}`;
}

/** Asserts the code, and that the message or the named field says what is wrong. */
async function refused(promise: Promise<unknown>, code: string, says: RegExp, field?: string): Promise<void> {
  const error = await promise.then(() => assert.fail("it was accepted"), (reason) => reason);
  assert.ok(error instanceof TidingsError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, says);
  if (field !== undefined) assert.ok(error.details.errors?.some((one) => one.field === field), error.message);
}

Deno.test("verify() returns the identity that mint() put in", async () => {
  const token = await mint(
    SECRET,
    { sub: "42", tidings: { subscribe: ["climb:*"], publish: ["user:*"], admin: true } },
    3_600,
    clock,
  );
  assert.deepEqual(await verifier().verify(token), {
    user: "42",
    expiresAt: clock.now() + 3_600_000,
    issuedAt: clock.now(),
    subscribe: ["climb:*"],
    publish: ["user:*"],
    admin: true,
  });
});

Deno.test("a token without rights has none, and one without exp does not end by itself", async () => {
  assert.deepEqual(await verifier().verify(await sign({ sub: "42" })), {
    user: "42",
    subscribe: [],
    publish: [],
    admin: false,
  });
});

Deno.test("a token without exp is refused where expiry is required", async () => {
  await refused(
    verifier({ requireExpiry: true }).verify(await sign({ sub: "42" })),
    "invalid_token",
    /exp/,
    "exp",
  );
  await verifier({ requireExpiry: true }).verify(await sign({ sub: "42", exp: now + 1 }));
});

Deno.test("exp is exact", async () => {
  await refused(verifier().verify(await sign({ sub: "42", exp: now })), "token_expired", /expired/);
  await refused(verifier().verify(await sign({ sub: "42", exp: now - 3_600 })), "token_expired", /expired/);
  assert.equal(
    (await verifier().verify(await sign({ sub: "42", exp: now + 1 }))).expiresAt,
    clock.now() + 1_000,
  );
});

Deno.test("nbf has a leeway and no more", async () => {
  await verifier().verify(await sign({ sub: "42", nbf: now + LEEWAY }));
  await refused(
    verifier().verify(await sign({ sub: "42", nbf: now + LEEWAY + 1 })),
    "invalid_token",
    /not valid yet/,
    "nbf",
  );
});

Deno.test("times that no clock can show are refused by name", async () => {
  for (const claim of ["exp", "iat"]) {
    for (const value of [1e15, -1, 1e300]) {
      if (claim === "exp" && value === -1) continue;
      await refused(
        verifier().verify(await sign({ sub: "42", [claim]: value })),
        "invalid_token",
        /1970/,
        claim,
      );
    }
    await refused(
      verifier().verify(await sign({ sub: "42", [claim]: "tomorrow" })),
      "invalid_token",
      /1970/,
      claim,
    );
  }
});

Deno.test("iss and aud are checked when they are configured, and ignored when not", async () => {
  const strict = verifier({ issuer: "https://id.example.com", audience: ["tidings", "other"] });
  const good = { sub: "42", iss: "https://id.example.com", aud: ["x", "tidings"] };
  assert.equal((await strict.verify(await sign(good))).user, "42");
  assert.equal((await verifier().verify(await sign({ ...good, aud: "elsewhere" }))).user, "42");
  await refused(
    strict.verify(await sign({ ...good, iss: "https://evil.test" })),
    "invalid_token",
    /id\.example/,
    "iss",
  );
  await refused(strict.verify(await sign({ ...good, aud: "elsewhere" })), "invalid_token", /tidings/, "aud");
  await refused(strict.verify(await sign({ sub: "42", aud: "tidings" })), "invalid_token", /iss/, "iss");
  await refused(strict.verify(await sign({ sub: "42", iss: good.iss })), "invalid_token", /aud/, "aud");
});

Deno.test("alg none is refused, however it is written", async () => {
  for (const alg of ["none", "None", "NONE", "", undefined, null, 5]) {
    await refused(
      verifier().verify(raw({ alg }, { sub: "42", tidings: { admin: true } })),
      "invalid_token",
      /Cannot/,
    );
  }
});

Deno.test("a secret verifies HS256 and no other algorithm", async () => {
  await refused(
    verifier().verify(await sign({ sub: "42" }, bytes(SECRET.repeat(2)), "HS512")),
    "invalid_token",
    /algorithm/,
  );
});

Deno.test("a wrong secret, a changed payload and a changed signature are refused", async () => {
  const token = await sign({ sub: "42" });
  const [header, payload, signature = ""] = token.split(".");
  await refused(
    verifier().verify(await sign({ sub: "42" }, bytes("x".repeat(32)))),
    "invalid_token",
    /signature/,
  );
  await refused(
    verifier().verify(`${header}.${raw({}, { sub: "1" }).split(".")[1]}.${signature}`),
    "invalid_token",
    /signature/,
  );
  await refused(
    verifier().verify(
      `${header}.${payload}.${signature.replace(/^./, (first) => first === "A" ? "B" : "A")}`,
    ),
    "invalid_token",
    /signature/,
  );
});

Deno.test("what is not a signed JWT is refused", async () => {
  const odd = ["", "x", "a.b", "a.b.c", "a.b.c.d.e", "....", "\u0000.\u0000.\u0000", "ä.ö.ü"];
  for (const token of odd) {
    await refused(verifier().verify(token), "invalid_token", /Cannot accept the token/);
  }
});

Deno.test("a critical header that is not understood is refused", async () => {
  const token = await new SignJWT({ sub: "42" })
    .setProtectedHeader({ alg: "HS256", crit: ["urn:x"], "urn:x": true })
    .sign(bytes(SECRET), { crit: { "urn:x": true } });
  await refused(verifier().verify(token), "invalid_token", /Cannot/);
});

Deno.test("a token of 8 KiB is read, a longer one is not", async () => {
  const pad = (length: number) => sign({ sub: "42", pad: "x".repeat(length) });
  const base = (await pad(0)).length;
  let fits = await pad(Math.floor((MAX_TOKEN - base) * 3 / 4) - 2);
  assert.ok(fits.length <= MAX_TOKEN && fits.length > MAX_TOKEN - 16, String(fits.length));
  assert.equal((await verifier().verify(fits)).user, "42");
  fits = await pad(MAX_TOKEN);
  await refused(verifier().verify(fits), "invalid_token", /longer than 8192/);
});

Deno.test("claims of another shape are named, each by its field", async () => {
  const cases: [Record<string, unknown>, string, RegExp][] = [
    [{}, "sub", /expected a string/],
    [{ sub: 42 }, "sub", /expected a string/],
    [{ sub: null }, "sub", /expected a string/],
    [{ sub: "" }, "sub", /stand in a topic/],
    [{ sub: "a b" }, "sub", /stand in a topic/],
    [{ sub: "*" }, "sub", /stand in a topic/],
    [{ sub: "x".repeat(196) }, "sub", /stand in a topic/],
    [{ sub: "42", tidings: "all" }, "tidings", /expected an object/],
    [{ sub: "42", tidings: [] }, "tidings", /expected an object/],
    [{ sub: "42", tidings: { admin: "yes" } }, "tidings.admin", /true or false/],
    [{ sub: "42", tidings: { subscribe: "climb:*" } }, "tidings.subscribe", /expected a list/],
    [{ sub: "42", tidings: { subscribe: ["a", 5] } }, "tidings.subscribe.1", /topic pattern/],
    [{ sub: "42", tidings: { publish: ["a:**:b"] } }, "tidings.publish.0", /topic pattern/],
    [{ sub: "42", tidings: { publish: Array(101).fill("a") } }, "tidings.publish", /at most 100/],
    [{ sub: "42", tidings: { subscibe: ["a"] } }, "tidings", /subscibe/],
  ];
  for (const [payload, field, says] of cases) {
    await refused(verifier().verify(await sign(payload)), "invalid_token", says, field);
  }
  await verifier().verify(await sign({ sub: "42", tidings: { publish: Array(100).fill("a") } }));
});

const KINDS: [string, string[], () => { publicKey: KeyObject; privateKey: KeyObject }][] = [
  [
    "RSA",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
    () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ],
  ["P-256", ["ES256"], () => generateKeyPairSync("ec", { namedCurve: "P-256" })],
  ["P-384", ["ES384"], () => generateKeyPairSync("ec", { namedCurve: "P-384" })],
  ["P-521", ["ES512"], () => generateKeyPairSync("ec", { namedCurve: "P-521" })],
  ["Ed25519", ["EdDSA", "Ed25519"], () => generateKeyPairSync("ed25519")],
];

for (const [kind, algorithms, generate] of KINDS) {
  Deno.test(`a public ${kind} key verifies as PEM and as JWK, and its text is no secret`, async () => {
    const { publicKey, privateKey } = generate();
    const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
    const jwk = JSON.stringify(publicKey.export({ format: "jwk" }));
    for (const text of [pem, pem.trim().replaceAll("\n", "\\n"), jwk]) {
      const checks = verifier({ key: { publicKey: text } });
      for (const alg of algorithms) {
        assert.equal((await checks.verify(await sign({ sub: "42" }, privateKey, alg))).user, "42");
      }
      for (const secret of [pem, pem.trim(), jwk]) {
        await refused(checks.verify(await sign({ sub: "42" }, bytes(secret))), "invalid_token", /algorithm/);
      }
      await refused(checks.verify(raw({ alg: "none" }, { sub: "42" })), "invalid_token", /algorithm/);
      const stranger = generate().privateKey;
      await refused(
        checks.verify(await sign({ sub: "42" }, stranger, algorithms[0])),
        "invalid_token",
        /signature/,
      );
    }
  });
}

Deno.test("the alg of a JWK narrows what it verifies", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...publicKey.export({ format: "jwk" }), alg: "PS256" };
  const checks = verifier({ key: { publicKey: JSON.stringify(jwk) } });
  await checks.verify(await sign({ sub: "42" }, privateKey, "PS256"));
  await refused(checks.verify(await sign({ sub: "42" }, privateKey, "RS256")), "invalid_token", /algorithm/);
});

Deno.test("a key that cannot be used is refused at the start, and the message says why", () => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
  const agreement = generateKeyPairSync("x25519").publicKey;
  const pem = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();
  const jwk = (key: KeyObject, more = {}) => JSON.stringify({ ...key.export({ format: "jwk" }), ...more });
  const cases: [VerifierOptions["key"], RegExp][] = [
    [{ secret: "x".repeat(31) }, /31 bytes/],
    [{ secret: "" }, /0 bytes/],
    [{ publicKey: "" }, /neither PEM nor a JWK/],
    [{ publicKey: "garbage" }, /neither PEM nor a JWK/],
    [{ publicKey: "{" }, /not JSON/],
    [{ publicKey: "{}" }, /neither PEM nor a JWK/],
    [{ publicKey: rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString() }, /private key/],
    [{ publicKey: rsa.privateKey.export({ type: "pkcs1", format: "pem" }).toString() }, /private key/],
    [{ publicKey: jwk(rsa.privateKey) }, /private key/],
    [{ publicKey: JSON.stringify({ kty: "oct", k: "AAAA" }) }, /a secret/],
    [{ publicKey: JSON.stringify({ keys: [] }) }, /set of keys/],
    [{ publicKey: jwk(rsa.publicKey, { alg: "HS256" }) }, /"alg" is not one of/],
    [{ publicKey: jwk(rsa.publicKey, { alg: "none" }) }, /"alg" is not one of/],
    [{ publicKey: pem(weak) }, /1024 bits/],
    [{ publicKey: pem(agreement) }, /cannot sign/],
    [{ jwksUrl: "file:///etc/passwd" }, /https:/],
    [{ jwksUrl: "nowhere" }, /https:/],
  ];
  for (const [key, says] of cases) {
    assert.throws(
      () => verifier({ key }),
      (error: Error) => error instanceof RangeError && says.test(error.message),
    );
  }
});

Deno.test("a secret counts in bytes, and 32 are enough", async () => {
  const secret = "ä".repeat(16);
  const token = await mint(secret, { sub: "42" }, 60, clock);
  assert.equal((await verifier({ key: { secret } }).verify(token)).user, "42");
});

Deno.test("mint() refuses what no gateway would accept", async () => {
  await assert.rejects(mint("short", { sub: "42" }, 60, clock), RangeError);
  await refused(mint(SECRET, { sub: "a b" }, 60, clock), "invalid_token", /stand in a topic/, "sub");
  await refused(
    mint(SECRET, { sub: "42", tidings: { publish: ["a**"] } }, 60, clock),
    "invalid_token",
    /pattern/,
    "tidings.publish.0",
  );
});

Deno.test("no message holds the token or the secret", async () => {
  const token = await sign({ sub: "42", exp: now - 1 });
  for (const candidate of [token, token.slice(0, -4) + "AAAA", "eyJhbGciOiJub25lIn0.e30."]) {
    const error: Error = await verifier().verify(candidate).then(
      () => assert.fail("accepted"),
      (reason) => reason,
    );
    assert.ok(!error.message.includes(candidate.slice(0, 20)) && !error.message.includes(SECRET));
  }
});
