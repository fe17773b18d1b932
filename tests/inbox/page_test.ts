import assert from "node:assert/strict";
import type postgres from "postgres";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { type Explained, pagesOf } from "../helpers/pages.ts";

const LAST = "9223372036854775807";

function buffers(sql: postgres.Sql, type: string | null, looks: number): Promise<number> {
  return pagesOf(() =>
    sql<Explained[]>`
      explain (analyze, buffers, format json)
      select * from tidings.inbox_page('ada', '{unseen,seen,read}', null, ${type}, ${LAST}::text::xid8, ${LAST}::text::bigint, 20,
        1000000, ${looks})`
  );
}

Deno.test("a filter that leaves little of a large inbox costs no more than a bound, and pages find all that is left", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const { sql } = database;
  const rare: string[] = [];
  for (const [index, rows] of [40_000, 40_000, 20_000].entries()) {
    const [sent] = await sql<{ id: string }[]>`select tidings.send('user:ada', 'rare', type => 'rare') as id`;
    rare.unshift(sent!.id);
    await sql`insert into tidings.notification (topic, type, title)
      select 'user:ada', 'like', n::text from generate_series(1, ${rows}::int) n`;
    if (index === 1) await sql`select tidings.prefer('ada', 'type', 'noise', false, false)`;
  }
  await sql`vacuum analyze tidings.notification`;
  const bounded = await buffers(sql, "rare", 10_000);
  const whole = await buffers(sql, "rare", 1_000_000);
  const usual = await buffers(sql, null, 10_000);
  assert.ok(bounded * 5 < whole, `${bounded} of ${whole} pages looked at`);
  assert.ok(usual < 1_000, `${usual} pages looked at without a filter`);

  const headers = { authorization: `Bearer ${await gateway.token("ada")}` };
  const found: string[] = [];
  let pages = 0;
  for (let next: string | undefined = ""; next !== undefined; pages++) {
    const before = next === "" ? "" : `&before=${next}`;
    const response = await fetch(`${gateway.url}/v1/inbox?type=rare&limit=2${before}`, { headers });
    const page: { items: { id: string }[]; next?: string } = await response.json();
    assert.ok(page.items.length <= 2);
    found.push(...page.items.map(({ id }) => id));
    next = page.next;
  }
  assert.deepEqual(found, rare);
  assert.ok(pages > 2 && pages < 10, `${pages} pages`);
});

Deno.test("a page that is cut by its size has a next, and the next goes on where it was cut", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const { sql } = database;
  for (let n = 0; n < 40; n++) {
    await sql`select tidings.send('user:ada', ${String(n)}, body => repeat(${String(n)}, 30000))`;
  }
  const headers = { authorization: `Bearer ${await gateway.token("ada")}` };
  const titles: string[] = [];
  let pages = 0;
  for (let next: string | undefined = ""; next !== undefined; pages++) {
    const before = next === "" ? "" : `&before=${next}`;
    const response = await fetch(`${gateway.url}/v1/inbox?limit=100${before}`, { headers });
    const page: { items: { title: string }[]; next?: string } = await response.json();
    titles.push(...page.items.map(({ title }) => title));
    next = page.next;
  }
  assert.deepEqual(titles, Array.from({ length: 40 }, (_, n) => String(39 - n)));
});
