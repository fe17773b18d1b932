import assert from "node:assert/strict";
import fc from "fast-check";
import { createPushStore } from "../../../src/push/store.ts";
import { testDatabase } from "../../helpers/database.ts";
import { device } from "./ledger.ts";

Deno.test("the plan misses nothing and queues nothing twice, whatever overlaps, however small its pages", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await device(sql, "1", "a");
  const store = createPushStore(database.connect({ max: 3 }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ rows: fc.integer({ min: 1, max: 4 }), open: fc.integer({ min: 0, max: 5 }) }), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.constantFrom(1, 2, 3, 1_000),
      async (writers, page) => {
        await sql`delete from tidings.delivery`;
        await sql`delete from tidings.notification`;
        // transactions that begin in order and commit out of order, with a plan after every commit
        const waiting: { commit: () => Promise<unknown>; left: number }[] = [];
        let expected = 0;
        const step = async () => {
          for (const writer of waiting.splice(0)) {
            if (writer.left-- <= 0) await writer.commit();
            else waiting.push(writer);
          }
          await Promise.all([store.plan(page, 0), store.plan(page, 0)]);
        };
        for (const { rows, open } of writers) {
          const connection = await sql.reserve();
          await connection`begin`;
          await connection`select tidings.send('user:1', 'x', push => true) from generate_series(1, ${rows})`;
          expected += rows;
          waiting.push({
            left: open % 4,
            commit: async () => {
              await connection`commit`;
              connection.release();
            },
          });
          if (waiting.length > 6) await step();
          await step();
        }
        while (waiting.length > 0) await step();
        let idle = 0;
        while (idle < 2) idle = await store.plan(page, 0) === 0 ? idle + 1 : 0;
        const [row] =
          await sql`select count(*)::int, count(distinct notification_id)::int as different from tidings.delivery`;
        assert.deepEqual(row, { count: expected, different: expected });
      },
    ),
    { seed: 61_803, numRuns: 60 },
  );
});

Deno.test("an idle plan writes nothing", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const store = createPushStore(sql);
  await sql`select tidings.send('user:1', 'one', push => true)`;
  while (await store.plan(10, 0) !== 0);
  const position = async () => (await sql`select ctid::text, xmin::text from tidings.push_position`)[0];
  const before = await position();
  for (let i = 0; i < 5; i++) await store.plan(10, 0);
  assert.deepEqual(await position(), before);
});
