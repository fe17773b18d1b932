import assert from "node:assert/strict";
import { claims, Credentials } from "../../src/client/credentials.ts";
import { manualClock } from "../helpers/manual_clock.ts";
import { fakeWorld } from "./fake_world.ts";
import { shows, Told } from "./told.ts";
import { tokenOf, unsigned } from "./unsigned_token.ts";

Deno.test("claims() reads a JWT in any script, and nothing out of what is none", () => {
  assert.equal(claims(unsigned({ sub: "민지" })).sub, "민지");
  assert.deepEqual(claims("opaque"), {});
  assert.deepEqual(claims("a.%%%.b"), {});
});

Deno.test("Credentials asks once for many, keeps the token while it is good and renews it before it expires", async () => {
  const clock = manualClock(1_700_000_000_000);
  let asked = 0;
  const getToken = () => {
    asked++;
    const iat = clock.now() / 1000;
    return Promise.resolve(unsigned({ sub: "ann", iat, exp: iat + 300 }));
  };
  const credentials = new Credentials(clock, undefined, getToken);
  const [first, second] = await Promise.all([credentials.token(), credentials.token()]);
  assert.equal(first, second);
  assert.equal(asked, 1);
  assert.equal(credentials.user, "ann");
  let due = 0;
  credentials.whenDue(() => due++);
  clock.advance(239_000);
  assert.equal(await credentials.token(), first);
  assert.equal(due, 0);
  clock.advance(1_000);
  assert.equal(due, 1);
  assert.notEqual(await credentials.token(), first);
  assert.equal(asked, 2);
  await credentials.token(true);
  assert.equal(asked, 3);
});

Deno.test("Credentials renews 480 times a day for tokens of four minutes", async () => {
  const clock = manualClock(1_700_000_000_000);
  let asked = 0;
  const credentials = new Credentials(clock, undefined, () => {
    asked++;
    const iat = clock.now() / 1000;
    return unsigned({ sub: "ann", iat, exp: iat + 240 });
  });
  await credentials.token();
  for (let minute = 0; minute < 24 * 60; minute++) {
    clock.advance(60_000);
    await credentials.token();
    assert.ok(Number(claims((await credentials.token())!).exp) * 1000 > clock.now());
  }
  assert.equal(asked, 1 + 24 * 60 / 3);
});

Deno.test("Credentials is not fooled by a clock that is an hour ahead", async () => {
  const clock = manualClock(1_700_003_600_000);
  let asked = 0;
  const credentials = new Credentials(clock, undefined, () => {
    asked++;
    return unsigned({ sub: "ann", iat: 1_700_000_000, exp: 1_700_000_300 });
  });
  await credentials.token();
  await credentials.token();
  clock.advance(200_000);
  await credentials.token();
  assert.equal(asked, 1);
  clock.advance(40_000);
  await credentials.token();
  assert.equal(asked, 2);
});

Deno.test("Credentials says so when there is only one token, and when getToken gives none in time", async () => {
  const clock = manualClock(0);
  const fixed = new Credentials(clock, unsigned({ sub: "ann" }));
  assert.equal(fixed.renewable, false);
  await assert.rejects(fixed.token(true), { code: "token_expired" });
  const never = new Credentials(clock, undefined, () => new Promise<string>(() => {}));
  const asking = never.token();
  clock.advance(30_000);
  await assert.rejects(asking, { code: "connection_lost" });
  await assert.rejects(new Credentials(clock, undefined, () => "").token(), { code: "invalid_argument" });
  const cookie = new Credentials(clock);
  assert.equal(cookie.cookie, true);
  assert.equal(await cookie.token(), undefined);
});

shows("a fresh token is sent before the old one expires, without reconnecting", async (gateway) => {
  let asked = 0;
  const told = new Told(gateway, { getToken: () => (asked++, tokenOf("ann", 4)) });
  await told.live("websocket");
  await gateway.until(() => gateway.frames.filter((frame) => frame.op === "auth").length === 2);
  assert.equal(gateway.begun.websocket, 1);
  assert.ok(asked >= 3);
  told.client.close();
});

shows("an expired token is asked for anew, a forbidden one ends it with its reason", async (gateway) => {
  let asked = 0;
  const getToken = () => {
    asked++;
    if (asked === 2) gateway.misbehaviour = {};
    return tokenOf("ann");
  };
  gateway.misbehaviour = { refuse: { status: 401, code: "token_expired" } };
  const told = new Told(gateway, { getToken });
  await told.live();
  assert.equal(asked, 2);
  gateway.misbehaviour = { refuse: { status: 403, code: "forbidden" } };
  gateway.cut();
  await told.until(() => told.errors.length === 1);
  assert.deepEqual(told.errors, ["forbidden"]);
  assert.equal(told.client.snapshot.state, "closed");
});

shows("a token that was the only one ends it when it expires", async (gateway) => {
  const told = new Told(gateway);
  await told.live();
  gateway.misbehaviour = { refuse: { status: 401, code: "token_expired" } };
  gateway.cut();
  await told.until(() => told.errors.length === 1);
  assert.deepEqual(told.errors, ["token_expired"]);
});

shows("getToken that fails is asked again, until it answers", async (gateway) => {
  let asked = 0;
  const told = new Told(gateway, {
    getToken: () => ++asked < 3 ? Promise.reject(new Error("down")) : tokenOf("ann"),
  });
  await told.live();
  assert.equal(asked, 3);
  told.client.close();
});

shows("a day with tokens of five minutes passes on one connection", async (gateway) => {
  const clock = manualClock();
  gateway.heartbeat = 3_000;
  let asked = 0;
  const told = new Told(gateway, {
    clock,
    world: fakeWorld(),
    getToken: () => (asked++, tokenOf("ann", 300, clock.now())),
  });
  await told.live("websocket");
  const auths = () => gateway.frames.filter((frame) => frame.op === "auth").length;
  for (let second = 0; second < 24 * 3600; second += 240) {
    const answered = told.frame("ok");
    clock.advance(240_000);
    await answered;
  }
  assert.equal(auths(), 24 * 60 / 4);
  assert.equal(asked, auths() + 1);
  assert.equal(gateway.begun.websocket, 1);
  gateway.send();
  await told.until(() => told.items.length === 1);
  told.client.close();
});
