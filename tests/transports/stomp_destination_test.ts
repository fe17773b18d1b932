import assert from "node:assert/strict";
import fc from "fast-check";
import { TidingsError } from "../../src/errors.ts";
import { isTopic } from "../../src/feed/topic.ts";
import { parseSource, parseTarget } from "../../src/transports/stomp_destination.ts";

const PREFIXES = { user: ["/user", "/member"], topic: ["/topic"], publish: ["/app", "/publish"] };

const SOURCES: [string, ReturnType<typeof parseSource>][] = [
  ["/user/queue/notification", { kind: "person", queue: "notification" }],
  ["/member/queue/notification", { kind: "person", queue: "notification" }],
  ["/user/queue/match/found", { kind: "person", queue: "match/found" }],
  ["/topic/all", { kind: "topic", topic: "all" }],
  ["/topic/climb.route.12", { kind: "topic", topic: "climb:route:12" }],
  ["/topic/climb/route/12", { kind: "topic", topic: "climb:route:12" }],
  ["/topic/climb:route:v1.2", { kind: "topic", topic: "climb:route:v1.2" }],
  ["/topic/v1%2E2/a%2Fb", { kind: "topic", topic: "v1.2:a/b" }],
  ["/topic/user.42", { kind: "topic", topic: "user:42" }],
];

for (const [destination, source] of SOURCES) {
  Deno.test(`SUBSCRIBE ${destination} means ${source.kind === "person" ? "the person's feed" : source.topic}`, () => {
    assert.deepEqual(parseSource(destination, PREFIXES), source);
  });
}

const TARGETS: [string, string][] = [
  ["/topic/climb.route.12", "climb:route:12"],
  ["/app/chat/room/7", "chat:room:7"],
  ["/publish/chat.room.7", "chat:room:7"],
  ["/publish/chat:room:7", "chat:room:7"],
  ["/user/queue/notification", "user:me"],
  ["/user/42/queue/notification", "user:42"],
  ["/member/42/queue/call/offer", "user:42"],
  ["/user/a%2Fb/queue/x", "user:a/b"],
];

for (const [destination, topic] of TARGETS) {
  Deno.test(`SEND ${destination} publishes to ${topic}`, () => {
    assert.equal(parseTarget(destination, "me", PREFIXES), topic);
  });
}

for (
  const bad of [
    "",
    "/",
    "topic/a",
    "/topic",
    "/topic/",
    "/topic/a..b",
    "/topic/a/*",
    "/topic/a,b",
    "/topic/%",
    "/topic/%ff",
    "/topic/a b",
    "/queue/a",
    "/app/a",
    "/user/queue/",
    "/user/42/queue/a",
    "/other/queue/a",
    `/topic/${"a".repeat(201)}`,
    `/topic/${"a".repeat(2_000)}`,
  ]
) {
  Deno.test(`SUBSCRIBE ${JSON.stringify(bad.slice(0, 40))} is refused, naming the destination`, () => {
    assert.throws(() => parseSource(bad, PREFIXES), isRefusal);
  });
}

for (
  const bad of [
    "",
    "/app",
    "/app/",
    "/queue/a",
    "/user/42",
    "/user//queue/a",
    "/user/42/queue/",
    "/user/a b/queue/x",
  ]
) {
  Deno.test(`SEND ${JSON.stringify(bad)} is refused, naming the destination`, () => {
    assert.throws(() => parseTarget(bad, "me", PREFIXES), isRefusal);
  });
}

Deno.test("every destination becomes a well-formed topic or a refusal", () => {
  const piece = fc.constantFrom(
    "/",
    ".",
    ":",
    "a",
    "topic",
    "user",
    "queue",
    "%2E",
    "%",
    "*",
    " ",
    "\u0000",
    "é",
    ",",
  );
  fc.assert(
    fc.property(
      fc.constantFrom("/topic/", "/app/", "/user/", "/member/", ""),
      fc.array(piece, { maxLength: 12 }),
      (start, rest) => {
        const destination = start + rest.join("");
        try {
          const source = parseSource(destination, PREFIXES);
          assert(source.kind === "person" ? source.queue !== "" : isTopic(source.topic));
        } catch (error) {
          assert(isRefusal(error));
        }
        try {
          assert(isTopic(parseTarget(destination, "me", PREFIXES)));
        } catch (error) {
          assert(isRefusal(error));
        }
      },
    ),
    { seed: 20_121_022, numRuns: 2_000 },
  );
});

Deno.test("topics may have other prefixes, several at once", () => {
  const prefixes = { user: ["/user"], topic: ["/topic", "/sub"], publish: ["/pub"] };
  assert.deepEqual(parseSource("/sub/chat/room/7", prefixes), { kind: "topic", topic: "chat:room:7" });
  assert.equal(parseTarget("/pub/chat/room/7", "me", prefixes), "chat:room:7");
  assert.throws(() => parseTarget("/app/chat/room/7", "me", prefixes), isRefusal);
});

function isRefusal(error: unknown): boolean {
  return error instanceof TidingsError && error.code === "invalid_request" &&
    error.details.errors?.[0]?.field === "destination";
}
