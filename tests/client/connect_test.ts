import assert from "node:assert/strict";
import { connect } from "../../src/client/mod.ts";
import { pageStore } from "../../src/client/memory.ts";
import { shows, Told } from "./told.ts";
import { tokenOf } from "./unsigned_token.ts";

for (const transport of ["websocket", "sse", "longpoll"] as const) {
  shows(`${transport} tells each notification once, in order, across cuts`, async (gateway) => {
    const told = new Told(gateway, { transports: [transport] });
    await told.live(transport);
    gateway.send({ title: "one" });
    await told.until(() => told.items.length === 1);
    gateway.cut();
    gateway.send({ title: "two" });
    gateway.send({ title: "three" });
    await told.until(() => told.items.length === 3);
    if (transport !== "longpoll") gateway.repeat("2");
    gateway.send({ title: "four" });
    await told.until(() => told.items.length === 4);
    assert.deepEqual(told.ids(), ["1", "2", "3", "4"]);
    told.client.close();
  });

  shows(`${transport} publishes, marks, counts and tells the inbox`, async (gateway) => {
    const told = new Told(gateway, { transports: [transport] });
    await told.live(transport);
    const [id] = await told.client.publish({ to: "all", title: "Hi" });
    await told.until(() => told.items.length === 1 && told.counts.at(-1) === 1);
    assert.equal(id, "1");
    await told.client.mark("1", "read");
    assert.deepEqual(await told.client.count(), { unread: 0, unseen: 0 });
    assert.deepEqual((await told.client.inbox()).items.map(({ id, state }) => [id, state]), [["1", "read"]]);
    told.client.close();
  });

  shows(`${transport} adds and removes topics, and says when one is forbidden`, async (gateway) => {
    const told = new Told(gateway, { transports: [transport] });
    await told.live(transport);
    await told.client.subscribe("climb:route:12");
    await told.live(transport);
    if (transport !== "longpoll") {
      await gateway.until(() => [...gateway.sessions].some((s) => s.topics.has("climb:route:12")));
    }
    gateway.send({ topic: "climb:route:12" });
    await told.until(() => told.items.length === 1);
    await assert.rejects(told.client.subscribe("secret:1"), { code: "forbidden" });
    await told.client.unsubscribe("climb:route:12");
    await told.live(transport);
    gateway.send({ topic: "climb:route:12" });
    gateway.send({ title: "last" });
    await told.until(() => told.items.length === 2);
    assert.deepEqual(told.ids(), ["1", "3"]);
    told.client.close();
  });

  shows(`${transport} tells a reset and goes on from the cursor that came with it`, async (gateway) => {
    const told = new Told(gateway, { transports: [transport], since: "gone" });
    await told.until(() => told.resets.length === 1);
    await told.live(transport);
    gateway.send();
    await told.until(() => told.items.length === 1);
    told.client.close();
  });
}

shows("each frame is told as it travels, in both directions", async (gateway) => {
  const told = new Told(gateway);
  const frames: string[] = [];
  told.client.on(
    "frame",
    ({ direction, transport, frame }) => frames.push(`${direction} ${transport} ${frame.op}`),
  );
  await told.live("websocket");
  await told.client.subscribe("climb:1");
  const ack = gateway.until(() => gateway.frames.at(-1)?.op === "ack");
  gateway.send();
  await ack;
  const expected = ["out hello", "in welcome", "out subscribe", "in ok", "in items", "in inbox", "out ack"];
  assert.deepEqual(
    frames.filter((frame) => frame !== "out websocket ack"),
    expected.slice(0, -1).map((frame) => frame.replace(" ", " websocket ")),
  );
  assert.ok(frames.includes("out websocket ack"));
  told.client.close();
});

shows("the next page goes on from where the last one stopped, each person apart", async (gateway) => {
  const storage = pageStore();
  const first = new Told(gateway, { storage });
  await first.live();
  gateway.send();
  await first.until(() => first.items.length === 1);
  first.client.close();
  gateway.send();
  const other = new Told(gateway, { storage, token: tokenOf("bob") });
  const second = new Told(gateway, { storage });
  await second.until(() => second.items.length === 1);
  await other.live();
  assert.deepEqual(second.ids(), ["2"]);
  assert.deepEqual(other.ids(), []);
  second.client.close();
  other.client.close();
});

shows("an iteration of a client that is closed ends at once", async (gateway) => {
  const told = new Told(gateway);
  await told.live();
  told.client.close();
  assert.deepEqual(await Array.fromAsync(told.client), []);
});

shows(
  "iterating gives the notifications, ends with close() and says when it was too slow",
  async (gateway) => {
    const told = new Told(gateway);
    await told.live();
    const got: string[] = [];
    const reading = (async () => {
      for await (const item of told.client) {
        got.push(item.id);
        if (got.length === 2) told.client.close();
      }
    })();
    gateway.send();
    gateway.send();
    await reading;
    assert.deepEqual(got, ["1", "2"]);

    const slow = new Told(gateway, { since: "earliest" });
    const iterator = slow.client[Symbol.asyncIterator]();
    await slow.live();
    for (let n = 0; n < 1_100; n++) gateway.send();
    await slow.until(() => slow.items.length === 1_102);
    await assert.rejects(async () => {
      for (let n = 0; n < 1_100; n++) await iterator.next();
    }, { code: "overflow" });
    slow.client.close();
  },
);

shows("a listener that throws stops nobody else", async (gateway) => {
  const told = new Told(gateway);
  await told.live();
  const thrown = new Promise<string>((resolve) => {
    addEventListener("error", (event) => {
      event.preventDefault();
      resolve(event.error.message);
    }, { once: true });
  });
  told.client.on("item", () => {
    throw new Error("the page's own mistake");
  });
  const after: string[] = [];
  told.client.on("item", (item) => after.push(item.id));
  gateway.send();
  assert.equal(await thrown, "the page's own mistake");
  assert.deepEqual(after, ["1"]);
  told.client.close();
});

Deno.test("connect() refuses settings that cannot work, by name", () => {
  assert.throws(() => connect({ url: "not an address" }), { code: "invalid_argument" });
  assert.throws(() => connect({ url: "ftp://x.example" }), { code: "invalid_argument" });
  assert.throws(() => connect({ url: "http://x.example", transports: [] }), { code: "invalid_argument" });
});
