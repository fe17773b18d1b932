import assert from "node:assert/strict";
import fc from "fast-check";
import { TidingsError } from "../../src/errors.ts";
import type { Item } from "../../src/notification.ts";
import {
  STOMP_VERSIONS,
  type StompFrame,
  StompParser,
  type StompVersion,
} from "../../src/transports/stomp_frame.ts";
import { type StompEffect, StompSession, SUBSCRIPTIONS_MAX } from "../../src/transports/stomp_session.ts";
import type { StompSubscription } from "../../src/transports/stomp_subscription.ts";
import { TRANSACTION_LIMITS } from "../../src/transports/stomp_transaction.ts";

const SETTINGS = {
  prefixes: { user: ["/user", "/member"], topic: ["/topic"], publish: ["/app", "/publish"] },
  shape: "item" as const,
  heartbeat: 10_000,
  server: "tidings/test",
};

const text = new TextEncoder();

function frame(command: string, headers: Record<string, string> = {}, body = ""): StompFrame {
  return { command, headers, body: text.encode(body) };
}

function open(version: StompVersion = "1.2", connect: Record<string, string> = {}): StompSession {
  const session = new StompSession(SETTINGS);
  session.receive(
    frame("CONNECT", { ...(version === "1.0" ? {} : { "accept-version": version }), ...connect }),
  );
  session.accept("s1", "42");
  return session;
}

/** The frames that effects write, parsed again. */
function written(
  effects: StompEffect[],
  version: StompVersion,
): { command: string; headers: Record<string, string>; body: string }[] {
  const frames: { command: string; headers: Record<string, string>; body: string }[] = [];
  for (const effect of effects) if (effect.do === "write") frames.push(parse(effect.text, version));
  return frames;
}

function parse(raw: string, version: StompVersion) {
  const parser = new StompParser();
  parser.version = version;
  const seen: { command: string; headers: Record<string, string>; body: string }[] = [];
  parser.push(text.encode(raw), {
    frame: (each) =>
      seen.push({
        command: each.command,
        headers: { ...each.headers },
        body: new TextDecoder().decode(each.body),
      }),
    beat() {},
  });
  const only = seen[0];
  assert(only !== undefined && seen.length === 1);
  return only;
}

function subscribe(session: StompSession, headers: Record<string, string> = {}): StompSubscription {
  const effects = session.receive(
    frame("SUBSCRIBE", { id: "a", destination: "/user/queue/notification", ...headers }),
  );
  const opened = effects.find((effect) => effect.do === "open");
  assert(opened !== undefined);
  return opened.subscription;
}

const item = (id: number): Item => ({
  id: String(id),
  topic: "user:42",
  type: "notification",
  body: `n${id}`,
  createdAt: "2026-11-21T20:00:00.000Z",
});

const json = (id: number) => ({ item: item(id), json: JSON.stringify(item(id)) });

function refused(field: string, code = "protocol_error") {
  return (error: unknown) =>
    error instanceof TidingsError && error.code === code && error.details.errors?.[0]?.field === field;
}

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

for (const version of STOMP_VERSIONS) {
  Deno.test(`a MESSAGE in ${version} carries what a client of that version needs to acknowledge it`, () => {
    const session = open(version);
    const subscription = subscribe(session, { ack: "client" });
    const message = parse(session.message(subscription, json(7), "e-10"), version);
    assert.equal(message.command, "MESSAGE");
    assert.equal(message.headers["destination"], "/user/queue/notification");
    assert.equal(message.headers["message-id"], "7");
    assert.equal(message.headers["subscription"], "a");
    assert.equal(message.headers["cursor"], "e-10");
    assert.equal(message.headers["ack"], version === "1.2" ? "7@a" : undefined);
    assert.deepEqual(JSON.parse(message.body), item(7));
    const ack: Record<string, string> = version === "1.2"
      ? { id: "7@a" }
      : version === "1.1"
      ? { "message-id": "7", subscription: "a" }
      : { "message-id": "7" };
    assert.deepEqual(session.receive(frame("ACK", { ...ack, receipt: "r" })).map((effect) => effect.do), [
      "mark",
      "settled",
      "write",
    ]);
    assert.equal(subscription.position, "e-10");
  });
}

Deno.test("in 1.0 a subscription without an id goes by its destination", () => {
  const session = open("1.0");
  const [effect] = session.receive(frame("SUBSCRIBE", { destination: "/topic/a" }));
  assert(effect?.do === "open");
  const message = parse(session.message(effect.subscription, json(1), "c"), "1.0");
  assert.equal(message.headers["subscription"], undefined);
  const stopped = session.receive(frame("UNSUBSCRIBE", { destination: "/topic/a" }));
  assert.deepEqual(stopped, [{ do: "stop", subscription: effect.subscription, forget: false }]);
  assert.throws(() => open("1.1").receive(frame("SUBSCRIBE", { destination: "/topic/a" })), refused("id"));
});

Deno.test("client mode settles everything up to the acknowledged message, client-individual only that one", () => {
  const session = open();
  const all = subscribe(session, { id: "a", ack: "client" });
  const one = subscribe(session, { id: "b", ack: "client-individual" });
  for (let i = 1; i <= 5; i++) {
    session.message(all, json(i), `c${i}`);
    session.message(one, json(i), `c${i}`);
  }
  assert.deepEqual(session.receive(frame("ACK", { id: "3@a" }))[0], { do: "mark", ids: ["1", "2", "3"] });
  assert.equal(all.position, "c3");
  assert.deepEqual(session.receive(frame("ACK", { id: "3@b" }))[0], { do: "mark", ids: ["3"] });
  assert.equal(one.position, undefined);
  session.receive(frame("ACK", { id: "1@b" }));
  assert.equal(one.position, "c1");
  session.receive(frame("ACK", { id: "2@b" }));
  assert.equal(one.position, "c3");
});

Deno.test("NACK settles without marking: the notification stays unseen", () => {
  const session = open();
  const subscription = subscribe(session, { ack: "client-individual" });
  session.message(subscription, json(1), "c1");
  assert.deepEqual(session.receive(frame("NACK", { id: "1@a" })), [{ do: "settled", subscription }]);
  assert.equal(subscription.position, "c1");
});

Deno.test("a message that is acknowledged again, in auto mode or after a reconnect is seen all the same", () => {
  const session = open();
  assert.deepEqual(session.receive(frame("ACK", { id: "9@gone" })), [{ do: "mark", ids: ["9"] }]);
  assert.deepEqual(session.receive(frame("ACK", { id: "9" })), [{ do: "mark", ids: ["9"] }]);
  assert.deepEqual(session.receive(frame("ACK", { id: "tidings.reset-x" })), []);
  assert.throws(() => session.receive(frame("ACK")), refused("id"));
  assert.throws(() => open("1.1").receive(frame("ACK", { id: "1" })), refused("message-id"));
});

Deno.test("no more messages than the prefetch wait for an ACK", () => {
  const session = open();
  const subscription = subscribe(session, { ack: "client-individual", "prefetch-count": "2" });
  session.message(subscription, json(1), "c1");
  session.message(subscription, json(2), "c2");
  assert.equal(subscription.room, 0);
  session.receive(frame("ACK", { id: "2@a" }));
  assert.equal(subscription.room, 0, "the position waits for the first");
  session.receive(frame("ACK", { id: "1@a" }));
  assert.equal(subscription.room, 2);
  for (const bad of ["0", "-1", "x", ""]) {
    assert.throws(() => subscribe(open(), { "prefetch-count": bad }), refused("prefetch-count"));
  }
});

Deno.test("whatever is acknowledged in whatever order, the position never passes a message that waits", () => {
  const step = fc.oneof(
    fc.constant({ kind: "message" as const }),
    fc.constant({ kind: "moved" as const }),
    fc.record({ kind: fc.constantFrom("ACK" as const, "NACK" as const), of: fc.nat(30) }),
  );
  fc.assert(
    fc.property(
      fc.constantFrom("client", "client-individual"),
      fc.array(step, { maxLength: 60 }),
      (mode, steps) => {
        const session = open();
        const subscription = subscribe(session, { ack: mode });
        let count = 0;
        let clock = 0;
        const waiting = new Map<number, number>();
        const marked: string[] = [];
        const expected: string[] = [];
        for (const each of steps) {
          if (each.kind === "message") {
            session.message(subscription, json(++count), String(++clock));
            waiting.set(count, clock);
          } else if (each.kind === "moved") {
            subscription.moved(String(++clock));
          } else {
            const known = waiting.has(each.of);
            const ids = known && mode === "client"
              ? [...waiting.keys()].filter((id) => id <= each.of)
              : known
              ? [each.of]
              : [];
            for (const id of ids) waiting.delete(id);
            if (each.kind === "ACK") expected.push(...(known ? ids : [each.of]).map(String));
            for (const effect of session.receive(frame(each.kind, { id: `${each.of}@a` }))) {
              if (effect.do === "mark") marked.push(...effect.ids);
            }
          }
          const position = Number(subscription.position ?? 0);
          for (const at of waiting.values()) assert(position < at);
          if (waiting.size === 0 && clock > 0) assert.equal(position, clock);
        }
        assert.deepEqual(marked, expected);
      },
    ),
    { seed: 1_000_042, numRuns: 1_000 },
  );
});

Deno.test("a durable subscription is kept by client-id, id and destination; ids that stompjs merely counts do not tell", () => {
  const session = open("1.2", { "client-id": "phone" });
  assert.deepEqual(subscribe(session, { id: "sub-0" }).request.durable, {
    client: "phone",
    name: "",
    destination: "/user/queue/notification",
  });
  assert.equal(subscribe(session, { id: "inbox" }).request.durable?.name, "inbox");
  assert.equal(subscribe(session, { id: "x", durable: "false" }).request.durable, undefined);
  const since = subscribe(session, { id: "y", since: "e-10" }).request;
  assert.deepEqual([since.durable, since.since], [undefined, "e-10"]);
});

Deno.test("UNSUBSCRIBE keeps the position unless durable:true asks to forget it, and twice is once", () => {
  const session = open();
  const subscription = subscribe(session);
  assert.deepEqual(session.receive(frame("UNSUBSCRIBE", { id: "a" })), [{
    do: "stop",
    subscription,
    forget: false,
  }]);
  assert.deepEqual(session.receive(frame("UNSUBSCRIBE", { id: "a" })), []);
  const again = subscribe(session);
  assert.deepEqual(session.receive(frame("UNSUBSCRIBE", { id: "a", durable: "true" })), [
    { do: "stop", subscription: again, forget: true },
  ]);
});

Deno.test("two subscriptions cannot have one id, and there is room for a bounded number", () => {
  const session = open();
  subscribe(session);
  assert.throws(() => subscribe(session), refused("id"));
  const full = open();
  for (let i = 0; i < SUBSCRIPTIONS_MAX; i++) subscribe(full, { id: `i${i}` });
  assert.throws(() => subscribe(full, { id: "more" }), refused("id"));
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
