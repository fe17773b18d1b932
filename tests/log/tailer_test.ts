import assert from "node:assert/strict";
import { HistoryChanged } from "../../src/database/log_store.ts";
import { testCluster, testDatabase } from "../helpers/database.ts";
import { checkChain, rung, tail } from "../helpers/tail.ts";
import { waitFor } from "../helpers/wait.ts";

Deno.test("the tailer reads what is committed after its start, in stretches that follow each other", async () => {
  await using database = await testDatabase();
  await database.sql`select tidings.send('all', 'before')`;
  await using log = await tail(database.url, { limits: { rows: 3, bytes: 1_000_000 } });
  await database.sql`select tidings.send('all', 'n' || i) from generate_series(1, 8) i`;
  await rung(log);
  await waitFor(() => log.ids.length === 8);
  assert.deepEqual(log.titles, ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"]);
  assert.ok(log.stretches.every(({ rows }) => rows.length <= 3));
  checkChain(log.stretches, log.starts[0]!);
});

Deno.test("a gateway that goes to sleep waits for the writer that found the flag up, though no snapshot lists it", async () => {
  await using database = await testDatabase();
  await using log = await tail(database.url);
  await waitFor(() => log.tailer.phase === "asleep");
  const writer = database.connect({ max: 1 });
  await database.sql`select tidings.stay_awake(400)`;
  log.tailer.ring();
  await waitFor(() => log.tailer.phase === "awake");
  await writer`begin`;
  await writer`select tidings.send('all', 'slow')`;
  const [rung] = await database.sql`select last_value > tidings.clock_ms() as up from tidings.awake`;
  assert.equal(rung!.up, true, "the writer found the flag up");
  await waitFor(() => log.tailer.phase !== "awake" && log.tailer.phase !== "closing");
  assert.equal(log.tailer.phase, "draining");
  await writer`commit`;
  await waitFor(() => log.ids.length === 1);
  await waitFor(() => log.tailer.phase === "asleep");
});

Deno.test("an idle gateway answers a bell with one read", async () => {
  await using database = await testDatabase();
  await using log = await tail(database.url);
  await waitFor(() => log.tailer.phase === "asleep");
  log.calls.length = 0;
  await database.sql`select tidings.send('all', 'one')`;
  log.tailer.ring();
  await waitFor(() => log.ids.length === 1 && log.tailer.phase === "asleep");
  assert.deepEqual(log.calls, ["read"]);
});

Deno.test("refresh() resolves when a read that began after it is back, and rejects with its signal's reason", async () => {
  await using database = await testDatabase();
  const reading = Promise.withResolvers<void>();
  let hold = false;
  await using log = await tail(database.url, {
    wrap: (store) => ({
      ...store,
      async read(after, limits) {
        const page = await store.read(after, limits);
        if (hold) await reading.promise;
        return page;
      },
    }),
  });
  await waitFor(() => log.tailer.phase === "asleep");
  hold = true;
  log.tailer.ring();
  await waitFor(() => log.calls.at(-1) === "read");
  await database.sql`select tidings.send('all', 'one')`;
  const gone = new AbortController();
  const given = log.tailer.refresh(gone.signal);
  gone.abort(new Error("gone"));
  await assert.rejects(given, { message: "gone" });
  await assert.rejects(log.tailer.refresh(gone.signal), { message: "gone" });
  const refreshed = log.tailer.refresh(AbortSignal.timeout(10_000));
  hold = false;
  reading.resolve();
  await refreshed;
  assert.deepEqual(log.titles, ["one"]);
});

Deno.test("a read that fails changes nothing: the next one goes on at the same position", async () => {
  await using database = await testDatabase();
  await using log = await tail(database.url);
  for (let round = 0; round < 3; round++) {
    await database.sql`select tidings.send('all', 'n')`;
    await database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'tail'`;
    await database.sql`select tidings.send('all', 'n')`;
    await rung(log);
  }
  await waitFor(() => log.ids.length === 6);
  assert.equal(new Set(log.ids).size, 6);
  checkChain(log.stretches, log.starts[0]!);
  assert.equal(log.starts.length, 1);
});

Deno.test("another history of the database starts the log anew, and is read from there", async () => {
  await using database = await testDatabase();
  await using log = await tail(database.url);
  await database.sql`select tidings.send('all', 'before')`;
  await rung(log);
  await database.sql`update tidings.history set origin = 'another cluster'`;
  log.tailer.ring();
  await waitFor(() => log.starts.length === 2);
  await database.sql`select tidings.send('all', 'after')`;
  await rung(log);
  assert.notEqual(log.starts[1]!.epoch, log.starts[0]!.epoch);
  assert.deepEqual(log.titles, ["before", "after"]);
  assert.deepEqual(log.failures, []);
});

Deno.test("a history that changed for a moment and back loses nothing", async () => {
  await using database = await testDatabase();
  let strange = 0;
  await using log = await tail(database.url, {
    wrap: (store) => ({
      ...store,
      read: (after, limits) =>
        strange-- > 0
          ? Promise.reject(new HistoryChanged("answered by another server"))
          : store.read(after, limits),
    }),
  });
  await waitFor(() => log.tailer.phase === "asleep");
  strange = 1;
  await database.sql`select tidings.send('all', 'meanwhile')`;
  await rung(log);
  assert.deepEqual(log.titles, ["meanwhile"]);
  assert.equal(log.starts.length, 1);
});

Deno.test("transaction ids that a crashed server hands out again are not taken for read", async () => {
  // So that what an aborted transaction wrote is not on disk yet, as it may not be on any server.
  await using server = await testCluster({ settings: { wal_writer_delay: "10s" } });
  await using log = await tail(server.url());
  const sent: string[] = [];
  const send = async (title: string) => {
    const [row] = await server.connect({ max: 1 })`
      select tidings.send('all', ${title}), pg_current_xact_id()::text as xid`;
    sent.push(title);
    return row!.xid;
  };
  // Now and then the server has written it down for a reason of its own.
  for (let round = 0, forgot = false; !forgot; round++) {
    assert.ok(round < 10, "the server forgets that it had handed out an xid");
    await send("before");
    await rung(log);
    const sql = server.connect({ max: 1 });
    await sql`begin`;
    await sql`select tidings.send('all', 'never')`;
    const [aborted] = await sql`select pg_current_xact_id()::text as xid`;
    await sql`rollback`;
    await rung(log);
    await server.crash();
    await server.start();
    forgot = await send("after") === aborted!.xid;
    await waitFor(() => {
      log.tailer.ring();
      return log.titles.length === sent.length;
    });
    assert.deepEqual(log.titles, sent);
  }
});

Deno.test("a server in recovery is not read; after its promotion the history is another one", async () => {
  await using server = await testCluster();
  await using log = await tail(server.url());
  await server.connect()`select tidings.send('all', 'before')`;
  await rung(log);
  // what it cannot do first is told, and then what it cannot do for another reason
  await server.stop();
  await waitFor(() => {
    log.tailer.ring();
    return log.failures.some((error) => (error as { code?: string }).code === "unavailable");
  });
  await server.demote();
  await waitFor(() => {
    log.tailer.ring();
    return log.failures.some((error) => (error as { code?: string }).code === "TD001");
  });
  assert.equal(log.tailer.health.ok, false);
  const sql = server.connect();
  await sql`select pg_promote()`;
  await waitFor(() => {
    log.tailer.ring();
    return log.starts.length === 2;
  });
  await sql`select tidings.send('all', 'after')`;
  await rung(log);
  assert.equal(log.tailer.health.ok, true);
  assert.deepEqual(log.titles, ["before", "after"]);
});
