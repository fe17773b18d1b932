import assert from "node:assert/strict";
import fc from "fast-check";
import type postgres from "postgres";
import { type Clock, systemClock } from "../../src/clock.ts";
import { Presence, type PresenceHold, type PresenceTimes, presenceTopic } from "../../src/feed/presence.ts";
import { type BeatResult, createPresenceStore, type PresenceStore } from "../../src/feed/presence_store.ts";
import { testDatabase } from "../helpers/database.ts";
import { jumpClock } from "../helpers/jump_clock.ts";

const TIMES = { beat: 50, lease: 400, grace: 100, gather: 1 };

/** A gateway's presence, with a signal for each beat that came back. */
class Gateway implements AsyncDisposable {
  readonly presence: Presence;
  readonly store: PresenceStore;
  readonly errors: unknown[] = [];
  #waiting: { when: (result: BeatResult) => boolean; resolve: () => void }[] = [];
  /** While true the database is away for this gateway. */
  cut = false;

  /** Called with every statement. */
  each: () => void = () => {};

  constructor(
    sql: postgres.Sql,
    instance: string,
    times: Partial<PresenceTimes> = TIMES,
    clock: Clock = systemClock,
  ) {
    this.store = createPresenceStore(sql);
    this.presence = new Presence({
      store: {
        present: this.store.present,
        beat: async (beat) => {
          if (this.cut) throw new Error("the database is away");
          this.each();
          const result = await this.store.beat(beat);
          for (const each of this.#waiting.filter(({ when }) => when(result))) {
            this.#waiting.splice(this.#waiting.indexOf(each), 1);
            each.resolve();
          }
          return result;
        },
      },
      clock,
      instance,
      onError: (error) => this.errors.push(error),
      times,
    });
  }

  /** Resolves at the first beat whose result is this. */
  beat(when: (result: BeatResult) => boolean): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ when, resolve }));
  }

  async [Symbol.asyncDispose]() {
    await this.presence.stop();
  }
}

async function gateway(
  sql: postgres.Sql,
  instance: string,
  times?: Partial<PresenceTimes>,
): Promise<Gateway> {
  const made = new Gateway(sql, instance, times);
  await made.presence.start();
  return made;
}

let sessions = 0;
function connect(on: Gateway, user: string): PresenceHold {
  return on.presence.open({ id: `s${++sessions}`, user, transport: "websocket", userAgent: "test" });
}

async function told(sql: postgres.Sql, topic: string): Promise<string[]> {
  const rows = await sql<{ type: string; user: string; transient: boolean }[]>`
    select type, data->>'user' as user, transient from tidings.notification
    where topic = ${presenceTopic(topic)} order by id`;
  assert(rows.every((row) => row.transient));
  return rows.map((row) => `${row.type.replace("tidings.", "")} ${row.user}`);
}

async function here(on: Gateway, topic: string): Promise<string[]> {
  return (await on.store.present(topic, 100)).people.map((person) => person.user);
}

Deno.test("a person joins a topic with the first session and leaves it a grace after the last, one event each", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  const watcher = connect(a, "watcher");
  watcher.join("room:1", true);
  await a.presence.settled();
  const first = connect(a, "kim");
  const second = connect(a, "kim");
  first.join("room:1");
  second.join("room:1");
  await a.presence.settled();
  assert.deepEqual(await here(a, "room:1"), ["kim", "watcher"]);
  first.close();
  first.close();
  await a.presence.settled();
  assert.deepEqual(await told(database.sql, "room:1"), ["join watcher", "join kim"]);
  const gone = a.beat((result) => result.gone > 0);
  second.close();
  await gone;
  assert.deepEqual(await here(a, "room:1"), ["watcher"]);
  assert.deepEqual(await told(database.sql, "room:1"), ["join watcher", "join kim", "leave kim"]);
});

Deno.test("everybody connected is in all and in their own topic", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  connect(a, "kim");
  connect(a, "mina");
  await a.presence.settled();
  assert.deepEqual(await here(a, "all"), ["kim", "mina"]);
  assert.deepEqual(await here(a, "user:kim"), ["kim"]);
  assert.deepEqual(await here(a, "user:nobody"), []);
});

Deno.test("a reconnect within the grace, on another gateway too, is news to nobody", async () => {
  await using database = await testDatabase();
  const times = { ...TIMES, grace: 60_000 };
  await using a = await gateway(database.sql, "a", times);
  await using b = await gateway(database.sql, "b", times);
  connect(b, "watcher").join("all", true);
  await b.presence.settled();
  const kim = connect(a, "kim");
  await a.presence.settled();
  kim.close();
  await a.presence.settled();
  connect(b, "kim");
  await b.presence.settled();
  assert.deepEqual(await told(database.sql, "all"), ["join watcher", "join kim"]);
  const [row] = await database
    .sql`select gone_at from tidings.presence where topic = 'all' and user_id = 'kim'`;
  assert.equal(row?.["gone_at"], null);
});

Deno.test("nothing is told where nobody watches", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  connect(a, "kim").join("room:1");
  await a.presence.settled();
  const [row] = await database.sql`select count(*)::int as n from tidings.notification`;
  assert.equal(row?.["n"], 0);
});

Deno.test("joins and leaves are told for a minute after the last watcher went, and none of it outlives the telling", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await using a = await gateway(sql, "a");
  await using b = await gateway(sql, "b");
  const until = async () =>
    (await sql`select until::text from tidings.watched where topic = 'room:1'`)[0]?.["until"];
  const watcher = connect(a, "watcher");
  watcher.join("room:1", true);
  await watcher.told();
  assert.equal(await until(), "infinity");
  watcher.close();
  await a.presence.settled();
  assert.match(await until(), /^\d{4}-/);
  connect(b, "kim").join("room:1");
  await b.presence.settled();
  const [row] = await sql`
    select n.expires_at <= w.until as inside from tidings.notification n, tidings.watched w
    where n.data->>'user' = 'kim' and n.type = 'tidings.join' and w.topic = 'room:1'`;
  assert.equal(row?.["inside"], true);
  // who comes back makes it last
  const again = connect(b, "watcher");
  again.join("room:1", true);
  await again.told();
  assert.equal(await until(), "infinity");
  again.join("room:1", false);
  await b.presence.settled();
  await sql`update tidings.watched set until = clock_timestamp()`;
  connect(a, "mina").join("room:1");
  await a.presence.settled();
  assert.equal(await until(), undefined);
  const lines = (await told(sql, "room:1")).filter((line) => !line.endsWith("watcher"));
  assert.deepEqual(lines, ["join kim"]);
});

Deno.test("whoever comes while the tables are being written again, after a crash, is told to those who watched before it", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a", { ...TIMES, grace: 60_000 });
  await using b = await gateway(database.sql, "b", { ...TIMES, grace: 60_000 });
  const watcher = connect(a, "watcher");
  watcher.join("room:1", true);
  await watcher.told();
  a.cut = true;
  await database.sql`truncate tidings.instance, tidings.session, tidings.session_topic`;
  connect(b, "kim").join("room:1");
  await b.presence.settled();
  a.cut = false;
  await a.presence.settled();
  assert.deepEqual(await told(database.sql, "room:1"), ["join watcher", "join kim"]);
  const [row] = await database.sql`select until::text from tidings.watched where topic = 'room:1'`;
  assert.equal(row?.["until"], "infinity");
});

Deno.test("told() says so when the database does not learn of it in time, and resolves when the service stops", async () => {
  await using database = await testDatabase();
  const clock = jumpClock();
  const a = new Gateway(database.sql, "a", { ...TIMES, beat: 600_000, lease: 900_000 }, clock);
  await a.presence.start();
  a.cut = true;
  const kim = connect(a, "kim");
  kim.join("room:1", true);
  const refused = assert.rejects(kim.told(), (error: { code?: string }) => error.code === "unavailable");
  await clock.jump(5_100);
  await refused;
  const waiting = kim.told();
  a.cut = false;
  await a.presence.stop();
  await waiting;
});

Deno.test("told() does not wait for those who go on coming", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  let flowing = true;
  let count = 0;
  a.each = () => {
    // with every statement somebody else comes: there is always something to tell
    if (flowing) connect(a, `u${count++}`);
  };
  const kim = connect(a, "kim");
  kim.join("room:1", true);
  await kim.told();
  flowing = false;
  assert.deepEqual(await here(a, "room:1"), ["kim"]);
});

Deno.test("a topic that is parted from is left, but not all and not one's own", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  const kim = connect(a, "kim");
  kim.join("room:1");
  await a.presence.settled();
  assert.deepEqual(await here(a, "room:1"), ["kim"]);
  const gone = a.beat((result) => result.gone > 0);
  kim.part("room:1");
  kim.part("all");
  kim.part("user:kim");
  await gone;
  assert.deepEqual(await here(a, "room:1"), []);
  assert.deepEqual(await here(a, "all"), ["kim"]);
});

Deno.test("what a dead gateway leaves is swept by another, and told", async () => {
  await using database = await testDatabase();
  await using b = await gateway(database.sql, "b");
  connect(b, "watcher").join("all", true);
  await b.presence.settled();
  const a = await gateway(database.sql, "a");
  connect(a, "kim");
  await a.presence.settled();
  a.cut = true;
  await b.beat((result) => result.gone > 0);
  assert.deepEqual(await here(b, "all"), ["watcher"]);
  assert.deepEqual(await told(database.sql, "all"), ["join watcher", "join kim", "leave kim"]);
  const left = await database.sql`select id from tidings.instance`;
  assert.deepEqual(left.map((row) => row["id"]), ["b"]);
  await a[Symbol.asyncDispose]();
});

Deno.test("a gateway that was taken for dead and lives says everything again", async () => {
  await using database = await testDatabase();
  await using b = await gateway(database.sql, "b");
  await using a = await gateway(database.sql, "a");
  connect(a, "kim");
  await a.presence.settled();
  a.cut = true;
  await b.beat((result) => result.gone > 0);
  assert.deepEqual(await here(b, "all"), []);
  a.cut = false;
  await a.presence.settled();
  assert.deepEqual(await here(b, "all"), ["kim"]);
  assert(a.errors.length > 0);
});

Deno.test("after the unlogged tables were emptied, as a crash of the database does, everything is said again", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a", { ...TIMES, grace: 60_000 });
  connect(a, "watcher").join("all", true);
  connect(a, "kim");
  await a.presence.settled();
  const before = await told(database.sql, "all");
  const unknown = a.beat((result) => !result.known);
  await database.sql`truncate tidings.instance, tidings.session, tidings.session_topic`;
  await unknown;
  await a.presence.settled();
  assert.deepEqual(await here(a, "all"), ["kim", "watcher"]);
  assert.deepEqual(await told(database.sql, "all"), before);
  const [row] = await database.sql`select count(*)::int as n from tidings.session`;
  assert.equal(row?.["n"], 2);
});

Deno.test("sessions opened while the database is away are told when it is back, in batches", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a", { ...TIMES, lease: 60_000 });
  a.cut = true;
  const holds = Array.from({ length: 1_234 }, (_, i) => connect(a, `u${i}`));
  holds[7]?.close();
  a.cut = false;
  await a.presence.settled();
  assert.equal((await a.store.present("all", 10)).count, 1_233);
  assert.equal((await a.store.present("all", 10)).people.length, 10);
});

Deno.test("a session is written with who, where, by what, since when and when last active", async () => {
  await using database = await testDatabase();
  await using a = await gateway(database.sql, "a");
  const kim = connect(a, "kim");
  await a.presence.settled();
  kim.active();
  await a.presence.settled();
  const [row] = await database.sql`select *, active_at >= since as sane from tidings.session`;
  assert.deepEqual([
    row?.["user_id"],
    row?.["instance"],
    row?.["transport"],
    row?.["user_agent"],
    row?.["sane"],
  ], [
    "kim",
    "a",
    "websocket",
    "test",
    true,
  ]);
});

Deno.test("stop() ends this gateway's sessions at once; stopping twice or unstarted is allowed", async () => {
  await using database = await testDatabase();
  const a = await gateway(database.sql, "a");
  connect(a, "kim");
  await a.presence.settled();
  await a.presence.stop();
  await a.presence.stop();
  const [row] = await database.sql`select count(*)::int as n from tidings.session`;
  assert.equal(row?.["n"], 0);
  await new Gateway(database.sql, "b").presence.stop();
});

Deno.test("two gateways whose sessions come and go, one killed: the last list equals the truth", async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("open" as const), user: fc.nat(4) }) },
    {
      weight: 3,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("close" as const), user: fc.nat(20) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("join" as const), user: fc.nat(20) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("part" as const), user: fc.nat(20) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("settle" as const), user: fc.nat(0) }),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), fc.boolean(), async (steps, kill) => {
      await using database = await testDatabase();
      const a = await gateway(database.sql, "a");
      await using b = await gateway(database.sql, "b");
      const watcher = connect(b, "watcher");
      watcher.join("room", true);
      watcher.join("all", true);
      await b.presence.settled();
      const gateways = [a, b];
      const open: { on: number; user: string; in: boolean; hold: PresenceHold }[] = [];
      for (const each of steps) {
        const mine = open.filter((session) => session.on === each.on);
        const picked = mine[each.user % Math.max(1, mine.length)];
        const target = gateways[each.on]!;
        if (each.do === "open") {
          open.push({
            on: each.on,
            user: `u${each.user}`,
            in: false,
            hold: connect(target, `u${each.user}`),
          });
        } else if (each.do === "settle") await target.presence.settled();
        else if (picked !== undefined && each.do === "close") {
          picked.hold.close();
          open.splice(open.indexOf(picked), 1);
        } else if (picked !== undefined) {
          if (each.do === "join") picked.hold.join("room");
          else picked.hold.part("room");
          picked.in = each.do === "join";
        }
      }
      await Promise.all(gateways.map((each) => each.presence.settled()));
      if (kill) a.cut = true;
      const alive = kill ? open.filter((session) => session.on === 1) : open;
      const truth = {
        all: [...new Set(["watcher", ...alive.map((session) => session.user)])].sort(),
        room: [
          ...new Set(["watcher", ...alive.filter((session) => session.in).map((session) => session.user)]),
        ].sort(),
      };
      const stated = TIMES.lease + TIMES.beat + TIMES.grace;
      const began = performance.now();
      const matches = async () =>
        JSON.stringify([await here(b, "all"), await here(b, "room")]) ===
          JSON.stringify([truth.all, truth.room]);
      while (!(await matches())) {
        assert(performance.now() - began < stated + 1_500, `${await here(b, "all")} is not ${truth.all}`);
        await b.beat(() => true);
      }
      // and the story that was told adds up to the list
      for (const topic of ["all", "room"] as const) {
        const list = new Set<string>();
        for (const line of await told(database.sql, topic)) {
          const [what, user = ""] = line.split(" ");
          assert.equal(list.has(user), what === "leave", `${topic}: ${line}`);
          if (what === "join") list.add(user);
          else list.delete(user);
        }
        assert.deepEqual([...list].sort(), truth[topic]);
      }
      await a[Symbol.asyncDispose]();
    }),
    { seed: 42_30, numRuns: 12 },
  );
});
