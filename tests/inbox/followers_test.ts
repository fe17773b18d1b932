import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";

const FOLLOWERS = 100_000;

Deno.test("a topic with 100,000 followers costs one row to send to, and each of them has it; a receipt is written by who marks", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`insert into tidings.subscription (user_id, topic, since)
    select 'p' || g, 'crowd', (select tidings.here()) from generate_series(1, ${FOLLOWERS}::int) g`;
  const writes = async (statement: string) => {
    // A connection of its own: what others did before may not have been added up yet.
    const one = database.connect({ max: 1 });
    try {
      await one`begin`;
      await one.unsafe(statement);
      const tables = await one<{ name: string; rows: number }[]>`
        select relname as name, (n_tup_ins + n_tup_upd + n_tup_del)::int as rows from pg_stat_xact_user_tables
        where n_tup_ins + n_tup_upd + n_tup_del > 0 order by relname`;
      await one`commit`;
      return Object.fromEntries(tables.map(({ name, rows }) => [name, rows]));
    } finally {
      await one.end();
    }
  };
  assert.deepEqual(await writes("select tidings.send('crowd', 'x')"), { notification: 1 });
  for (const user of ["p1", "p50000", `p${FOLLOWERS}`]) {
    const [count] = await sql`select unread from tidings.inbox_count(${user})`;
    assert.equal(count!.unread, 1);
  }
  const mark =
    `select tidings.mark('p7', array(select id from tidings.notification where topic = 'crowd'), 'read')`;
  const { receipt } = await writes(mark);
  assert.equal(receipt, 1);
  // A second time is no error, and changes nothing.
  assert.equal((await writes(mark))["receipt"], undefined);
  const receipts = await sql`select user_id, state from tidings.receipt`;
  assert.deepEqual([...receipts].map((row) => ({ ...row })), [{ user_id: "p7", state: "read" }]);
});
