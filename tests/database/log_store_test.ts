import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { createLogStore } from "../../src/database/log_store.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import { type Cursor, cutAt, splice } from "../../src/log/cursor.ts";
import { testDatabase } from "../helpers/database.ts";

Deno.test("pages of what compresses well are bounded by what it is when it is read", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const limits = { rows: 1_000, bytes: 1024 * 1024 };
  const length = 262_100;
  const count = 120;
  // stored, a hundredth of that
  await sql`insert into tidings.notification (topic, data)
            select 'user:ann', to_jsonb(repeat('x', ${length})) from generate_series(1, ${count})`;
  await sql`insert into tidings.notification (topic, body)
            select 'user:ann', repeat('x', 65536) from generate_series(1, ${count})`;
  const pool = createDatabase({ url: database.url, max: 1, prepare: true, name: "pages" }, {
    clock: systemClock,
  });
  await pool.start();
  try {
    const store = createLogStore(pool);
    const epoch = await store.adopt();
    const { snapshot } = await store.end(epoch);
    const reads = {
      tailer: (after: Cursor) => store.read(after, limits),
      session: (after: Cursor) => store.readTopics(["user:ann"], after, snapshot, limits),
    };
    for (const [name, read] of Object.entries(reads)) {
      let after = cutAt(snapshot, 1);
      let rows = 0;
      for (let more = true; more;) {
        const page = await read(after);
        const bytes = page.rows.reduce((sum, row) => sum + row.json.length, 0);
        // the bound, more by the ratio of the most compressible, and one row beyond
        assert.ok(bytes <= 7 * limits.bytes, `${name}: a page of ${page.rows.length} rows, ${bytes} bytes`);
        assert.ok(page.rows.length > 0, name);
        rows += page.rows.length;
        more = page.more;
        after = splice(after, page.snapshot, page.rows.at(-1)!);
      }
      assert.equal(rows, 2 * count, name);
    }
  } finally {
    await pool.stop();
  }
});
