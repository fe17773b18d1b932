import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { createDatabase, type Database } from "../../src/database/postgres.ts";
import { createListener } from "../../src/log/listener.ts";
import type { Service } from "../../src/service.ts";
import { testCluster, testDatabase } from "../helpers/database.ts";
import { manualClock } from "../helpers/manual_clock.ts";
import { waitFor } from "../helpers/wait.ts";

interface Ear extends AsyncDisposable {
  rings: number;
  /** What bells carried, and how often it had rung then. */
  carried: { title: string; rings: number }[];
  heard: boolean[];
  failures: unknown[];
  listener: Service;
}

/** A listener whose heartbeats are quick. */
async function listen(
  url: string,
  {
    heartbeat = 50,
    echo = 400,
    bells = url,
    chance = () => 0,
    tailClock = systemClock,
    before = (_tail: Database) => {},
  } = {},
): Promise<Ear> {
  const database = createDatabase({ url, max: 2, prepare: true, name: "pool" }, { clock: systemClock });
  await database.start();
  const ear: Omit<Ear, "listener" | typeof Symbol.asyncDispose> = {
    rings: 0,
    carried: [],
    heard: [],
    failures: [],
  };
  const tail = createDatabase({ url: bells, max: 1, prepare: true, name: "tidings listener" }, {
    clock: tailClock,
  });
  await tail.start();
  before(tail);
  const listener = createListener({ instance: "test", heartbeat, echo }, {
    database,
    tail,
    clock: systemClock,
    chance,
    events: {
      ring: () => ear.rings++,
      carried: (bell) => ear.carried.push({ title: JSON.parse(bell)[2][4], rings: ear.rings }),
      heard: (alive) => ear.heard.push(alive),
      failed: (error) => ear.failures.push(error),
    },
  });
  await listener.start();
  return Object.assign(ear, {
    listener,
    async [Symbol.asyncDispose]() {
      await listener.stop();
      await tail.stop();
      await database.stop();
    },
  });
}

Deno.test("the listener rings when it begins and for every commit that rang", async () => {
  await using database = await testDatabase();
  await using ear = await listen(database.url);
  assert.equal(ear.rings, 1);
  for (let round = 2; round < 5; round++) {
    await database.sql`select tidings.send('all', 'n')`;
    await waitFor(() => ear.rings === round);
  }
  await database.sql`select tidings.stay_awake(2000)`;
  await waitFor(() => ear.rings === 5);
  await waitFor(() => ear.heard.includes(true));
  assert.ok(!ear.heard.includes(false));
});

Deno.test("the listener tells what a bell carries after it rang; what it cannot read is told as a failure, and only rings", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`select tidings.adopt()`;
  await using ear = await listen(database.url);
  for (const title of ["one", "two"]) await sql`select tidings.send('all', ${title})`;
  await waitFor(() => ear.carried.length === 2);
  assert.deepEqual(ear.carried, [{ title: "one", rings: 2 }, { title: "two", rings: 3 }]);
  const [{ channel } = assert.fail()] = await sql`select channel from tidings.carrier`;
  await sql`select pg_notify(${channel}, 'not JSON')`;
  await waitFor(() => ear.failures.length === 1);
  assert.match(String(ear.failures[0]), /^SyntaxError/);
  await sql`select tidings.send('all', 'three')`;
  await waitFor(() => ear.carried.length === 3);
});

Deno.test("listening waits its turn behind a statement that takes minutes, as adopting a large dump does", async () => {
  await using database = await testDatabase();
  const holder = database.connect({ max: 1 });
  await holder`select pg_advisory_lock(1)`;
  const tailClock = manualClock();
  const busy = Promise.withResolvers<unknown>();
  const listening = listen(database.url, {
    tailClock,
    before: (tail) => busy.resolve(tail.query((sql) => sql`select pg_advisory_lock(1)` as never, 3_600_000)),
  });
  const both = Promise.all([listening, busy.promise]);
  await waitFor(() => tailClock.waiting === 2);
  tailClock.advance(600_000);
  await holder`select pg_advisory_unlock(1)`;
  await using ear = (await both)[0];
  assert.deepEqual(ear.failures, []);
  await database.sql`select tidings.send('all', 'n')`;
  await waitFor(() => ear.rings === 2);
});

Deno.test("a lost connection is made again, however often, and rings, since bells were lost meanwhile", async () => {
  await using database = await testDatabase();
  await using ear = await listen(database.url);
  for (let round = 0; round < 5; round++) {
    const rings = ear.rings;
    await database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'tidings listener'`;
    await waitFor(() => ear.rings > rings);
    // And the bell is heard again, every time.
    const again = ear.rings;
    await database.sql`select tidings.send('all', 'n')`;
    await waitFor(() => ear.rings > again);
  }
});

Deno.test("a server that was away is heard again when it is back", async () => {
  await using server = await testCluster();
  await using ear = await listen(server.url());
  await waitFor(() => ear.heard.includes(true));
  await server.stop();
  await waitFor(() => ear.heard.at(-1) === false);
  await server.start();
  await waitFor(() => ear.heard.at(-1) === true);
  const rings = ear.rings;
  await server.connect()`select tidings.send('all', 'n')`;
  await waitFor(() => ear.rings > rings);
});

Deno.test("a connection that hears nothing, and does not say so, is given up and made anew", async () => {
  await using database = await testDatabase();
  // What a dead line looks like: the bytes go nowhere from a moment on, and nobody is told.
  const server = new URL(database.url);
  let deaf = false;
  let connections = 0;
  const open = new Set<Deno.Conn>();
  const proxy = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const pass = async (from: Deno.Conn, to: Deno.Conn, backward: boolean, number: number) => {
    const buffer = new Uint8Array(65_536);
    try {
      for (let read = await from.read(buffer); read !== null; read = await from.read(buffer)) {
        if (backward && deaf && number === 1) continue;
        for (let at = 0; at < read;) at += await to.write(buffer.subarray(at, read));
      }
    } catch (error) {
      if (open.size > 0 && !(error instanceof Error)) throw error;
    }
  };
  const serving = (async () => {
    const passing: Promise<void>[] = [];
    for await (const client of proxy) {
      const number = ++connections;
      const upstream = await Deno.connect({ hostname: server.hostname, port: Number(server.port) });
      open.add(client).add(upstream);
      const end = () => [client, upstream].forEach((conn) => open.delete(conn) && conn.close());
      passing.push(
        pass(client, upstream, false, number).then(end),
        pass(upstream, client, true, number).then(end),
      );
    }
    await Promise.all(passing);
  })();
  const { port } = proxy.addr as Deno.NetAddr;
  const bells = Object.assign(new URL(database.url), { hostname: "127.0.0.1", port: String(port) }).href;
  {
    await using ear = await listen(database.url, { bells });
    await waitFor(() => ear.heard.includes(true));
    deaf = true;
    await waitFor(() => ear.heard.includes(false));
    await waitFor(() => ear.heard.at(-1) === true);
    assert.ok(connections >= 2);
    const rings = ear.rings;
    await database.sql`select tidings.send('all', 'n')`;
    await waitFor(() => ear.rings > rings);
  }
  proxy.close();
  for (const conn of open) conn.close();
  open.clear();
  await serving;
});

Deno.test("an error of the program itself is told at once, and the listener listens on", async () => {
  await using database = await testDatabase();
  let broken = false;
  await using ear = await listen(database.url, {
    chance: () => {
      if (!broken) return 0;
      broken = false;
      throw new RangeError("a slip");
    },
  });
  await waitFor(() => ear.heard.includes(true));
  broken = true;
  await waitFor(() => ear.failures.length === 1);
  assert.match(String(ear.failures[0]), /a slip/);
  const heard = ear.heard.length;
  await waitFor(() => ear.heard.length > heard + 1);
  const rings = ear.rings;
  await database.sql`select tidings.send('all', 'n')`;
  await waitFor(() => ear.rings > rings);
});

Deno.test("stopping leaves no connection behind, twice or unstarted as well", async () => {
  await using database = await testDatabase();
  const ear = await listen(database.url);
  await ear.listener.stop();
  await ear.listener.stop();
  await ear[Symbol.asyncDispose]();
  for (;;) {
    const [left] = await database.sql`
      select count(*)::int as n from pg_stat_activity
      where datname = current_database() and application_name in ('tidings listener', 'pool')`;
    if (left!.n === 0) break;
  }
});
