import assert from "node:assert/strict";
import fc from "fast-check";
import type { Item } from "../../src/notification.ts";
import type { PushPayload as Payload } from "../../src/protocol.ts";
import { cutText, payloadOf } from "../../src/push/payload.ts";
import type { PushMessage } from "../../src/push/provider.ts";

const base: Item = { id: "7", topic: "user:1", type: "notification", createdAt: "2026-01-01T00:00:00.000Z" };
const message = (item: Partial<Item>, more: Partial<PushMessage> = {}): PushMessage => ({
  kind: "notify",
  messageId: "ntf_7_1",
  item: { ...base, ...item },
  ids: ["7"],
  read: [],
  ttl: 60,
  ...more,
});
const read = (bytes: Uint8Array): Payload =>
  JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));

Deno.test("payloadOf() leaves a small notification whole", () => {
  const item = { title: "Hello", body: "World", link: "/x", data: { a: 1 }, collapseKey: "k" };
  const payload = read(payloadOf(message(item, { read: ["3"], unread: 4 }), 3_993));
  assert.deepEqual(payload, {
    tidings: 1,
    kind: "notify",
    item: { ...base, ...item },
    read: ["3"],
    unread: 4,
  });
});

Deno.test("payloadOf() fits any notification into the limit, keeps its id, and says what it cut", () => {
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom("a", "é", "👩‍👩‍👧‍👦", "🇩🇪", '"', "\n", "\u2028", "ﷺ"), fc.string()),
    maxLength: 3_000,
  });
  const field = fc.option(text, { nil: undefined });
  fc.assert(
    fc.property(
      field,
      field,
      fc.option(fc.jsonValue(), { nil: undefined }),
      field,
      (title, body, data, link) => {
        const item: Partial<Item> = {
          ...(title === undefined ? {} : { title: title.slice(0, 1_000) }),
          ...(body === undefined ? {} : { body: body.repeat(20) }),
          ...(data === undefined ? {} : { data }),
          ...(link === undefined ? {} : { link: link.slice(0, 2_048) }),
        };
        const ids = Array.from({ length: 300 }, (_, index) => String(10_000_000 + index));
        const bytes = payloadOf(message(item, { ids, read: ids }), 1_500);
        assert(bytes.length <= 1_500);
        const payload = read(bytes);
        assert.equal(payload.item.id, "7");
        for (const name of ["title", "body", "data", "link"] as const) {
          if (!(payload.cut ?? []).includes(name)) {
            assert.deepEqual(
              payload.item[name] ?? null,
              JSON.parse(JSON.stringify(item[name] ?? null)),
              name,
            );
          }
        }
        if (payload.cut?.includes("body") && payload.item.body !== undefined) {
          assert(payload.item.body.endsWith("…"));
          assert(item.body?.startsWith(payload.item.body.slice(0, -1)));
        }
      },
    ),
    { seed: 41_007, numRuns: 300 },
  );
});

Deno.test("payloadOf() uses the room there is: a long body is cut to the limit and not shorter", () => {
  const bytes = payloadOf(message({ body: "x".repeat(60_000) }), 3_993);
  assert(bytes.length > 3_985 && bytes.length <= 3_993, String(bytes.length));
});

Deno.test("cutText() never cuts inside a grapheme", () => {
  const family = "👩‍👩‍👧‍👦";
  assert.equal(cutText(`a${family}${family}`, 1 + 25), `a${family}`);
  assert.equal(cutText(`a${family}`, 24), "a");
  assert.equal(cutText("é".normalize("NFD").repeat(3), 6), "é".normalize("NFD").repeat(2));
  assert.equal(cutText(`a\u0301`.repeat(2), 5), "a\u0301");
  assert.equal(cutText(`z${"\u0301".repeat(5_000)}`, 100), "");
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), fc.nat(400), (text, bytes) => {
      const head = cutText(text, bytes);
      assert(text.startsWith(head));
      assert(new TextEncoder().encode(JSON.stringify(head)).length - 2 <= bytes);
      const segments = [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)];
      assert(head.length === text.length || segments.some(({ index }) => index === head.length));
    }),
    { seed: 5_150, numRuns: 500 },
  );
});
