/**
 * The checker of presence: many people with several tabs each come and go at random, on every transport of two gateways that
 * are processes of their own; one of them is killed. Afterwards the lists, the table of sessions, and what every watcher was
 * told since it came have to come to the truth: the tabs that are open.
 * @module
 */
import assert from "node:assert/strict";
import type { Sql } from "postgres";
import { mint } from "../../src/auth/token.ts";
import { systemClock } from "../../src/clock.ts";
import { type Adapter, type Client, Refused } from "../conformance/client.ts";
import { longpoll } from "../conformance/longpoll.ts";
import { sse } from "../conformance/sse.ts";
import { stomp } from "../conformance/stomp.ts";
import { websocket } from "../conformance/websocket.ts";
import { Fleet } from "./fleet.ts";
import { TEST_SECRET } from "./gateway.ts";
import { pick, random } from "./random.ts";

/** What to check. */
export interface PresenceCheck {
  seed: number;
  database: { url: string; sql: Sql };
  /** Seconds; what is stated is five times as long. */
  grace: number;
  /** Comings and goings before the kill, and after it. @default 80 and 30 */
  steps?: number;
  stepsAfter?: number;
}

/** What came of it; what is wrong was thrown. */
export interface PresenceReport {
  opened: number;
  closed: number;
  /** Tabs that the killed gateway had. */
  killed: number;
  /** Joins and leaves that the watchers were told. */
  told: number;
  /** Milliseconds from the last coming or going until everything was the truth. */
  took: number;
}

const ROOMS = ["room:1", "room:2", "room:3"];
const PEOPLE = Array.from({ length: 12 }, (_, index) => `p${index}`);
const ADAPTERS: readonly Adapter[] = [websocket, sse, longpoll, stomp];
const RIGHTS = { subscribe: ["room:*"] };
/** Milliseconds that a busy machine may be late. */
const LATE = 10_000;
const LOOK = 50;

interface Tab {
  place: number;
  user: string;
  rooms: string[];
  transport: string;
  client: Client;
}

/** Somebody who watches. */
interface Watcher {
  name: string;
  client: Client;
  /** Who was there before anything was told. */
  before: Map<string, Set<string>>;
  /** Whether `before` is from GET after the feed was open, so that it may be newer than the first of what is told. */
  late: boolean;
}

/** Runs it all to the end. */
export async function checkPresence(options: PresenceCheck): Promise<PresenceReport> {
  const { seed, database, grace, steps = 80, stepsAfter = 30 } = options;
  const chance = random(seed);
  await using fleet = await Fleet.start(database.url, 2, { TIDINGS_PRESENCE_GRACE: `${grace}s` });
  const urls = [...fleet.urls] as [string, string];
  const tabs: Tab[] = [];
  const watchers: Watcher[] = [];
  const report: PresenceReport = { opened: 0, closed: 0, killed: 0, told: 0, took: 0 };
  const survivor = 1;

  async function open(place: number, user: string, adapter: Adapter, rooms: string[], presence = false) {
    const token = await mint(TEST_SECRET, { sub: user, tidings: RIGHTS }, 600, systemClock);
    const client = await adapter.open({ url: urls[place]!, token, topics: rooms, presence });
    tabs.push({ place, user, rooms, transport: adapter.name, client });
    report.opened++;
    return client;
  }

  async function watch(name: string, adapter: Adapter, late: boolean): Promise<void> {
    const earlier = watchers.map((watcher) => watcher.name);
    const client = await open(survivor, name, adapter, ROOMS, true);
    const before = late
      ? await lists(urls[survivor])
      : new Map(ROOMS.map((room) => [room, new Set(earlier)]));
    watchers.push({ name, client, before, late });
  }

  async function step(places: readonly number[]): Promise<void> {
    const ordinary = tabs.filter(({ user, place }) => PEOPLE.includes(user) && places.includes(place));
    if (chance() < Math.min(0.6, ordinary.length / 40)) {
      const tab = pick(ordinary, chance());
      tabs.splice(tabs.indexOf(tab), 1);
      report.closed++;
      return await tab.client.cut();
    }
    const [place, user, adapter] = [pick(places, chance()), pick(PEOPLE, chance()), pick(ADAPTERS, chance())];
    await open(place, user, adapter, ROOMS.filter(() => chance() < 0.5));
  }

  for (const adapter of ADAPTERS) await watch(`w-${adapter.name}`, adapter, false);
  for (const { name, client } of watchers) {
    await client.until("its own join", () => events(client).filter(({ user }) => user === name).length === 3);
  }
  const late = [20, 35, 50, 65].filter((at) => at < steps);
  for (let at = 0; at < steps; at++) {
    await step([0, 1]);
    if (late.includes(at)) await watch(`late-${at}`, pick(ADAPTERS, chance()), true);
  }
  const doomed = tabs.filter(({ place }) => place !== survivor);
  fleet.signal(0, "SIGKILL");
  for (const tab of doomed) {
    tabs.splice(tabs.indexOf(tab), 1);
    await tab.client.cut();
  }
  report.killed = doomed.length;
  // some of those who were cut come back at once, elsewhere
  for (const { user, rooms } of doomed.filter(() => chance() < 0.4)) {
    await open(survivor, user, pick(ADAPTERS, chance()), rooms);
  }
  for (let at = 0; at < stepsAfter; at++) await step([survivor]);

  const end = performance.now();
  const truth = new Map(ROOMS.map((room) => {
    const users = tabs.filter(({ rooms }) => rooms.includes(room)).map(({ user }) => user);
    return [room, [...new Set(users)].sort()];
  }));
  for (;;) {
    const wrong = await differences();
    report.took = performance.now() - end;
    if (wrong === undefined) break;
    assert(report.took < 5_000 * grace + LATE, wrong);
    await systemClock.sleep(LOOK);
  }
  for (const { client } of watchers) report.told += events(client).length;
  for (const { client } of tabs) await client.cut();
  return report;

  /** What is not the truth; undefined: nothing. */
  async function differences(): Promise<string | undefined> {
    const now = await lists(urls[survivor]);
    for (const [room, people] of truth) {
      const list = [...now.get(room) ?? []].join();
      if (list !== people.join()) return `${room}: the list is ${list}, the truth is ${people}`;
      for (const watcher of watchers) {
        const heard = [...fold(watcher, room)].sort().join();
        if (heard !== people.join()) return `${room}: ${watcher.name} heard ${heard}, the truth is ${people}`;
      }
    }
    const rows = await database.sql`
      select s.user_id as user, s.transport, i.id is not null as alive
      from tidings.session s left join tidings.instance i on i.id = s.instance`;
    if (rows.some(({ alive }) => !alive)) return "a session is of no gateway";
    const written = rows.map(({ user, transport }) => `${user} ${transport}`).sort().join("; ");
    const open = tabs.map(({ user, transport }) => `${user} ${transport.toLowerCase().replace("-", "")}`)
      .sort();
    if (written !== open.join("; ")) return `the sessions are ${written}, the truth is ${open.join("; ")}`;
    return undefined;
  }
}

/** Who is here, by the answer of a gateway. */
async function lists(url: string): Promise<Map<string, Set<string>>> {
  const token = await mint(TEST_SECRET, { sub: "judge", tidings: RIGHTS }, 600, systemClock);
  return new Map(
    await Promise.all(ROOMS.map(async (room) => {
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(`${url}/v1/topics/${room}/presence`, { headers });
      const body = await response.json();
      if (!response.ok) throw new Refused(body);
      assert.equal(body.count, body.people.length);
      return [room, new Set((body.people as { user: string }[]).map(({ user }) => user))] as const;
    })),
  );
}

function events({ received }: Client): { type: string; topic: string; user: string }[] {
  return received.map(({ item }) => ({ type: item.type, ...item.data as { topic: string; user: string } }));
}

/**
 * Who is in a room, as a watcher heard it. To one who was there from the start nobody joins twice and nobody leaves who was not
 * there; one who came later has a list that may be newer than the first of what it is told.
 */
function fold({ name, client, before, late }: Watcher, room: string): Set<string> {
  const here = new Set(before.get(room));
  for (const { type, topic, user } of events(client)) {
    if (topic !== room) continue;
    if (!late) {
      assert.equal(here.has(user), type === "tidings.leave", `${name}: ${type} ${user}`);
    }
    if (type === "tidings.join") here.add(user);
    else here.delete(user);
  }
  return here;
}
