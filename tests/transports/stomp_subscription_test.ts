import assert from "node:assert/strict";
import fc from "fast-check";
import { STOMP_VERSIONS } from "../../src/transports/stomp_frame.ts";
import { SUBSCRIPTIONS_MAX } from "../../src/transports/stomp_session.ts";
import { frame, item, json, open, parse, refused, subscribe } from "./stomp_session_world.ts";

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
