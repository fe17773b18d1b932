import assert from "node:assert/strict";
import { type ManualClock, manualClock } from "../helpers/manual_clock.ts";
import { fakeWorld } from "./fake_world.ts";
import { shows, Told } from "./told.ts";

shows(
  "subscribe() waits for a connection, and goes on to the next one when it breaks before the answer",
  async (gateway) => {
    const world = fakeWorld();
    world.isOnline = false;
    const told = new Told(gateway, { world });
    await told.until(() => told.states.includes("offline"));
    const early = told.client.subscribe("climb:1");
    world.isOnline = true;
    world.ears.forEach((ears) => ears.online());
    await early;
    gateway.misbehaviour = { deaf: true };
    const broken = told.client.subscribe("climb:2");
    await gateway.until(() => gateway.frames.at(-1)?.op === "subscribe");
    gateway.misbehaviour = {};
    gateway.cut();
    await broken;
    gateway.misbehaviour = { deaf: true };
    const left = told.client.unsubscribe("climb:1");
    await gateway.until(() => gateway.frames.at(-1)?.op === "unsubscribe");
    gateway.misbehaviour = {};
    gateway.cut();
    await left;
    await told.live();
    for (const topic of ["climb:1", "climb:2"]) gateway.send({ topic });
    await told.until(() => told.items.length === 1);
    assert.deepEqual(told.items.map(({ topic }) => topic), ["climb:2"]);
    told.client.close();
  },
);

for (const [since, brings] of [["earliest", "items"], ["gone", "a reset"]] as const) {
  shows(`${brings} that an answer to subscribe() brings after close() is told to nobody`, async (gateway) => {
    const asked = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    const told = new Told(gateway, {
      transports: ["sse"],
      fetch: async (input, init) => {
        const { searchParams } = new URL(String(input));
        if (searchParams.get("topics") !== "climb:1") return await fetch(input, init);
        const response = since === "gone" ? cursorReset() : await fetch(input, init);
        asked.resolve();
        await closed.promise;
        return response;
      },
    });
    await told.live("sse");
    gateway.send({ topic: "climb:1" });
    const joined = told.client.subscribe("climb:1", since);
    await asked.promise;
    told.client.close();
    closed.resolve();
    await assert.rejects(joined, { code: "closed" });
    assert.deepEqual([told.ids(), told.resets], [[], []]);
  });
}

function cursorReset(): Response {
  const problem = { type: "urn:x", title: "Gone", status: 409, code: "cursor_reset", cursor: "s-0" };
  return new Response(JSON.stringify(problem), {
    status: 409,
    headers: { "content-type": "application/json" },
  });
}

shows("no call waits for ever: each ends with an error that says why", async (gateway) => {
  const clock = manualClock();
  const world = fakeWorld();
  const lost = (act: string, why: RegExp) => (error: Error & { code: string }) => {
    assert.equal(error.code, "connection_lost");
    assert.match(error.message, new RegExp(`^Cannot ${act}: `));
    assert.match(error.message, why);
    return true;
  };
  world.isOnline = false;
  const away = new Told(gateway, { clock, world });
  await away.until(() => away.states.includes("offline"));
  await withinAMinute(clock, [
    assert.rejects(away.client.subscribe("climb:1"), lost("subscribe", /no connection in time/)),
  ]);
  away.client.close();
  await assert.rejects(away.client.subscribe("climb:1"), { code: "closed" });

  const silent = new Told(gateway, { clock });
  await silent.live("websocket");
  gateway.misbehaviour = { deaf: true, muteHttp: true };
  await withinAMinute(clock, [
    assert.rejects(silent.client.publish({ to: "all", title: "x" }), lost("publish", /cannot be reached/)),
    assert.rejects(silent.client.mark("1", "read"), lost("mark", /cannot be reached/)),
    assert.rejects(silent.client.count(), lost("count the inbox", /cannot be reached/)),
    assert.rejects(silent.client.subscribe("climb:1"), lost("subscribe", /in time|cannot be reached/)),
  ]);
  silent.client.close();

  const dumb = new Told(gateway, { clock, getToken: () => new Promise<string>(() => {}) });
  await withinAMinute(clock, [
    assert.rejects(dumb.client.subscribe("climb:1"), lost("subscribe", /no token yet/)),
    assert.rejects(dumb.client.publish({ to: "all" }), lost("get a token", /did not answer in time/)),
  ]);
  dumb.client.close();
});

shows("publishing over a connection that breaks sends once", async (gateway) => {
  const told = new Told(gateway);
  await told.live("websocket");
  const original = gateway.send.bind(gateway);
  // the frame arrives and is sent, and the answer is lost
  gateway.send = (item) => {
    const id = original(item);
    gateway.cut();
    return id;
  };
  const ids = await told.client.publish({ to: "all", title: "once" });
  await told.until(() => told.items.length === 1);
  assert.deepEqual(ids, ["1"]);
  assert.equal(gateway.log.length, 1);
  told.client.close();
});

/** Moves the clock on, a second whenever everything else is at rest, until the work is done; for a minute at most. */
async function withinAMinute(clock: ManualClock, work: Promise<unknown>[]): Promise<void> {
  let done = false;
  const all = Promise.all(work).finally(() => done = true);
  for (let second = 0; second < 60 && !done; second++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    clock.advance(1_000);
  }
  assert.ok(done, "still waiting after a minute");
  await all;
}
