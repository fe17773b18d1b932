import assert from "node:assert/strict";
import fc from "fast-check";
import { TidingsError } from "../../src/errors.ts";
import type { Item } from "../../src/notification.ts";
import {
  type BodyShape,
  parseQueues,
  parseShape,
  readSend,
  writeBody,
} from "../../src/transports/stomp_body.ts";

const ITEM: Item = {
  id: "17",
  topic: "user:42",
  type: "notification",
  body: "Mina liked your post",
  link: "/posts/7",
  data: { route: { grade: "6b" }, count: 3 },
  createdAt: "2026-11-21T20:00:00.000Z",
};
const SPRING: BodyShape = {
  memberId: "number:user",
  notificationId: "number:id",
  message: "body",
  redirectPath: "link",
};

const bytes = (text: string) => new TextEncoder().encode(text);
const send = (text: string, headers: Record<string, string> = {}, shape: BodyShape = "item") =>
  readSend("chat:7", headers, bytes(text), shape);

Deno.test("a MESSAGE's body is the item unless a shape is set", () => {
  assert.deepEqual(JSON.parse(writeBody(ITEM, "42", "item")), ITEM);
});

Deno.test("a shape gives the body that a Spring front end knows", () => {
  assert.deepEqual(JSON.parse(writeBody(ITEM, "42", SPRING)), {
    memberId: 42,
    notificationId: 17,
    message: "Mina liked your post",
    redirectPath: "/posts/7",
  });
});

Deno.test("a shape reaches into data, leaves out what is absent, and keeps numbers that JSON would round as text", () => {
  const shape = { grade: "data.route.grade", none: "data.route.none.deeper", big: "number:id", who: "user" };
  assert.deepEqual(JSON.parse(writeBody({ ...ITEM, id: "9007199254740993" }, "kim", shape)), {
    grade: "6b",
    big: "9007199254740993",
    who: "kim",
  });
});

Deno.test("a shape never reaches what an object merely inherits", () => {
  const shape = { a: "data.constructor.name", b: "data.__proto__" };
  assert.deepEqual(JSON.parse(writeBody(ITEM, "42", shape)), {});
});

Deno.test("the shape data gives what the sender attached, and the item where nothing was", () => {
  assert.deepEqual(JSON.parse(writeBody(ITEM, "42", "data")), ITEM.data);
  const { data: _, ...bare } = ITEM;
  assert.deepEqual(JSON.parse(writeBody(bare, "42", "data")), bare);
});

Deno.test("parseShape() reads item, data and objects of paths, and refuses the rest", () => {
  assert.equal(parseShape("item"), "item");
  assert.equal(parseShape("data"), "data");
  assert.deepEqual(parseShape(JSON.stringify(SPRING)), SPRING);
  for (
    const bad of [
      "",
      "x",
      "{}",
      "[]",
      "null",
      '{"a":1}',
      '{"a":"nothing"}',
      '{"a":"data."}',
      '{"a":"number:"}',
    ]
  ) {
    assert.equal(parseShape(bad), undefined, bad);
  }
});

Deno.test("parseQueues() reads queues and their types, and refuses the rest", () => {
  assert.deepEqual([...parseQueues("match = match.found, match.made;errors=error") ?? []], [
    ["match", ["match.found", "match.made"]],
    ["errors", ["error"]],
  ]);
  for (const bad of ["", "a", "a=", "=b", "a=b;a=c", "a=b;;", "a=b c"]) {
    assert.equal(parseQueues(bad), undefined, bad);
  }
});

Deno.test("a SEND with a publication's fields publishes them", () => {
  const fields = {
    title: "Hi",
    body: "there",
    data: { a: 1 },
    ttl: "10m",
    transient: true,
    priority: "high",
  };
  assert.deepEqual(send(JSON.stringify(fields)), { ...fields, to: "chat:7" });
});

Deno.test("a SEND with somebody's own object publishes it as data, whole", () => {
  const own = { title: "Hi", roomId: 7, sender: "me" };
  assert.deepEqual(send(JSON.stringify(own)), { to: "chat:7", data: own });
  const offer = { type: "offer", sdp: "v=0" };
  assert.deepEqual(send(JSON.stringify(offer)), { to: "chat:7", data: offer });
  assert.deepEqual(send('{"type":"bye"}'), { to: "chat:7", data: { type: "bye" } });
  assert.deepEqual(send("[1,2]"), { to: "chat:7", data: [1, 2] });
});

Deno.test("a SEND with a field of the wrong kind is somebody's own object, not half a publication", () => {
  assert.deepEqual(send('{"title":5}'), { to: "chat:7", data: { title: 5 } });
  assert.deepEqual(send('{"title":"a","priority":"urgent"}'), {
    to: "chat:7",
    data: { title: "a", priority: "urgent" },
  });
});

Deno.test("a SEND can never choose another recipient than its destination", () => {
  assert.deepEqual(send('{"to":"user:1","body":"x"}'), { to: "chat:7", data: { to: "user:1", body: "x" } });
});

Deno.test("a SEND in the gateway's shape is read backwards", () => {
  assert.deepEqual(send('{"memberId":42,"message":"hello","redirectPath":"/a"}', {}, SPRING), {
    to: "chat:7",
    body: "hello",
    link: "/a",
  });
  assert.deepEqual(send('{"message":"hello","other":1}', {}, SPRING), {
    to: "chat:7",
    data: { message: "hello", other: 1 },
  });
});

Deno.test("a SEND with text publishes text, also when it looks like a number", () => {
  assert.deepEqual(send("hello"), { to: "chat:7", body: "hello" });
  assert.deepEqual(send("42"), { to: "chat:7", body: "42" });
  assert.deepEqual(send("{broken"), { to: "chat:7", body: "{broken" });
  assert.deepEqual(send('{"title":"x"}', { "content-type": "text/plain" }), {
    to: "chat:7",
    body: '{"title":"x"}',
  });
  assert.deepEqual(send("42", { "content-type": "application/json" }), { to: "chat:7", data: 42 });
  assert.deepEqual(send(""), { to: "chat:7" });
});

Deno.test("headers of a SEND win over its body", () => {
  const got = send('{"title":"a","type":"x"}', {
    type: "match.found",
    "collapse-key": "k",
    "dedupe-key": "d",
    ttl: "30",
    transient: "true",
    priority: "low",
  });
  assert.deepEqual(got, {
    to: "chat:7",
    title: "a",
    type: "match.found",
    collapseKey: "k",
    dedupeKey: "d",
    ttl: "30",
    transient: true,
    priority: "low",
  });
});

Deno.test("a SEND that says JSON and is none, or is no text, or has a wrong header, is refused by name", () => {
  const cases: [() => unknown, string][] = [
    [() => send("{", { "content-type": "application/json" }), "body"],
    [() => readSend("a", {}, new Uint8Array([0xff]), "item"), "body"],
    [() => send("x", { priority: "urgent" }), "priority"],
    [() => send("x", { transient: "yes" }), "transient"],
  ];
  for (const [run, field] of cases) {
    assert.throws(
      run,
      (error) => error instanceof TidingsError && error.details.errors?.[0]?.field === field,
      field,
    );
  }
});

Deno.test("whatever is sent is read or refused by name, and goes to its destination", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.json(), fc.string()),
      fc.constantFrom<BodyShape>("item", "data", SPRING),
      (text, shape) => {
        const got = send(text, {}, shape);
        assert.equal(got.to, "chat:7");
      },
    ),
    { seed: 7_2026, numRuns: 1_000 },
  );
});
