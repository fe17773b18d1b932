import assert from "node:assert/strict";
import { pageStore } from "../../src/client/memory.ts";
import { manualClock } from "../helpers/manual_clock.ts";
import { shows, Told } from "./told.ts";

shows("a refused upgrade leads to SSE, with no notification lost", async (gateway) => {
  gateway.misbehaviour = { refuseUpgrade: true };
  const told = new Told(gateway);
  await told.live("sse");
  gateway.send();
  await told.until(() => told.items.length === 1);
  told.client.close();
});

shows("an upgrade that is swallowed leads to SSE as soon as its time is over", async (gateway) => {
  gateway.misbehaviour = { swallowUpgrade: true };
  const clock = manualClock();
  const told = new Told(gateway, { clock });
  await told.until(() => told.states.includes("connecting"));
  clock.advance(2_499);
  assert.equal(told.client.snapshot.state, "connecting");
  clock.advance(1);
  await told.live("sse");
  gateway.send();
  await told.until(() => told.items.length === 1);
  told.client.close();
});

shows(
  "an upgrade that is accepted and then mute, and events that are buffered, lead to long-poll",
  async (gateway) => {
    gateway.misbehaviour = { muteWebsocket: true, muteSse: true };
    const began = performance.now();
    const told = new Told(gateway);
    await told.live("longpoll");
    assert.ok(performance.now() - began < 10_000);
    gateway.send();
    await told.until(() => told.items.length === 1);
    told.client.close();
  },
);

shows("what worked on this network is tried first the next time", async (gateway) => {
  const storage = pageStore();
  gateway.misbehaviour = { refuseUpgrade: true };
  const first = new Told(gateway, { storage });
  await first.live("sse");
  first.client.close();
  gateway.misbehaviour = {};
  const second = new Told(gateway, { storage });
  await second.live();
  assert.equal(second.client.snapshot.transport, "sse");
  second.client.close();
});

shows("a hotel's login page is no gateway: it waits, and comes back", async (gateway) => {
  gateway.misbehaviour = { page: 200 };
  const told = new Told(gateway);
  await told.until(() => told.states.includes("waiting"));
  gateway.misbehaviour = {};
  await told.live();
  told.client.close();
});

shows("a long-poll that a proxy cuts is asked to be shorter", async (gateway) => {
  gateway.misbehaviour = { cutPollAfter: 1_300 };
  const told = new Told(gateway, { transports: ["longpoll"] });
  await told.live("longpoll");
  await gateway.until(() => gateway.begun.longpoll! >= 3);
  assert.equal(told.states.filter((state) => state === "waiting").length, 0);
  gateway.send();
  await told.until(() => told.items.length === 1);
  told.client.close();
});

shows(
  "a silent connection is asked for a sign of life, kept when one comes and left when none does",
  async (gateway) => {
    const clock = manualClock();
    const told = new Told(gateway, { clock });
    await told.live("websocket");
    const pings = () => gateway.frames.filter((frame) => frame.op === "ping").length;
    for (let ping = 1; ping <= 3; ping++) {
      const pong = told.frame("pong");
      // heartbeat and five seconds after the last sign of life
      clock.advance(ping === 1 ? 20_001 : 18_501);
      await gateway.until(() => pings() === ping);
      await pong;
      clock.advance(1_500);
      assert.equal(told.client.snapshot.transport, "websocket");
    }
    gateway.misbehaviour = { deaf: true };
    clock.advance(18_501);
    await gateway.until(() => pings() === 4);
    clock.advance(1_500);
    await told.live("sse");
    told.client.close();
  },
);

shows(
  "silent events are left for the next transport, and the better one is found again beside it",
  async (gateway) => {
    const clock = manualClock();
    gateway.misbehaviour = { refuseUpgrade: true };
    const told = new Told(gateway, { clock });
    await told.live("sse");
    gateway.misbehaviour = {};
    gateway.send();
    await told.until(() => told.items.length === 1);
    const alive = told.frame("cursor");
    clock.advance(10_000);
    gateway.tell({ op: "cursor", cursor: gateway.cursor });
    await alive;
    clock.advance(20_001);
    await told.live("longpoll");
    // probed in vain counts already, so it is half of two minutes and a little
    clock.advance(61_300);
    await told.live("websocket");
    gateway.send();
    await told.until(() => told.items.length === 2);
    assert.deepEqual(told.ids(), ["1", "2"]);
    told.client.close();
  },
);
