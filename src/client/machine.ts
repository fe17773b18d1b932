/**
 * The memory of a connection and the moves it can make: pure, with clock, chance and surroundings injected. Which event
 * makes which move stands in `states.ts`.
 *
 * Holds: there is at most one timer; every wait has full jitter, so that many clients do not come back together.
 * @module
 */
import type { Chance } from "../clock.ts";
import type { Problem } from "../protocol.ts";

/** How a feed can travel. */
export type Transport = "websocket" | "sse" | "longpoll";

/** All transports, best first. */
export const TRANSPORTS: readonly Transport[] = ["websocket", "sse", "longpoll"];

/** Where a connection stands. */
export type State =
  /** Not begun. */
  | "idle"
  /** Waiting for a token. */
  | "authorizing"
  /** A transport was tried and has not said `welcome` yet. */
  | "connecting"
  /** Receiving. */
  | "live"
  /** Receiving, while a better transport is tried beside. */
  | "probing"
  /** Waiting before the next try. */
  | "waiting"
  /** The browser says there is no network. */
  | "offline"
  /** Ended: by `close()`, or by a refusal that coming back cannot change. */
  | "closed";

/** What can happen to a connection. */
export type Event =
  | { type: "open" }
  | { type: "authorized" }
  /** No token could be had at the moment. */
  | { type: "unauthorized" }
  | { type: "welcomed" }
  /** The connection ended, or could not be made. */
  | { type: "lost" }
  /** Nothing was heard for longer than the heartbeat allows. */
  | { type: "mute" }
  /** The token is no longer good; a fresh one would be. */
  | { type: "expired" }
  /** The gateway said no. */
  | { type: "refused"; problem: Problem }
  /** The gateway asked to come back within so many milliseconds. */
  | { type: "again"; within: number }
  /** What the connection asks for has changed: open it anew from the cursor. */
  | { type: "renew" }
  /** The one timer rang. */
  | { type: "elapsed" }
  /** The better transport works. */
  | { type: "probed" }
  /** The better transport does not work. */
  | { type: "unprobed" }
  | { type: "online" }
  | { type: "offline" }
  /** The machine slept: whatever was open is dead without saying so. */
  | { type: "woke" }
  /** Somebody looks at the page again. */
  | { type: "shown" }
  | { type: "close" };

/** What is to be done. */
export type Action =
  | { do: "authorize"; fresh: boolean }
  | { do: "connect"; transport: Transport }
  | { do: "drop" }
  | { do: "probe"; transport: Transport }
  | { do: "drop_probe" }
  /** The probe is the connection from now on; the old one is dropped. */
  | { do: "adopt" }
  | { do: "remember"; transport: Transport; probes: number }
  | { do: "end"; problem?: Problem };

/** The whole memory of the machine. */
export interface Machine {
  readonly state: State;
  /** What may be used, best first; never empty. */
  readonly transports: readonly Transport[];
  /** The one in use or being tried. */
  readonly index: number;
  /** Where this round of tries began. */
  readonly first: number;
  /** Rounds in which nothing worked, in a row. */
  readonly rounds: number;
  /** Connections that ended right after they began, in a row. */
  readonly flaps: number;
  /** Refused credentials in a row. */
  readonly refusals: number;
  /** The better one being tried, while probing. */
  readonly probe: number;
  /** How often better ones were tried; each doubles the time to the next. */
  readonly probes: number;
  /** Since when it is live, milliseconds. */
  readonly since: number;
}

/** What the machine may look at. */
export interface Surroundings {
  now: number;
  chance: Chance;
  /** False: the browser is sure that there is no network. */
  online: boolean;
  /** Nobody is looking. */
  hidden: boolean;
  /** Whether a fresh token can be asked for. */
  renewable: boolean;
}

/** The answer to an event. `timer`: milliseconds, null: none any more, absent: as it was. */
export interface Step {
  machine: Machine;
  actions: Action[];
  timer?: number | null;
}

/** Times in milliseconds. */
export const TIMES = {
  /** A first try of one transport may take this; twice that in each further round. */
  attempt: 2_500,
  attemptMost: 20_000,
  backoff: 1_000,
  backoffMost: 30_000,
  /** While nobody looks. */
  backoffHidden: 120_000,
  /** A connection that lived shorter did not work. */
  flap: 5_000,
  /** Until a better transport is tried again the first time, and at most. */
  probe: 60_000,
  probeMost: 3_600_000,
  /** A connection that lived longer has proved its transport. */
  proven: 600_000,
  /** While offline: try nevertheless, for a browser may be wrong about that. */
  offline: 30_000,
} as const;

/** As many flaps in a row mean: not on this transport. */
const FLAPS = 3;
/** As many refusals in a row mean: not with these credentials. */
const REFUSALS = 2;

/** A machine at rest; it begins with the transport that worked here before. */
export function machine(
  transports: readonly Transport[] = TRANSPORTS,
  remembered: { transport: Transport; probes: number } | null = null,
): Machine {
  const index = Math.max(0, remembered === null ? 0 : transports.indexOf(remembered.transport));
  const probes = remembered?.probes ?? 0;
  return {
    state: "idle",
    transports,
    index,
    first: index,
    rounds: 0,
    flaps: 0,
    refusals: 0,
    probe: -1,
    probes,
    since: 0,
  };
}

export function stay(m: Machine): Step {
  return { machine: m, actions: [] };
}

export function authorize(m: Machine, actions: Action[] = [], fresh = false): Step {
  return {
    machine: { ...m, state: "authorizing", probe: -1 },
    // a refused token stays refused: ask for another one until one is accepted
    actions: [...actions, { do: "authorize", fresh: fresh || m.refusals > 0 }],
    timer: null,
  };
}

export function connect(m: Machine, actions: Action[] = []): Step {
  const timer = Math.min(TIMES.attempt * 2 ** m.rounds, TIMES.attemptMost);
  return {
    machine: { ...m, state: "connecting", probe: -1 },
    actions: [...actions, { do: "connect", transport: at(m, m.index) }],
    timer,
  };
}

export function live(m: Machine, _: unknown, around: Surroundings): Step {
  const transport = at(m, m.index);
  return {
    machine: { ...m, state: "live", rounds: 0, refusals: 0, probe: -1, since: around.now },
    actions: [{ do: "remember", transport, probes: m.probes }],
    timer: probeIn(m, around),
  };
}

/** The connection ended: come back on the same transport, unless it never lives for long. */
export function fall(m: Machine, _: unknown, around: Surroundings): Step {
  const lived = around.now - m.since;
  const flaps = lived < TIMES.flap ? m.flaps + 1 : 0;
  const probes = lived > TIMES.proven ? 0 : m.probes;
  const moved = { ...m, flaps, probes };
  if (flaps >= FLAPS) return connect(advance({ ...moved, flaps: 0, probes: probes + 1 }), both(m));
  return wait(moved, both(m), full(TIMES.backoff * 2 ** flaps, around));
}

/** It stands and carries nothing: on to the next transport. */
export function silent(m: Machine): Step {
  // counted as a probe: one that was found and failed again may not be probed at once
  return connect(advance({ ...m, probes: m.probes + 1 }), both(m));
}

/** The next transport; when all were tried, wait. */
export function next(m: Machine, _: unknown, around: Surroundings): Step {
  const moved = advance(m);
  return moved.index === moved.first
    ? back(moved, [{ do: "drop" }], around)
    : connect(moved, [{ do: "drop" }]);
}

export function credentials(
  m: Machine,
  event: { type: "expired" } | { type: "refused"; problem: Problem },
  around: Surroundings,
): Step {
  const refusals = m.refusals + 1;
  if (
    event.type === "refused" && (event.problem.status !== 401 || !around.renewable || refusals > REFUSALS)
  ) {
    return end(m, both(m), event.problem);
  }
  // one that is expired again and again has a clock that is wrong somewhere: do not hammer
  if (refusals > REFUSALS) return back({ ...m, refusals }, both(m), around);
  return authorize({ ...m, refusals }, both(m), true);
}

export function probe(m: Machine, index: number, actions: Action[] = []): Step {
  return {
    machine: { ...m, state: "probing", probe: index },
    actions: [...actions, { do: "probe", transport: at(m, index) }],
    timer: TIMES.attempt * 2,
  };
}

/** Try the next one that is still better; if there is none, later again. */
export function unprobed(m: Machine, _: unknown, around: Surroundings): Step {
  if (m.probe + 1 < m.index) return probe(m, m.probe + 1, [{ do: "drop_probe" }]);
  const rested: Machine = { ...m, state: "live", probe: -1, probes: m.probes + 1 };
  return {
    machine: rested,
    actions: [{ do: "drop_probe" }, {
      do: "remember",
      transport: at(rested, rested.index),
      probes: rested.probes,
    }],
    timer: probeIn(rested, around),
  };
}

export function back(m: Machine, actions: Action[], around: Surroundings): Step {
  const most = around.hidden ? TIMES.backoffHidden : TIMES.backoffMost;
  const ms = full(Math.min(TIMES.backoff * 2 ** Math.min(m.rounds, 20), most), around);
  return wait({ ...m, rounds: m.rounds + 1 }, actions, ms);
}

export function wait(m: Machine, actions: Action[], timer: number): Step {
  return { machine: { ...m, state: "waiting", probe: -1 }, actions, timer };
}

export function rest(m: Machine, actions: Action[]): Step {
  const dropped = m.state === "probing" ? both(m) : actions;
  return { machine: { ...m, state: "offline", probe: -1 }, actions: dropped, timer: TIMES.offline };
}

export function end(m: Machine, actions: Action[], problem?: Problem): Step {
  const last: Action = problem === undefined ? { do: "end" } : { do: "end", problem };
  return { machine: { ...m, state: "closed", probe: -1 }, actions: [...actions, last], timer: null };
}

/** Drops whatever is open in this state. */
export function both(m: Machine): Action[] {
  return m.state === "probing" ? [{ do: "drop_probe" }, { do: "drop" }] : [{ do: "drop" }];
}

/** One transport further; coming round again. */
function advance(m: Machine): Machine {
  return { ...m, index: (m.index + 1) % m.transports.length };
}

function probeIn(m: Machine, around: Surroundings): number | null {
  if (m.index === 0) return null;
  const ms = Math.min(TIMES.probe * 2 ** Math.min(m.probes, 20), TIMES.probeMost);
  return ms / 2 + full(ms / 2, around);
}

/** Full jitter: anywhere between nothing and all of it. */
function full(ms: number, around: Surroundings): number {
  return Math.floor(around.chance() * ms);
}

export function spread(within: number, around: Surroundings): number {
  return full(Math.min(Math.max(within, TIMES.backoff), TIMES.probeMost), around);
}

function at(m: Machine, index: number): Transport {
  const transport = m.transports[index];
  if (transport === undefined) throw new RangeError(`Cannot choose a transport: there is none at ${index}`);
  return transport;
}
