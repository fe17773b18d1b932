import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Action,
  type Event,
  type Machine,
  machine,
  type Step,
  type Surroundings,
  TIMES,
  TRANSPORTS,
} from "../../src/client/machine.ts";
import { step } from "../../src/client/states.ts";

const problem = { type: "urn:x", title: "No", status: 403, code: "forbidden" };
const unauthorized = { type: "urn:x", title: "No", status: 401, code: "invalid_token" };

function around(over: Partial<Surroundings> = {}): Surroundings {
  return { now: 0, chance: () => 0.5, online: true, hidden: false, renewable: true, ...over };
}

/** Runs events one after the other; what was done by the last one is in the answer. */
function run(events: Event[], from: Machine = machine(), world = around()): Step {
  return events.reduce<Step>((at, event) => step(at.machine, event, world), { machine: from, actions: [] });
}

function done(actions: Action[]): string[] {
  return actions.map((action) => "transport" in action ? `${action.do} ${action.transport}` : action.do);
}

const OPEN: Event[] = [{ type: "open" }, { type: "authorized" }];
const LIVE: Event[] = [...OPEN, { type: "welcomed" }];

Deno.test("states: opening asks for a token, tries the best transport and goes live", () => {
  assert.deepEqual(done(run([{ type: "open" }]).actions), ["authorize"]);
  assert.deepEqual(done(run(OPEN).actions), ["connect websocket"]);
  const { machine: m, actions, timer } = run(LIVE);
  assert.equal(m.state, "live");
  assert.deepEqual(done(actions), ["remember websocket"]);
  assert.equal(timer, null);
});

Deno.test("states: what is refused or swallowed leads to the next transport at once, and to a wait after the last", () => {
  let at = run(OPEN);
  for (const transport of ["sse", "longpoll"]) {
    at = step(at.machine, { type: transport === "sse" ? "lost" : "elapsed" }, around());
    assert.deepEqual(done(at.actions), ["drop", `connect ${transport}`]);
    assert.equal(at.timer, TIMES.attempt);
  }
  at = step(at.machine, { type: "lost" }, around());
  assert.equal(at.machine.state, "waiting");
  assert.equal(at.timer, TIMES.backoff / 2);
  at = run([{ type: "elapsed" }, { type: "authorized" }], at.machine);
  assert.deepEqual(done(at.actions), ["connect websocket"]);
  assert.equal(at.timer, TIMES.attempt * 2);
});

Deno.test("states: three transports that say nothing are tried within ten seconds", () => {
  assert.ok(TIMES.attempt * (TRANSPORTS.length - 1) < 6_000);
});

Deno.test("states: the transport that worked here before is tried first, and better ones later beside it", () => {
  const start = machine(TRANSPORTS, { transport: "longpoll", probes: 1 });
  const live = run(LIVE, start);
  assert.deepEqual(done(live.actions), ["remember longpoll"]);
  assert.equal(live.timer, TIMES.probe * 2 * 0.75);
  const probing = run([{ type: "elapsed" }], live.machine);
  assert.deepEqual(done(probing.actions), ["probe websocket"]);
  const second = run([{ type: "unprobed" }], probing.machine);
  assert.deepEqual(done(second.actions), ["drop_probe", "probe sse"]);
  const found = run([{ type: "probed" }], second.machine);
  assert.deepEqual(done(found.actions), ["adopt", "remember sse"]);
  assert.equal(found.machine.state, "live");
});

Deno.test("states: probing in vain comes half as often each time", () => {
  const live = run(LIVE, machine(["websocket", "sse"], { transport: "sse", probes: 0 }));
  let at = live;
  const waits: (number | null | undefined)[] = [live.timer];
  for (let round = 0; round < 8; round++) {
    at = run([{ type: "elapsed" }, { type: "unprobed" }], at.machine);
    assert.deepEqual(done(at.actions), ["drop_probe", "remember sse"]);
    waits.push(at.timer);
  }
  assert.deepEqual(waits.slice(0, 4), [45_000, 90_000, 180_000, 360_000]);
  assert.equal(waits.at(-1), TIMES.probeMost * 0.75);
});

Deno.test("states: a connection that stands and carries nothing gives way to the next transport", () => {
  const at = run([{ type: "mute" }], run(LIVE).machine);
  assert.deepEqual(done(at.actions), ["drop", "connect sse"]);
});

Deno.test("states: a connection cut after ten seconds comes back on the same transport", () => {
  const live = run(LIVE).machine;
  let at: Step = { machine: live, actions: [] };
  for (let cut = 1; cut <= 20; cut++) {
    const now = cut * 10_000;
    at = step(at.machine, { type: "lost" }, around({ now }));
    assert.equal(at.machine.state, "waiting");
    assert.ok(at.timer! < 1_000);
    at = run(
      [{ type: "elapsed" }, { type: "authorized" }, { type: "welcomed" }],
      at.machine,
      around({ now }),
    );
    assert.equal(at.machine.index, 0);
  }
});

Deno.test("states: one that dies right after each welcome is given up after three times", () => {
  let at: Step = { machine: run(LIVE).machine, actions: [] };
  for (let flap = 1; flap <= 2; flap++) {
    at = run(
      [{ type: "lost" }, { type: "elapsed" }, { type: "authorized" }, { type: "welcomed" }],
      at.machine,
    );
  }
  at = run([{ type: "lost" }], at.machine);
  assert.deepEqual(done(at.actions), ["drop", "connect sse"]);
});

Deno.test("states: offline opens nothing until online, and then at once", () => {
  const off = run([{ type: "offline" }], run(LIVE).machine);
  assert.equal(off.machine.state, "offline");
  assert.deepEqual(done(off.actions), ["drop"]);
  assert.equal(off.timer, TIMES.offline);
  assert.deepEqual(done(run([{ type: "online" }], off.machine).actions), ["authorize"]);
  assert.equal(run([{ type: "open" }], machine(), around({ online: false })).machine.state, "offline");
});

Deno.test("states: waking drops what was open and connects at once, from every state that has or awaits a link", () => {
  const waiting = run([{ type: "lost" }], run(LIVE).machine).machine;
  assert.deepEqual(done(run([{ type: "woke" }], waiting).actions), ["authorize"]);
  assert.deepEqual(done(run([{ type: "woke" }], run(LIVE).machine).actions), ["drop", "authorize"]);
  const probing =
    run([...LIVE, { type: "elapsed" }], machine(TRANSPORTS, { transport: "sse", probes: 0 })).machine;
  assert.equal(probing.state, "probing");
  assert.deepEqual(done(run([{ type: "woke" }], probing).actions), ["drop_probe", "drop", "authorize"]);
});

Deno.test("states: an expired token is renewed, a forbidden one ends it, and a bad one is asked for again twice", () => {
  const live = run(LIVE).machine;
  assert.deepEqual(run([{ type: "expired" }], live).actions, [{ do: "drop" }, {
    do: "authorize",
    fresh: true,
  }]);
  assert.deepEqual(run([{ type: "refused", problem }], live).actions, [{ do: "drop" }, {
    do: "end",
    problem,
  }]);
  let at: Step = { machine: live, actions: [] };
  for (let time = 1; time <= 2; time++) {
    at = run([{ type: "refused", problem: unauthorized }, { type: "authorized" }], at.machine);
    assert.equal(at.machine.state, "connecting");
  }
  at = run([{ type: "refused", problem: unauthorized }], at.machine);
  assert.equal(at.machine.state, "closed");
  const once = run([{ type: "refused", problem: unauthorized }], live, around({ renewable: false }));
  assert.equal(once.machine.state, "closed");
});

Deno.test("states: tokens that are always expired are not asked for in a storm", () => {
  let at: Step = { machine: run(OPEN).machine, actions: [] };
  for (let time = 1; time <= 2; time++) at = run([{ type: "expired" }, { type: "authorized" }], at.machine);
  at = run([{ type: "expired" }], at.machine);
  assert.equal(at.machine.state, "waiting");
  assert.deepEqual(run([{ type: "elapsed" }], at.machine).actions, [{ do: "authorize", fresh: true }]);
});

Deno.test("states: a gateway that restarts is come back to within the time it asked for, spread by chance", () => {
  const live = run(LIVE).machine;
  const timers = [0, 0.25, 0.999].map((chance) =>
    step(live, { type: "again", within: 8_000 }, around({ chance: () => chance })).timer
  );
  assert.deepEqual(timers, [0, 2_000, 7_992]);
});

Deno.test("states: a hidden page waits longer, an unseen server is asked less and less", () => {
  const waits = (hidden: boolean) => {
    let at: Step = run([{ type: "open" }]);
    return Array.from({ length: 10 }, () => {
      at = step(at.machine, { type: "unauthorized" }, around({ hidden, chance: () => 0.999999 }));
      const timer = at.timer!;
      at = run([{ type: "elapsed" }], at.machine);
      return Math.ceil(timer / 1000);
    });
  };
  assert.deepEqual(waits(false), [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]);
  assert.deepEqual(waits(true), [1, 2, 4, 8, 16, 32, 64, 120, 120, 120]);
});

const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  ...([
    "open",
    "authorized",
    "unauthorized",
    "welcomed",
    "lost",
    "mute",
    "expired",
    "renew",
    "elapsed",
    "probed",
    "unprobed",
    "online",
    "offline",
    "woke",
    "shown",
  ] as const).map((type) => fc.constant<Event>({ type })),
  fc.constant<Event>({ type: "refused", problem: unauthorized }),
  fc.nat(20_000).map((within): Event => ({ type: "again", within })),
);

Deno.test("states: whatever happens, links are opened and dropped in pairs, and something always goes on", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          event: anyEvent,
          after: fc.nat(20_000),
          chance: fc.double({ min: 0, max: 0.999, noNaN: true }),
        }),
        {
          maxLength: 80,
        },
      ),
      fc.subarray([...TRANSPORTS], { minLength: 1 }),
      fc.boolean(),
      (events, transports, renewable) => {
        let m = machine(transports);
        let [link, probe, timer, asking] = [false, false, false, false];
        let now = 0;
        let opened = false;
        for (const { event, after, chance } of events) {
          now += after;
          // what can only come from something that is there
          if (event.type === "elapsed" && !timer) continue;
          if (["probed", "unprobed"].includes(event.type) && !probe) continue;
          if (["welcomed", "lost", "mute", "expired", "refused", "again"].includes(event.type) && !link) {
            continue;
          }
          if (["authorized", "unauthorized"].includes(event.type) && !asking) continue;
          if (event.type === "elapsed") timer = false;
          if (event.type === "open") opened = true;
          if (event.type.endsWith("authorized")) asking = false;
          const before = m;
          const next = step(m, event, around({ now, chance: () => chance, renewable }));
          m = next.machine;
          if (next.timer !== undefined) timer = next.timer !== null;
          if (before.state === "closed") assert.deepEqual(next, { machine: before, actions: [] });
          for (const action of next.actions) {
            if (action.do === "authorize") asking = true;
            if (action.do === "connect") {
              assert.equal(link, false, "a second link");
              link = true;
            }
            if (action.do === "drop") link = false;
            if (action.do === "probe") {
              assert.equal(probe, false, "a second probe");
              probe = true;
            }
            if (action.do === "drop_probe") probe = false;
            if (action.do === "adopt") [link, probe] = [true, false];
          }
          const { state } = m;
          assert.equal(
            link,
            state === "connecting" || state === "live" || state === "probing",
            `link in ${state}`,
          );
          assert.equal(probe, state === "probing", `probe in ${state}`);
          if (state === "authorizing") assert.ok(asking);
          if (state === "connecting" || state === "waiting" || state === "offline" || state === "probing") {
            assert.ok(timer, `${state} without a timer`);
          }
          if (opened && state === "idle") assert.fail("fell asleep");
        }
        const last = step(m, { type: "close" }, around());
        assert.equal(last.machine.state, "closed");
        assert.equal(last.timer === undefined, m.state === "closed");
      },
    ),
    { seed: 4_2026, numRuns: 5_000 },
  );
});

Deno.test("states: through any weather, once the network works again it is live on a transport that works", () => {
  fc.assert(
    fc.property(
      fc.array(anyEvent, { maxLength: 40 }),
      fc.constantFrom(...TRANSPORTS),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (weather, works, chance) => {
        const world = around({ chance: () => chance });
        let at: Step = { machine: run([{ type: "open" }]).machine, actions: [] };
        for (const event of weather) {
          if (event.type === "refused") continue;
          at = step(at.machine, event, world);
        }
        at = step(at.machine, { type: "online" }, world);
        for (let turn = 0; turn < 20 && at.machine.state !== "live"; turn++) {
          const { state, transports, index } = at.machine;
          const event: Event = state === "authorizing"
            ? { type: "authorized" }
            : state === "connecting"
            ? { type: transports[index] === works ? "welcomed" : "lost" }
            : state === "probing"
            ? { type: "unprobed" }
            : { type: "elapsed" };
          at = step(at.machine, event, world);
        }
        assert.equal(at.machine.state, "live");
      },
    ),
    { seed: 5_2026, numRuns: 2_000 },
  );
});
