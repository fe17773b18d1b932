import assert from "node:assert/strict";
import { Doorbell } from "../../src/log/doorbell.ts";
import { live, type Machine, type Outcome, TIMES, type WorldOptions } from "./doorbell_world.ts";

const SEEDS = { whole: 1_000_000, lossy: 2_000_000, wrong: 3_000_000 };
/** Milliseconds: the longest pause, with slow steps before and after it; far from the slow timer. */
const PROMPT = 1_000;

const real = (): Machine => new Doorbell(TIMES);

/** What many worlds came to together, and the one where a row waited longest. */
function liveMany(
  count: number,
  seed: number,
  options: Omit<WorldOptions, "seed">,
): Outcome & { worst: number } {
  const sum = { rows: 0, bells: 0, reads: 0, holds: 0, sleeps: 0, crashes: 0, slowest: 0, worst: seed };
  for (let index = 0; index < count; index++) {
    const outcome = live({ ...options, seed: seed + index });
    for (const key of ["rows", "bells", "reads", "holds", "sleeps", "crashes"] as const) {
      sum[key] += outcome[key];
    }
    if (outcome.slowest > sum.slowest) Object.assign(sum, { slowest: outcome.slowest, worst: seed + index });
  }
  return sum;
}

/** Whether a row waits for the slow timer, or for ever, in any of the worlds. */
function isCaught(options: Omit<WorldOptions, "seed">, most = PROMPT): boolean {
  for (let index = 0; index < 10_000; index++) {
    if (live({ ...options, seed: SEEDS.wrong + index }).slowest > most) return true;
  }
  return false;
}

/** The machine with something changed. */
function changed(change: (doorbell: Doorbell) => Partial<Machine>): () => Machine {
  return () => {
    const doorbell = new Doorbell(TIMES);
    return {
      decide: (now) => doorbell.decide(now),
      read: (report, now) => doorbell.read(report, now),
      marked: (line) => doorbell.marked(line),
      ring: () => doorbell.ring(),
      ...change(doorbell),
    };
  };
}

Deno.test("in 10,000 worlds no row waits for the slow timer when no bell was lost", () => {
  const sum = liveMany(10_000, SEEDS.whole, { machine: real });
  assert.ok(sum.slowest < PROMPT, `world ${sum.worst}: a row waited ${sum.slowest} ms`);
  assert.ok(sum.holds > 1_000 && sum.sleeps > 1_000 && sum.crashes > 1_000, "the worlds had it all");
  assert.ok(sum.bells < sum.rows, "the flag saved bells");
});

Deno.test("in 3,000 worlds where bells are lost every row is read within the slow timer", () => {
  const sum = liveMany(3_000, SEEDS.lossy, { machine: real, lossy: true });
  assert.ok(sum.slowest < TIMES.slow + PROMPT, `world ${sum.worst}: a row waited ${sum.slowest} ms`);
  assert.ok(sum.slowest > TIMES.slow - PROMPT, "bells were lost that mattered");
});

Deno.test("without the slow timer a lost bell loses a row", () => {
  const machine = () => new Doorbell({ ...TIMES, slow: 1e9 });
  assert.ok(isCaught({ machine, lossy: true }, TIMES.slow + PROMPT));
});

Deno.test("a row waits when raising the flag does not ring", () => {
  assert.ok(isCaught({ machine: real, wrong: "raising does not ring" }));
});

Deno.test("a row waits when raising looks at the clock before it sets the flag", () => {
  assert.ok(isCaught({ machine: real, wrong: "look before set" }));
});

Deno.test("a row waits when no line is drawn: a snapshot does not name whoever is above the highest ended xid", () => {
  const machine = changed((doorbell) => ({
    decide(now) {
      const action = doorbell.decide(now);
      if (action.do !== "mark") return action;
      doorbell.marked(Infinity);
      return doorbell.decide(now);
    },
  }));
  assert.ok(isCaught({ machine }));
});

Deno.test("a row waits when the snapshot is of the read that saw the flag down", () => {
  const machine = changed((doorbell) => ({
    read(report, now) {
      doorbell.read(report, now);
      if (doorbell.phase !== "closing") return;
      doorbell.marked(Infinity);
      doorbell.read(report, now);
    },
  }));
  assert.ok(isCaught({ machine }));
});

Deno.test("a row waits when nobody waits for the transactions in progress", () => {
  const machine = changed((doorbell) => ({
    read: (report, now) => doorbell.read({ ...report, inProgress: [] }, now),
  }));
  assert.ok(isCaught({ machine }));
});

Deno.test("a row waits when a bell that rings during a read is forgotten", () => {
  const machine = changed((doorbell) => ({
    ring() {
      if (doorbell.phase === "asleep") doorbell.ring();
    },
  }));
  assert.ok(isCaught({ machine }));
});

Deno.test("a row waits when one flag is taken for another", () => {
  const machine = changed((doorbell) => ({
    read: (report, now) => doorbell.read({ ...report, flag: 0 }, now),
  }));
  assert.ok(isCaught({ machine }));
});

Deno.test("an idle gateway reads once for a bell, and draws no line until the flag was raised again", () => {
  const doorbell = new Doorbell(TIMES);
  const down = { more: false, transactions: 1, awake: -10, flag: 90, inProgress: [] };
  const seen: string[] = [];
  const step = (now: number, flag = 90) => {
    const action = doorbell.decide(now);
    seen.push(action.do);
    if (action.do === "read") doorbell.read({ ...down, flag }, now);
    if (action.do === "mark") doorbell.marked(7);
  };
  for (let now = 0; now < 4; now++) step(now);
  assert.deepEqual(seen.splice(0), ["read", "mark", "read", "sleep"]);
  doorbell.ring();
  for (let now = 1_000; now < 1_002; now++) step(now);
  assert.deepEqual(seen.splice(0), ["read", "sleep"]);
  doorbell.ring();
  for (let now = 2_000; now < 2_004; now++) step(now, 1_990);
  assert.deepEqual(seen, ["read", "mark", "read", "sleep"]);
});
