import assert from "node:assert/strict";
import { connect, type ConnectOptions, type Item, type TidingsClient } from "../../src/client/mod.ts";
import { pageStore } from "../../src/client/memory.ts";
import type { Transport } from "../../src/client/machine.ts";
import { realWorld, type World, type WorldEars } from "../../src/client/world.ts";
import { type ManualClock, manualClock } from "../helpers/manual_clock.ts";
import { ScriptedGateway, tokenOf } from "./scripted_gateway.ts";

/** A client together with what it told. */
class Told {
  readonly items: Item[] = [];
  readonly states: string[] = [];
  readonly resets: string[] = [];
  readonly errors: string[] = [];
  readonly counts: number[] = [];
  readonly client: TidingsClient;
  #waiters = new Set<() => void>();

  constructor(gateway: ScriptedGateway, options: ConnectOptions = {}) {
    this.client = connect({
      url: gateway.url,
      ...(options.getToken ? {} : { token: tokenOf("ann") }),
      storage: pageStore(),
      chance: () => 0.01,
      ...options,
    });
    this.client.on("item", (item) => this.#note(() => this.items.push(item)));
    this.client.on("state", (state) => this.#note(() => this.states.push(state.state)));
    this.client.on("reset", ({ reason }) => this.#note(() => this.resets.push(reason)));
    this.client.on("error", (error) => this.#note(() => this.errors.push(error.code)));
    this.client.on("inbox", ({ unread }) => this.#note(() => this.counts.push(unread)));
  }

  #note(run: () => void): void {
    run();
    for (const look of [...this.#waiters]) look();
  }

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }

  live(transport?: Transport): Promise<void> {
    return this.until(() => {
      const { state, transport: used } = this.client.snapshot;
      return state === "live" && (transport === undefined || used === transport);
    });
  }

  /** The next frame of this kind. */
  frame(op: string): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.client.on("frame", ({ direction, frame }) => {
        if (direction !== "in" || frame.op !== op) return;
        stop();
        // when the client has dealt with it
        setTimeout(resolve);
      });
    });
  }

  ids(): string[] {
    return this.items.map((item) => item.id);
  }
}

function shows(name: string, run: (gateway: ScriptedGateway) => Promise<void>): void {
  Deno.test(`connect(): ${name}`, async () => {
    const gateway = await new ScriptedGateway().start();
    try {
      await run(gateway);
    } finally {
      await gateway.stop();
    }
  });
}

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

shows("a fresh token is sent before the old one expires, without reconnecting", async (gateway) => {
  let asked = 0;
  const told = new Told(gateway, { getToken: () => (asked++, tokenOf("ann", 4)) });
  await told.live("websocket");
  await gateway.until(() => gateway.frames.filter((frame) => frame.op === "auth").length === 2);
  assert.equal(gateway.begun.websocket, 1);
  assert.ok(asked >= 3);
  told.client.close();
});

shows("an expired token is asked for anew, a forbidden one ends it with its reason", async (gateway) => {
  let asked = 0;
  const getToken = () => {
    asked++;
    if (asked === 2) gateway.misbehaviour = {};
    return tokenOf("ann");
  };
  gateway.misbehaviour = { refuse: { status: 401, code: "token_expired" } };
  const told = new Told(gateway, { getToken });
  await told.live();
  assert.equal(asked, 2);
  gateway.misbehaviour = { refuse: { status: 403, code: "forbidden" } };
  gateway.cut();
  await told.until(() => told.errors.length === 1);
  assert.deepEqual(told.errors, ["forbidden"]);
  assert.equal(told.client.snapshot.state, "closed");
});

shows("a token that was the only one ends it when it expires", async (gateway) => {
  const told = new Told(gateway);
  await told.live();
  gateway.misbehaviour = { refuse: { status: 401, code: "token_expired" } };
  gateway.cut();
  await told.until(() => told.errors.length === 1);
  assert.deepEqual(told.errors, ["token_expired"]);
});

shows("getToken that fails is asked again, until it answers", async (gateway) => {
  let asked = 0;
  const told = new Told(gateway, {
    getToken: () => ++asked < 3 ? Promise.reject(new Error("down")) : tokenOf("ann"),
  });
  await told.live();
  assert.equal(asked, 3);
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

shows("a day with tokens of five minutes passes on one connection", async (gateway) => {
  const clock = manualClock();
  gateway.heartbeat = 3_000;
  let asked = 0;
  const told = new Told(gateway, {
    clock,
    world: fakeWorld(),
    getToken: () => (asked++, tokenOf("ann", 300, clock.now())),
  });
  await told.live("websocket");
  const auths = () => gateway.frames.filter((frame) => frame.op === "auth").length;
  for (let second = 0; second < 24 * 3600; second += 240) {
    const answered = told.frame("ok");
    clock.advance(240_000);
    await answered;
  }
  assert.equal(auths(), 24 * 60 / 4);
  assert.equal(asked, auths() + 1);
  assert.equal(gateway.begun.websocket, 1);
  gateway.send();
  await told.until(() => told.items.length === 1);
  told.client.close();
});

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

/** A world that says what the test says. */
function fakeWorld(): World & { ears: Set<WorldEars>; isOnline: boolean } {
  const ears = new Set<WorldEars>();
  return {
    ears,
    isOnline: true,
    online() {
      return this.isOnline;
    },
    hidden: () => false,
    network: () => "any",
    watch(added) {
      ears.add(added);
      return () => ears.delete(added);
    },
  };
}
