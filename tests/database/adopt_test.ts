import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { createLogStore } from "../../src/database/log_store.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import { createTailer } from "../../src/log/tailer.ts";
import { testDatabase } from "../helpers/database.ts";

Deno.test("a gateway that finds a writer in a database that is new to it says who is in the way, waits, and starts", async () => {
  await using database = await testDatabase();
  const writer = database.connect({ max: 1, connection: { application_name: "a long import" } });
  await writer`begin`;
  await writer`select tidings.send('all', 'still open')`;
  const pool = createDatabase({ url: database.url, max: 2, prepare: true, name: "test" }, {
    clock: systemClock,
  });
  await pool.start();
  const told = Promise.withResolvers<string>();
  const titles: string[] = [];
  const arrived = Promise.withResolvers<void>();
  const failures: unknown[] = [];
  const tailer = createTailer({ doorbell: { slow: 100 } }, {
    store: createLogStore(pool),
    clock: systemClock,
    chance: () => 0,
    consumer: {
      startAt: () => {},
      advance: ({ rows }) => {
        titles.push(...rows.map(({ json }) => JSON.parse(json).title));
        if (titles.length > 0) arrived.resolve();
      },
    },
    events: {
      failed: (error) => failures.push(error),
      recovered: () => {},
      carried: () => {},
      waits: told.resolve,
    },
  });
  const started = tailer.start();
  try {
    const message = await told.promise;
    assert.match(
      message,
      /^Cannot adopt this database yet: it waits for transactions .* process \d+ of a long import, since .*idle in transaction$/,
    );
    // Nobody queues up behind the gateway while it comes again and again: others write.
    await database.sql`select tidings.send('all', 'meanwhile')`;
    await writer`commit`;
    await started;
    await database.sql`select tidings.send('all', 'after')`;
    await arrived.promise;
    assert.deepEqual(titles, ["after"]);
    assert.deepEqual(failures, []);
  } finally {
    await tailer.stop();
    await pool.stop();
  }
});

Deno.test("adopting may take as long on the server as the gateway waits for it", async () => {
  await using database = await testDatabase();
  await database.sql.unsafe(`
    create table public.limits (said text);
    create or replace function tidings.adopting(strange boolean) returns void
    language sql as $$ insert into public.limits values (current_setting('statement_timeout')) $$`);
  const pool = createDatabase({ url: database.url, max: 1, prepare: true, name: "test" }, {
    clock: systemClock,
  });
  await pool.start();
  const store = createLogStore(pool);
  assert.equal(await store.adopt(), await store.adopt());
  assert.deepEqual((await database.sql`select said from public.limits`).map(({ said }) => said), ["1h"]);
  // on the connection that adopted, which is the only one
  const [row] = await pool.sql<{ statement_timeout: string }[]>`show statement_timeout`;
  assert.equal(row!.statement_timeout, "1min");
  await pool.stop();
});
