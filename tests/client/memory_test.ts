import assert from "node:assert/strict";
import { Memory, pageStore, Recent } from "../../src/client/memory.ts";
import { systemClock } from "../../src/clock.ts";

const base = new URL("https://tidings.example/");

Deno.test("Memory keeps each person's cursor apart, and each gateway's", () => {
  const store = pageStore();
  const memory = new Memory(store, base, systemClock);
  memory.keepCursor("ann", "k-1");
  memory.keepCursor("bob", "k-2");
  assert.equal(new Memory(store, base, systemClock).cursor("ann"), "k-1");
  assert.equal(memory.cursor("bob"), "k-2");
  assert.equal(memory.cursor("cy"), undefined);
  assert.equal(new Memory(store, new URL("https://other.example/"), systemClock).cursor("ann"), undefined);
});

Deno.test("Memory remembers a transport per network for a week", () => {
  let now = 1_000;
  const memory = new Memory(pageStore(), base, { ...systemClock, now: () => now });
  memory.keepTransport("wifi", "sse", 2);
  assert.deepEqual(memory.transport("wifi"), { transport: "sse", probes: 2 });
  assert.equal(memory.transport("cellular"), null);
  now += 8 * 24 * 3600_000;
  assert.equal(memory.transport("wifi"), null);
});

Deno.test("Memory goes on without a store that throws, and does not believe what it finds", () => {
  const broken = {
    getItem: () => "{not json",
    setItem: () => {
      throw new DOMException("full", "QuotaExceededError");
    },
  };
  const memory = new Memory(broken, base, systemClock);
  assert.equal(memory.cursor("ann"), undefined);
  memory.keepCursor("ann", "k-3");
  assert.equal(memory.cursor("ann"), "k-3");
  const strange = new Memory(
    { ...pageStore(), getItem: () => '{"transport":"pigeon","probes":1,"at":1}' },
    base,
    systemClock,
  );
  assert.equal(strange.transport("any"), null);
});

Deno.test("Recent drops what it has and forgets the oldest", () => {
  const recent = new Recent(3);
  assert.deepEqual(["1", "2", "1", "3", "4", "1", "4"].map((id) => recent.add(id)), [
    true,
    true,
    false,
    true,
    true,
    true,
    false,
  ]);
});
