import assert from "node:assert/strict";
import { realWorld } from "../../src/client/world.ts";
import { manualClock } from "../helpers/manual_clock.ts";
import { fakeWorld } from "./fake_world.ts";
import { shows, Told } from "./told.ts";

shows(
  "waking reconnects at once, although the old connection says nothing of being dead",
  async (gateway) => {
    const world = fakeWorld();
    // a clock that stands: whatever waited for it, were it a second, would wait for ever
    const told = new Told(gateway, { world, clock: manualClock() });
    await told.live("websocket");
    gateway.misbehaviour = { deaf: true };
    world.ears.forEach((ears) => ears.woke());
    gateway.misbehaviour = {};
    await told.until(() => told.states.filter((state) => state === "live").length === 2);
    told.client.close();
  },
);

shows(
  "offline stays quiet, online connects, and looking at the page again asks for a sign of life",
  async (gateway) => {
    const world = fakeWorld();
    world.isOnline = false;
    const told = new Told(gateway, { world });
    await told.until(() => told.states.includes("offline"));
    assert.equal(gateway.begun.websocket, 0);
    world.isOnline = true;
    world.ears.forEach((ears) => ears.online());
    await told.live("websocket");
    world.ears.forEach((ears) => ears.shown());
    await gateway.until(() => gateway.frames.some((frame) => frame.op === "ping"));
    world.isOnline = false;
    world.ears.forEach((ears) => ears.offline());
    assert.equal(told.client.snapshot.state, "offline");
    told.client.close();
    assert.equal(world.ears.size, 0);
  },
);

Deno.test("realWorld() tells a sleep by the gap in the clock, and no sleep by a slow timer", () => {
  const clock = manualClock();
  let slept = 0;
  const world = realWorld({ ...clock, now: () => clock.now() + slept });
  let woke = 0;
  const nothing = () => {};
  const stop = world.watch({
    online: nothing,
    offline: nothing,
    shown: nothing,
    hidden: nothing,
    leaving: nothing,
    woke: () => woke++,
  });
  clock.advance(60_000);
  slept += 2_000;
  clock.advance(1_000);
  assert.equal(woke, 0);
  slept += 3_600_000;
  clock.advance(500);
  assert.equal(woke, 1);
  clock.advance(60_000);
  assert.equal(woke, 1);
  stop();
  assert.equal(clock.waiting, 0);
});
