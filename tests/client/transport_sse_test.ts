import assert from "node:assert/strict";
import fc from "fast-check";
import { type SseEvent, SseParser, toFrame } from "../../src/client/transport_sse.ts";

function parse(...chunks: string[]): SseEvent[] {
  const events: SseEvent[] = [];
  const parser = new SseParser((event) => events.push(event));
  chunks.forEach((chunk) => parser.push(chunk));
  return events;
}

Deno.test("SseParser tells events with their type, id and joined data", () => {
  assert.deepEqual(parse("event: a\nid: k-1\ndata: 1\ndata:2\n\n: comment\n\nid: k-2\n\n"), [
    { event: "a", data: "1\n2", id: "k-1" },
    { event: "", data: "", id: "k-2" },
  ]);
});

Deno.test("SseParser tells nothing of an event that was cut off", () => {
  assert.deepEqual(parse("event: a\ndata: 1\n"), []);
});

Deno.test("SseParser refuses a line that has no end", () => {
  assert.throws(() => parse("x".repeat(5 * 1024 * 1024)), RangeError);
  assert.throws(
    () => parse(...Array.from({ length: 50 }, () => `data: ${"x".repeat(100_000)}\n`)),
    RangeError,
  );
});

Deno.test("SseParser reads the same whatever the line ends, and wherever the network cut the stream", () => {
  const event = fc.record({
    event: fc.constantFrom("a", "match.found", "알림"),
    data: fc.array(fc.string({ unit: fc.constantFrom("a", " ", ":", "é", "😀", "{") }), {
      minLength: 1,
      maxLength: 3,
    }),
    id: fc.stringMatching(/^[a-z0-9-]{1,8}$/),
  });
  const property = fc.property(
    fc.array(event, { maxLength: 8 }),
    fc.constantFrom("\n", "\r\n", "\r"),
    fc.array(fc.nat(400), { maxLength: 20 }),
    (events, end, cuts) => {
      const text =
        events.map(({ event, data, id }) =>
          [`event: ${event}`, `id: ${id}`, ...data.map((line) => `data: ${line}`), "", ""].join(end)
        ).join("") + ":" + end;
      const places = [0, ...cuts.filter((cut) => cut < text.length).sort((a, b) => a - b), text.length];
      const chunks = places.slice(1).map((to, index) => text.slice(places[index], to));
      assert.deepEqual(
        parse(...chunks),
        events.map(({ data, ...rest }) => ({ ...rest, data: data.join("\n") })),
      );
    },
  );
  fc.assert(property, { seed: 6_2026, numRuns: 2_000 });
});

Deno.test("toFrame() makes the frames of the protocol out of events", () => {
  const item = { id: "1", topic: "all", type: "notification", createdAt: "2026-01-01T00:00:00.000Z" };
  const frames = [
    toFrame({ event: "notification", data: JSON.stringify(item), id: "k-9" }),
    toFrame({ event: "", data: "", id: "k-9" }),
    toFrame({ event: "", data: "", id: "" }),
    toFrame({ event: "tidings.inbox", data: '{"unread":1,"unseen":0}', id: "" }),
    toFrame({ event: "tidings.reconnect", data: '{"after":3}', id: "" }),
  ];
  assert.deepEqual(frames, [
    { op: "items", cursor: "k-9", items: [item] },
    { op: "cursor", cursor: "k-9" },
    null,
    { op: "inbox", unread: 1, unseen: 0 },
    { op: "reconnect", after: 3 },
  ]);
});
