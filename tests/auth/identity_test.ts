import assert from "node:assert/strict";
import fc from "fast-check";
import { type Identity, isUser, mayPublish, maySubscribe } from "../../src/auth/identity.ts";

const SEEDS = { own: 210101, reserved: 210102 };

function identity(parts: Partial<Identity> = {}): Identity {
  return { user: "42", subscribe: [], publish: [], admin: false, ...parts };
}

const admin = identity({ admin: true });

Deno.test("everybody may read their own topic and all, and nothing else by themselves", () => {
  const somebody = identity();
  for (const topic of ["user:42", "all"]) assert.ok(maySubscribe(somebody, topic), topic);
  for (const topic of ["user:43", "user:4", "user:42:x", "user", "climb:route:12", "all:x"]) {
    assert.equal(maySubscribe(somebody, topic), false, topic);
  }
});

Deno.test("nobody may send anywhere without a pattern, not even to themselves", () => {
  for (const topic of ["user:42", "all", "climb"]) assert.equal(mayPublish(identity(), topic), false, topic);
});

Deno.test("patterns give the right they stand under, and only that one", () => {
  const reader = identity({ subscribe: ["climb:*", "team:**"] });
  const writer = identity({ publish: ["climb:*"] });
  assert.ok(maySubscribe(reader, "climb:1"));
  assert.ok(maySubscribe(reader, "team:1:2:3"));
  assert.equal(maySubscribe(reader, "climb:1:2"), false);
  assert.equal(maySubscribe(reader, "team"), false);
  assert.equal(mayPublish(reader, "climb:1"), false);
  assert.ok(mayPublish(writer, "climb:1"));
  assert.equal(maySubscribe(writer, "climb:1"), false);
});

Deno.test("another person's topic is read by a pattern or by an administrator", () => {
  assert.ok(maySubscribe(identity({ subscribe: ["user:43"] }), "user:43"));
  assert.ok(maySubscribe(identity({ subscribe: ["user:*"] }), "user:43"));
  assert.ok(maySubscribe(identity({ subscribe: ["**"] }), "user:43"));
  assert.equal(maySubscribe(identity({ subscribe: ["*"] }), "user:43"), false);
  assert.ok(maySubscribe(admin, "user:43"));
});

Deno.test("an administrator may read and send everything that is a topic", () => {
  for (const topic of ["user:43", "all", "climb:route:12"]) {
    assert.ok(maySubscribe(admin, topic) && mayPublish(admin, topic), topic);
  }
  for (const topic of ["", "a b", "a:", "climb:*"]) {
    assert.ok(!maySubscribe(admin, topic) && !mayPublish(admin, topic), topic);
  }
});

Deno.test("the gateway's own topics are nobody's, whatever the rights", () => {
  const everything = identity({
    subscribe: ["**", "tidings:**"],
    publish: ["**", "tidings:**"],
    admin: true,
  });
  const reserved = fc.tuple(
    fc.constantFrom("tidings", "tidings.inbox", "tidings."),
    fc.array(fc.constantFrom("a", "b"), { maxLength: 3 }),
  ).map(([first, rest]) => [first, ...rest].join(":"));
  fc.assert(
    fc.property(reserved, (topic) => {
      assert.ok(!maySubscribe(everything, topic) && !mayPublish(everything, topic));
    }),
    { seed: SEEDS.reserved },
  );
  assert.ok(maySubscribe(everything, "tidingsapp:x"));
});

Deno.test("no user reads another's topic without rights, whatever the names", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" }), (one, other) => {
      fc.pre(isUser(one));
      assert.equal(maySubscribe(identity({ user: one }), `user:${other}`), one === other);
      assert.ok(maySubscribe(identity({ user: one }), `user:${one}`));
    }),
    { seed: SEEDS.own, numRuns: 1_000 },
  );
});

Deno.test("isUser() takes what can stand in a topic", () => {
  for (const good of ["42", "auth0|5f7c", "a@b.example", "org:7:ann", "Zoë", "x".repeat(195)]) {
    assert.ok(isUser(good), good);
  }
  for (const bad of ["", " ", "a b", "a,b", "*", "**", ":", "a:", "a\n", "\ud800", "x".repeat(196)]) {
    assert.equal(isUser(bad), false, JSON.stringify(bad));
  }
});
