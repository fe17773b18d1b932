import assert from "node:assert/strict";
import { createVerifier } from "../src/auth/token.ts";
import { systemClock } from "../src/clock.ts";
import { run } from "./helpers/process.ts";
import { temporaryFolder } from "./helpers/temporary_folder.ts";

const SECRET = "a secret of this test, long enough to be one";

function verifier(secret: string) {
  return createVerifier({ key: { secret }, issuer: "me", audience: "tidings" }, {
    clock: systemClock,
    fetch,
  });
}

const ISSUED = { TIDINGS_JWT_ISSUER: "me,other", TIDINGS_JWT_AUDIENCE: "tidings" };

Deno.test("token prints a token that the gateway accepts, with the rights that were asked for", async () => {
  const args = [
    "token",
    "--sub",
    "42",
    "--subscribe",
    "a:*",
    "--subscribe",
    "b:**",
    "--publish",
    "a:1",
    "--ttl",
    "2h",
  ];
  const { code, stdout } = await run("src/cli.ts", args, { TIDINGS_JWT_SECRET: SECRET, ...ISSUED });
  assert.equal(code, 0);
  const { user, subscribe, publish, admin, expiresAt = 0, issuedAt = 0 } = await verifier(SECRET).verify(
    stdout.trim(),
  );
  assert.deepEqual({ user, subscribe, publish, admin }, {
    user: "42",
    subscribe: ["a:*", "b:**"],
    publish: ["a:1"],
    admin: false,
  });
  assert.equal(expiresAt - issuedAt, 2 * 3_600_000);
});

Deno.test("token in dev mode uses the secret that the gateway keeps", async () => {
  await using data = await temporaryFolder("cli");
  const make = () =>
    run("src/cli.ts", ["token", "--sub", "me", "--admin", "--ttl", "none"], { TIDINGS_DATA: data.path });
  const [one, other] = await Promise.all([make(), make()]);
  const secret = (await Deno.readTextFile(data.at("dev_secret"))).trim();
  for (const { stdout } of [one, other]) {
    const checks = createVerifier({ key: { secret } }, { clock: systemClock, fetch });
    const { admin, expiresAt } = await checks.verify(stdout.trim());
    assert.deepEqual({ admin, expiresAt }, { admin: true, expiresAt: undefined });
  }
});

Deno.test("a command that cannot be understood says what was expected, and fails", async () => {
  const cases: [string[], Record<string, string>, RegExp][] = [
    [[], {}, /^deno task token/],
    [["tokn"], {}, /^deno task token/],
    [["token"], {}, /^Cannot make a token: --sub is missing\n/],
    [["token", "--sub", "42", "--ttl", "soon"], {}, /^Cannot make a token: --ttl soon: expected a duration/],
    [["token", "--sub", "4 2"], { TIDINGS_JWT_SECRET: SECRET }, /^Cannot make a token: .*"sub"/],
    [["token", "--sub", "42", "--publsh", "a"], {}, /publsh/],
    [
      ["token", "--sub", "42"],
      { TIDINGS_JWKS_URL: "https://id.example.com" },
      /only their issuer can make them/,
    ],
    [["token", "--sub", "42"], { PORT: "x" }, /^PORT="x": expected/],
    [["vapid"], {}, /^Cannot make keys: --subject: expected mailto/],
  ];
  const outcomes = await Promise.all(cases.map(async ([args, env]) => await run("src/cli.ts", args, env)));
  for (const [index, { code, stdout, stderr }] of outcomes.entries()) {
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, cases[index]?.[2] ?? /-/);
    assert.ok(!stderr.includes("    at "), stderr);
  }
});

Deno.test("vapid prints settings that the gateway reads", async () => {
  const { stdout } = await run("src/cli.ts", ["vapid", "--subject", "mailto:ops@example.com"]);
  const env = Object.fromEntries(
    stdout.trim().split("\n").map((line) => line.split("=") as [string, string]),
  );
  const { readConfig } = await import("../src/config.ts");
  assert.equal(readConfig(env).push.vapid?.subject, "mailto:ops@example.com");
});
