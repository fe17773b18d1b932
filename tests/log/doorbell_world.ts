/**
 * A world for the doorbell: a database with its clock, its flag and its transactions, writers that hold them open, gateways that
 * crash and come back, bells on their way; all in virtual time, every step where another can come in between an event of its own.
 * @module
 */
import type { DoorbellAction, DoorbellOptions, ReadReport } from "../../src/log/doorbell.ts";
import { random } from "../helpers/random.ts";
import { VirtualLog } from "../helpers/virtual_log.ts";

/** The gateway's side: {@link Doorbell}, or what a test puts in its place. */
export interface Machine {
  decide(now: number): DoorbellAction;
  read(report: ReadReport, now: number): void;
  marked(line: number): void;
  ring(): void;
}

/** How the world is. */
export interface WorldOptions {
  seed: number;
  machine(): Machine;
  /** Bells are lost, listeners drop, connections die inside of `stay_awake`. */
  lossy?: boolean;
  /** The database's functions as they must not be. */
  wrong?: "raising does not ring" | "look before set";
}

/** What came of it. */
export interface Outcome {
  rows: number;
  bells: number;
  reads: number;
  holds: number;
  sleeps: number;
  crashes: number;
  /** The longest that a committed row waited for a gateway that was listening, in ms; Infinity: it never came. */
  slowest: number;
}

/** A machine's times in this world, shorter than the real ones so that much happens in a second. */
export const TIMES: DoorbellOptions = { poll: 5, drain: 40, hold: 60, slow: 5_000, busy: 3, span: 40 };

/** Rows that one read takes. */
const PAGE = 20;

/** Lets a world run to its end. */
export function live(options: WorldOptions): Outcome {
  const chance = random(options.seed);
  const between = (low: number, high: number) => low + chance() * (high - low);
  const events = new Events();
  const after = (ms: number, run: () => void) => events.add(events.now + ms, run);
  // Most steps are quick; now and then the network or the machine takes longer than the flag is up.
  const delay = () => chance() < 0.04 ? between(10, 100) : between(0, 3);
  const log = new VirtualLog();
  const committedAt: number[] = [];
  const outcome: Outcome = { rows: 0, bells: 0, reads: 0, holds: 0, sleeps: 0, crashes: 0, slowest: 0 };
  let flag = 0;
  let writing = 0;

  function noteCommits(): void {
    while (committedAt.length < log.committed.length) committedAt.push(events.now);
  }

  function ringAll(): void {
    outcome.bells++;
    for (const gateway of gateways) {
      if (options.lossy && chance() < 0.3) continue;
      const { generation } = gateway;
      after(delay(), () => {
        if (gateway.listening && gateway.generation === generation) gateway.ring();
      });
    }
  }

  class Gateway {
    generation = 0;
    listening = false;
    listensSince = Infinity;
    taken = 0;
    #machine!: Machine;
    #wake: (() => void) | undefined;

    start(): void {
      const generation = ++this.generation;
      this.#machine = options.machine();
      this.#wake = undefined;
      this.#step(generation);
      after(between(0, 20), () => {
        if (this.generation === generation) this.listen();
      });
    }

    listen(): void {
      this.listening = true;
      this.listensSince = events.now;
      this.ring();
    }

    crash(): void {
      outcome.crashes++;
      this.generation++;
      this.listening = false;
      this.listensSince = Infinity;
      after(between(0, 150), () => this.start());
    }

    ring(): void {
      this.#machine.ring();
      this.#wake?.();
    }

    /** Does in order, with time in between; ends where the gateway crashed, unless the server goes on by itself. */
    #sequence(generation: number, steps: (() => void)[], onServer = false): void {
      const [next, ...rest] = steps;
      if (next === undefined) return;
      after(rest.length > 0 && onServer && chance() < 0.15 ? between(10, 100) : delay(), () => {
        if (!onServer && this.generation !== generation) return;
        if (onServer && rest.length === 0 && this.generation !== generation) return;
        next();
        this.#sequence(generation, rest, onServer);
      });
    }

    #step(generation: number): void {
      const machine = this.#machine;
      const again = () => this.#step(generation);
      const action = machine.decide(events.now);
      switch (action.do) {
        case "read":
          return this.#read(generation);
        case "mark": {
          let line = 0;
          const mark = () => {
            const transaction = log.begin();
            line = transaction.xid;
            after(between(0, 1), () => transaction.commit());
          };
          return this.#sequence(generation, [mark, () => undefined, () => {
            machine.marked(line);
            again();
          }], true);
        }
        case "hold":
          outcome.holds++;
          return this.#hold(generation, action.ms);
        default: {
          if (action.do === "sleep") outcome.sleeps++;
          let over = false;
          const end = () => {
            if (over || this.generation !== generation) return;
            over = true;
            this.#wake = undefined;
            if (action.do === "sleep") machine.ring();
            again();
          };
          this.#wake = () => after(0, end);
          after(action.ms, end);
        }
      }
    }

    #read(generation: number): void {
      outcome.reads++;
      let until = 0;
      let more = false;
      let inProgress: number[] = [];
      let seen = 0;
      let awake = 0;
      this.#sequence(generation, [() => {
        until = Math.min(log.committed.length, this.taken + PAGE);
        more = log.committed.length > until;
        inProgress = log.snapshot().gaps.map((gap) => gap.xid);
      }, () => {
        seen = flag;
        awake = flag - events.now;
      }, () => {
        const rows = log.committed.slice(this.taken, until);
        for (let index = this.taken; index < until; index++) {
          const due = Math.max(committedAt[index]!, this.listensSince);
          if (this.listening) outcome.slowest = Math.max(outcome.slowest, events.now - due);
        }
        this.taken = until;
        const transactions = new Set(rows.map((row) => row.xid)).size;
        this.#machine.read({ more, transactions, awake, flag: seen, inProgress }, events.now);
        this.#step(generation);
      }]);
    }

    /** tidings.stay_awake(), statement by statement. The flag is no transaction's: it stays set when the backend dies. */
    #hold(generation: number, ms: number): void {
      let old = 0;
      let lookedEarly = 0;
      let finish = () => {};
      const dies = options.lossy && chance() < 0.1;
      this.#sequence(generation, [() => {
        old = flag;
        lookedEarly = events.now;
      }, () => {
        flag = Math.max(old, events.now + ms);
        const transaction = log.begin();
        finish = () => transaction.commit();
      }, () => {
        const looked = options.wrong === "look before set" ? lookedEarly : events.now;
        finish();
        if (old <= looked && !dies && options.wrong !== "raising does not ring") ringAll();
      }, () => {
        if (dies) this.#machine.ring();
        this.#step(generation);
      }], true);
    }
  }

  const gateways = Array.from({ length: 1 + Math.floor(chance() * 3) }, () => new Gateway());
  for (const gateway of gateways) gateway.start();

  function write(): void {
    writing++;
    const transaction = log.begin();
    transaction.insert();
    let rings = false;
    const look = () => {
      rings ||= flag <= events.now;
    };
    after(delay(), () => {
      look();
      const slow = chance() < 0.2;
      const statements = chance() < 0.2 ? 2 : 1;
      for (let statement = 1; statement < statements; statement++) {
        transaction.insert();
        look();
      }
      after(slow ? between(50, 400) : between(0, 3), () => {
        writing--;
        if (chance() < 0.15) return transaction.abort();
        transaction.commit();
        noteCommits();
        if (rings) ringAll();
      });
    });
  }

  // Bursts that make gateways busy, and pauses in which they go to sleep.
  const bursts = 1 + Math.floor(chance() * 3);
  let from = 0;
  for (let burst = 0; burst < bursts; burst++) {
    const length = between(5, 120);
    const writes = 1 + Math.floor(chance() * 20);
    for (let index = 0; index < writes; index++) after(from + between(0, length), write);
    from += length + (chance() < 0.5 ? between(0, 60) : between(50, 300));
  }
  const crashes = chance() < 0.3 ? 1 + Math.floor(chance() * 2) : 0;
  for (let index = 0; index < crashes; index++) {
    const gateway = gateways[Math.floor(chance() * gateways.length)]!;
    after(between(0, from), () => gateway.listening && gateway.crash());
  }
  if (options.lossy && chance() < 0.5) {
    const gateway = gateways[Math.floor(chance() * gateways.length)]!;
    after(between(0, from), () => {
      const { generation } = gateway;
      gateway.listening = false;
      after(between(5, 200), () => {
        if (gateway.generation === generation) gateway.listen();
      });
    });
  }

  const end = from + 3 * TIMES.slow;
  const done = () =>
    events.now > from && writing === 0 &&
    gateways.every((gateway) => gateway.listening && gateway.taken === log.committed.length);
  while (!done()) {
    if (events.now > end) {
      outcome.slowest = Infinity;
      break;
    }
    events.next();
  }
  outcome.rows = log.committed.length;
  return outcome;
}

/** What is to come, by time: a binary heap. */
class Events {
  now = 0;
  readonly #heap: { at: number; run: () => void }[] = [];

  add(at: number, run: () => void): void {
    const heap = this.#heap;
    let place = heap.push({ at, run }) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (heap[parent]!.at <= heap[place]!.at) break;
      [heap[parent], heap[place]] = [heap[place]!, heap[parent]!];
      place = parent;
    }
  }

  next(): void {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      for (let place = 0;;) {
        let least = place;
        for (const child of [2 * place + 1, 2 * place + 2]) {
          if (child < heap.length && heap[child]!.at < heap[least]!.at) least = child;
        }
        if (least === place) break;
        [heap[least], heap[place]] = [heap[place]!, heap[least]!];
        place = least;
      }
    }
    this.now = first.at;
    first.run();
  }
}
