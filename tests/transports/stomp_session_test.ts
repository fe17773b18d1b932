import assert from "node:assert/strict";
import fc from "fast-check";
import { TidingsError } from "../../src/errors.ts";
import { STOMP_VERSIONS, type StompVersion } from "../../src/transports/stomp_frame.ts";
import { type StompEffect, StompSession } from "../../src/transports/stomp_session.ts";
import { TRANSACTION_LIMITS } from "../../src/transports/stomp_transaction.ts";
import { frame, json, open, parse, refused, SETTINGS, subscribe, written } from "./stomp_session_world.ts";

for (const command of ["CONNECT", "STOMP"]) {
  Deno.test(`${command} agrees on the highest version that both speak`, () => {
    const cases: [string | undefined, StompVersion][] = [
      [undefined, "1.0"],
      ["1.0", "1.0"],
      ["1.1,1.0", "1.1"],
      ["1.0,1.1,1.2", "1.2"],
      ["1.2, 1.3, 2.0", "1.2"],
    ];
    for (const [accepted, version] of cases) {
      const session = new StompSession(SETTINGS);
      session.receive(frame(command, accepted === undefined ? {} : { "accept-version": accepted }));
      const [connected] = written(session.accept("s1", "42"), "1.0");
      assert.equal(connected?.command, "CONNECTED");
      assert.equal(connected?.headers["version"], version);
      assert.equal(connected?.headers["heart-beat"], version === "1.0" ? undefined : "10000,10000");
      assert.deepEqual([connected?.headers["session"], connected?.headers["user-name"]], ["s1", "42"]);
    }
  });
}

Deno.test("CONNECT with no version in common gets an ERROR that lists the versions", () => {
  const session = new StompSession(SETTINGS);
  const connect = frame("CONNECT", { "accept-version": "2.0,3.0" });
  let effects: StompEffect[] = [];
  try {
    session.receive(connect);
  } catch (error) {
    assert(refused("accept-version")(error));
    effects = session.fail(error, connect);
  }
  const [error] = written(effects, "1.0");
  assert.equal(error?.command, "ERROR");
  assert.equal(error?.headers["version"], "1.0,1.1,1.2");
  assert.deepEqual(effects.at(-1), { do: "close", code: 4500, reason: "The frame is not valid" });
});

Deno.test("heart-beats are agreed in both directions: the slower wish wins, and zero means none", () => {
  const cases: [string | undefined, number, number][] = [
    [undefined, 0, 0],
    ["0,0", 0, 0],
    ["5000,0", 0, 10_000],
    ["0,5000", 10_000, 0],
    ["20000,30000", 30_000, 20_000],
    [" 1 , 1 ", 10_000, 10_000],
  ];
  for (const [header, send, expect] of cases) {
    const session = open("1.2", header === undefined ? {} : { "heart-beat": header });
    assert.deepEqual(session.heartbeats, { send, expect }, `${header}`);
  }
  for (const bad of ["", "1", "a,b", "-1,0", "1,2,3", "99999999999,1"]) {
    const session = new StompSession(SETTINGS);
    assert.throws(
      () => session.receive(frame("CONNECT", { "accept-version": "1.2", "heart-beat": bad })),
      refused("heart-beat"),
    );
  }
});

Deno.test("the token is found where front ends put it, and a passcode that is no JWT is none", () => {
  const cases: [Record<string, string>, string | undefined][] = [
    [{ Authorization: "Bearer a.b.c" }, "a.b.c"],
    [{ authorization: "bearer  a.b.c" }, "a.b.c"],
    [{ "X-Authorization": "a.b.c" }, "a.b.c"],
    [{ token: "a.b.c" }, "a.b.c"],
    [{ login: "guest", passcode: "guest" }, undefined],
    [{ login: "42", passcode: "a.b.c" }, "a.b.c"],
    [{ Authorization: "" }, undefined],
    [{}, undefined],
  ];
  for (const [headers, token] of cases) {
    const [effect] = new StompSession(SETTINGS).receive(frame("CONNECT", headers));
    assert.deepEqual(effect, { do: "authenticate", token, clientId: "" });
  }
});

Deno.test("nothing is taken before CONNECT, and CONNECT only once", () => {
  for (const command of ["SEND", "SUBSCRIBE", "ACK", "BEGIN", "DISCONNECT", "NONSENSE"]) {
    assert.throws(() => new StompSession(SETTINGS).receive(frame(command)), refused("command"));
  }
  assert.throws(() => open().receive(frame("CONNECT")), refused("command"));
  assert.throws(() => open().receive(frame("NONSENSE")), refused("command"));
  assert.throws(() => open().receive(frame("MESSAGE")), refused("command"));
});

Deno.test("frames that may have no body are refused with one, but for line ends", () => {
  assert.throws(() => open().receive(frame("BEGIN", { transaction: "t" }, "x")), refused("body"));
  assert.deepEqual(open().receive(frame("BEGIN", { transaction: "t" }, "\n\r\n")), []);
});

Deno.test("a RECEIPT stands behind what it confirms", () => {
  const session = open();
  const sent = session.receive(frame("SEND", { destination: "/app/chat.7", receipt: "r1" }, "hi"));
  assert.deepEqual(sent[0], { do: "publish", publications: [{ to: "chat:7", body: "hi" }] });
  assert.deepEqual(written(sent, "1.2"), [{ command: "RECEIPT", headers: { "receipt-id": "r1" }, body: "" }]);
  assert.equal(sent[1]?.do, "write");
});

Deno.test("COMMIT publishes all of a transaction at once and settles its ACKs; ABORT forgets them", () => {
  const session = open();
  const subscription = subscribe(session, { ack: "client-individual" });
  session.message(subscription, json(1), "c1");
  const body = (t: string) => frame("SEND", { destination: "/topic/a", transaction: t }, t);
  session.receive(frame("BEGIN", { transaction: "t1" }));
  session.receive(frame("BEGIN", { transaction: "t2" }));
  assert.deepEqual(session.receive(body("t1")), []);
  assert.deepEqual(session.receive(body("t2")), []);
  assert.deepEqual(session.receive(body("t1")), []);
  assert.deepEqual(session.receive(frame("ACK", { id: "1@a", transaction: "t1" })), []);
  assert.deepEqual(session.receive(frame("ABORT", { transaction: "t2" })), []);
  assert.deepEqual(session.receive(frame("COMMIT", { transaction: "t1" })), [
    { do: "publish", publications: [{ to: "a", body: "t1" }, { to: "a", body: "t1" }] },
    { do: "mark", ids: ["1"] },
    { do: "settled", subscription },
  ]);
  for (const command of ["COMMIT", "ABORT"]) {
    assert.throws(() => session.receive(frame(command, { transaction: "t1" })), refused("transaction"));
  }
  assert.throws(() => session.receive(body("t1")), refused("transaction"));
});

Deno.test("transactions are bounded in number, frames and bytes", () => {
  const session = open();
  for (let i = 0; i < TRANSACTION_LIMITS.open; i++) session.receive(frame("BEGIN", { transaction: `t${i}` }));
  assert.throws(() => session.receive(frame("BEGIN", { transaction: "more" })), refused("transaction"));
  assert.throws(() => session.receive(frame("BEGIN", { transaction: "t0" })), refused("transaction"));
  const send = (t: string, size: number) =>
    frame("SEND", { destination: "/topic/a", transaction: t }, "x".repeat(size));
  for (let i = 0; i < TRANSACTION_LIMITS.frames; i++) session.receive(send("t0", 1));
  assert.throws(() => session.receive(send("t0", 1)), refused("transaction", "too_large"));
  session.receive(send("t1", TRANSACTION_LIMITS.bytes / 2));
  assert.throws(
    () => session.receive(send("t2", TRANSACTION_LIMITS.bytes / 2)),
    refused("transaction", "too_large"),
  );
});

Deno.test("a fresh token comes in a SEND to /tidings/auth and is published to nobody", () => {
  const session = open();
  assert.deepEqual(
    session.receive(frame("SEND", { destination: "/tidings/auth", authorization: "Bearer a.b.c" })),
    [{ do: "renew", token: "a.b.c" }],
  );
  assert.throws(
    () => session.receive(frame("SEND", { destination: "/tidings/auth" })),
    refused("authorization"),
  );
});

Deno.test("DISCONNECT answers its receipt and closes; nothing is taken afterwards", () => {
  const session = open();
  const effects = session.receive(frame("DISCONNECT", { receipt: "bye" }));
  assert.deepEqual(effects.map((effect) => effect.do), ["write", "close"]);
  assert.equal(session.state, "closed");
  assert.deepEqual(session.receive(frame("SEND", { destination: "/topic/a" }, "x")), []);
  assert.deepEqual(session.fail(new Error("late")), []);
});

Deno.test("an ERROR names the receipt, the code and the problem, tells nothing of the inside, and closes once", () => {
  const session = open();
  const effects = session.fail(
    new TidingsError("forbidden", "Cannot publish to a:\nno"),
    frame("SEND", { receipt: "r:1" }),
  );
  const [error] = written(effects, "1.2");
  assert.equal(error?.headers["message"], "Cannot publish to a:\nno");
  assert.equal(error?.headers["receipt-id"], "r:1");
  assert.equal(error?.headers["code"], "forbidden");
  assert.equal(JSON.parse(error?.body ?? "").status, 403);
  assert.deepEqual(effects[1], { do: "close", code: 4503, reason: "The token does not allow this" });
  assert.deepEqual(session.fail(new Error("again")), []);
  const inner = written(open().fail(new Error("select * from secret")), "1.2")[0];
  assert(!JSON.stringify(inner).includes("secret"));
});

Deno.test("whatever frames come, the session answers with effects or a named error", () => {
  const word = fc.constantFrom(
    "a",
    "b",
    "1@a",
    "2@b",
    "t",
    "/topic/a",
    "/user/queue/x",
    "/app/a",
    "client",
    "auto",
    "",
    "1.2",
    "5,5",
  );
  const header = fc.constantFrom(
    "id",
    "destination",
    "transaction",
    "ack",
    "receipt",
    "message-id",
    "subscription",
    "accept-version",
    "heart-beat",
    "since",
    "content-type",
  );
  const any = fc.record({
    command: fc.constantFrom(
      "CONNECT",
      "STOMP",
      "SUBSCRIBE",
      "UNSUBSCRIBE",
      "SEND",
      "ACK",
      "NACK",
      "BEGIN",
      "COMMIT",
      "ABORT",
      "DISCONNECT",
      "MESSAGE",
    ),
    headers: fc.dictionary(header, word, { maxKeys: 5 }),
    body: fc.constantFrom("", "x", "{}", "\n"),
  });
  fc.assert(
    fc.property(fc.array(any, { maxLength: 40 }), fc.constantFrom(...STOMP_VERSIONS), (frames, version) => {
      const session = open(version);
      let closed = false;
      for (const each of frames) {
        const received = frame(each.command, each.headers, each.body);
        let effects: StompEffect[];
        try {
          effects = session.receive(received);
        } catch (error) {
          assert(error instanceof TidingsError && error.code !== "internal");
          effects = session.fail(error, received);
        }
        if (closed) assert.deepEqual(effects, []);
        closed ||= effects.some((effect) => effect.do === "close");
        assert.equal(session.state === "closed", closed);
        for (const effect of effects) if (effect.do === "write") parse(effect.text, version);
      }
    }),
    { seed: 11_042, numRuns: 1_000 },
  );
});
