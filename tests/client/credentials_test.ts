import assert from "node:assert/strict";
import { claims, Credentials } from "../../src/client/credentials.ts";
import type { Clock } from "../../src/clock.ts";

/** A clock that stands until it is moved. */
function standing(start: number): Clock & { move(ms: number): void } {
  let now = start;
  let timers: { at: number; run: () => void }[] = [];
  return {
    now: () => now,
    sleep: () => Promise.reject(new Error("not used here")),
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.push(timer);
      return () => timers = timers.filter((each) => each !== timer);
    },
    move(ms) {
      const until = now + ms;
      for (;;) {
        const next = timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0];
        if (next === undefined) break;
        timers = timers.filter((each) => each !== next);
        now = next.at;
        next.run();
      }
      now = until;
    },
  };
}

function jwt(payload: object): string {
  const encode = (value: object) =>
    new TextEncoder().encode(JSON.stringify(value)).toBase64({ alphabet: "base64url", omitPadding: true });
  return `${encode({ alg: "none" })}.${encode(payload)}.x`;
}

Deno.test("claims() reads a JWT in any script, and nothing out of what is none", () => {
  assert.equal(claims(jwt({ sub: "민지" })).sub, "민지");
  assert.deepEqual(claims("opaque"), {});
  assert.deepEqual(claims("a.%%%.b"), {});
});

Deno.test("Credentials asks once for many, keeps the token while it is good and renews it before it expires", async () => {
  const clock = standing(1_700_000_000_000);
  let asked = 0;
  const getToken = () => {
    asked++;
    const iat = clock.now() / 1000;
    return Promise.resolve(jwt({ sub: "ann", iat, exp: iat + 300 }));
  };
  const credentials = new Credentials(clock, undefined, getToken);
  const [first, second] = await Promise.all([credentials.token(), credentials.token()]);
  assert.equal(first, second);
  assert.equal(asked, 1);
  assert.equal(credentials.user, "ann");
  let due = 0;
  credentials.whenDue(() => due++);
  clock.move(239_000);
  assert.equal(await credentials.token(), first);
  assert.equal(due, 0);
  clock.move(1_000);
  assert.equal(due, 1);
  assert.notEqual(await credentials.token(), first);
  assert.equal(asked, 2);
  await credentials.token(true);
  assert.equal(asked, 3);
});

Deno.test("Credentials renews 480 times a day for tokens of four minutes", async () => {
  const clock = standing(1_700_000_000_000);
  let asked = 0;
  const credentials = new Credentials(clock, undefined, () => {
    asked++;
    const iat = clock.now() / 1000;
    return jwt({ sub: "ann", iat, exp: iat + 240 });
  });
  await credentials.token();
  for (let minute = 0; minute < 24 * 60; minute++) {
    clock.move(60_000);
    await credentials.token();
    assert.ok(Number(claims((await credentials.token())!).exp) * 1000 > clock.now());
  }
  assert.equal(asked, 1 + 24 * 60 / 3);
});

Deno.test("Credentials is not fooled by a clock that is an hour ahead", async () => {
  const clock = standing(1_700_003_600_000);
  let asked = 0;
  const credentials = new Credentials(clock, undefined, () => {
    asked++;
    return jwt({ sub: "ann", iat: 1_700_000_000, exp: 1_700_000_300 });
  });
  await credentials.token();
  await credentials.token();
  clock.move(200_000);
  await credentials.token();
  assert.equal(asked, 1);
  clock.move(40_000);
  await credentials.token();
  assert.equal(asked, 2);
});

Deno.test("Credentials says so when there is only one token, and when getToken gives none in time", async () => {
  const clock = standing(0);
  const fixed = new Credentials(clock, jwt({ sub: "ann" }));
  assert.equal(fixed.renewable, false);
  await assert.rejects(fixed.token(true), { code: "token_expired" });
  const never = new Credentials(clock, undefined, () => new Promise<string>(() => {}));
  const asking = never.token();
  clock.move(30_000);
  await assert.rejects(asking, { code: "connection_lost" });
  await assert.rejects(new Credentials(clock, undefined, () => "").token(), { code: "invalid_argument" });
  const cookie = new Credentials(clock);
  assert.equal(cookie.cookie, true);
  assert.equal(await cookie.token(), undefined);
});
