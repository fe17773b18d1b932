import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { testDatabase } from "../helpers/database.ts";
import { waitFor } from "../helpers/wait.ts";
import { checkChain, rung, tail } from "../helpers/tail.ts";

/** A tailer that sleeps, and a bell with the next row that is sent as it would ring now; sending does not ring. */
async function sleeper(options: Parameters<typeof tail>[1] = {}) {
  const database = await testDatabase();
  const { sql } = database;
  const log = await tail(database.url, options);
  await waitFor(() => log.tailer.phase === "asleep");
  const [{ channel } = assert.fail()] = await sql`select channel from tidings.carrier`;
  const bells: string[] = [];
  await database.connect({ max: 1 }).listen(channel, (payload) => bells.push(payload));
  return {
    sql,
    log,
    async send(...titles: string[]) {
      // One transaction each, in one message.
      await sql.unsafe(titles.map((title) => `select tidings.send('all', '${title}')`).join("; commit; "))
        .simple();
      await waitFor(() => bells.length === titles.length);
      return bells.splice(0);
    },
    /** Everything has been read. */
    async settle() {
      await rung(log);
      await waitFor(() => log.tailer.phase === "asleep");
      checkChain(log.stretches, log.starts[0]!);
    },
    async [Symbol.asyncDispose]() {
      await log[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a row that the bell carries is handed on at once, and not again when it is read", async () => {
  await using sleeping = await sleeper();
  const { log, send, settle } = sleeping;
  for (const titles of [["one"], ["one", "two"]]) {
    const [carried] = await send(titles.at(-1)!);
    log.tailer.ring();
    log.tailer.carry(carried!);
    assert.deepEqual(log.titles, titles, "without a read in between");
    await settle();
    log.tailer.carry(carried!);
    log.tailer.ring();
    log.tailer.carry(carried!);
    await settle();
    assert.deepEqual(log.titles, titles, "late, or once more, it is no news");
  }
});

Deno.test("what else its transaction has comes next after the row that the bell carries, then what was in progress", async () => {
  await using sleeping = await sleeper();
  const { sql, log, send, settle } = sleeping;
  const other = await sql.reserve();
  await other`begin`;
  await other`insert into tidings.notification (topic, title) values ('all', 'slow')`;
  const [first] = await send(
    "a'); insert into tidings.notification (topic, title) values ('all', 'b'), ('all', 'c",
  );
  await other`commit`;
  other.release();
  log.tailer.ring();
  log.tailer.carry(first!);
  assert.deepEqual(log.titles, ["a"]);
  await settle();
  assert.deepEqual(log.titles, ["a", "b", "c", "slow"]);
});

Deno.test("a row that the bell carries waits for the read when anything may have to come before it", async () => {
  let now = 0;
  const gate: { held?: PromiseWithResolvers<void> } = {};
  await using sleeping = await sleeper({
    clock: { ...systemClock, now: () => systemClock.now() + now },
    wrap: (store) => ({
      ...store,
      async read(after, limits) {
        const page = await store.read(after, limits);
        await gate.held?.promise;
        return page;
      },
    }),
  });
  const { sql, log, send, settle } = sleeping;
  const { tailer } = log;
  const titles: string[] = [];
  /** Sends, does what is said with the bell, and sees that nothing was handed on before it was read. */
  const waits = async (title: string, ring: (carried: string) => void) => {
    const [carried] = await send(title);
    ring(carried!);
    assert.deepEqual(log.titles, titles, title);
    gate.held?.resolve();
    titles.push(title);
    await settle();
    assert.deepEqual(log.titles, titles);
  };
  await waits("no bell", (carried) => tailer.carry(carried));
  await waits("another bell before", (carried) => {
    tailer.ring();
    tailer.ring();
    tailer.carry(carried);
  });
  {
    const [one, two] = await send("one of two", "the other");
    for (const carried of [one!, two!]) {
      tailer.ring();
      tailer.carry(carried);
    }
    // There may be more of the first one's transaction.
    titles.push("one of two");
    assert.deepEqual(log.titles, titles);
    titles.push("the other");
    await settle();
    assert.deepEqual(log.titles, titles);
  }
  await waits("another flag", (carried) => {
    const [epoch, flag, entry] = JSON.parse(carried);
    tailer.ring();
    tailer.carry(JSON.stringify([epoch, flag + 1, entry]));
  });
  await waits("another history", (carried) => {
    const [, ...rest] = JSON.parse(carried);
    tailer.ring();
    tailer.carry(JSON.stringify(["other", ...rest]));
  });
  await waits("expired", (carried) => {
    const [epoch, flag, entry] = JSON.parse(carried);
    now = 60_000;
    tailer.ring();
    tailer.carry(JSON.stringify([epoch, flag, entry.with(-1, String(systemClock.now() + now))]));
    now = 0;
  });
  await sql.unsafe("select pg_current_xact_id(); commit; ".repeat(80)).simple();
  await waits("after many others", (carried) => {
    tailer.ring();
    tailer.carry(carried);
  });
  gate.held = Promise.withResolvers();
  log.calls.length = 0;
  tailer.ring();
  await waitFor(() => log.calls.at(-1) === "read");
  await waits("a read under way", (carried) => {
    tailer.ring();
    tailer.carry(carried);
  });
});

Deno.test("rows that bells carried count as read ones when it decides whether it is busy", async () => {
  await using sleeping = await sleeper({ doorbell: { busy: 3, span: 60_000 } });
  const { log, send } = sleeping;
  for (const title of ["one", "two", "three"]) {
    await waitFor(() => log.tailer.phase === "asleep");
    const [carried] = await send(title);
    log.tailer.ring();
    log.tailer.carry(carried!);
    assert.equal(log.titles.at(-1), title);
  }
  await waitFor(() => log.calls.includes("stayAwake"));
});
