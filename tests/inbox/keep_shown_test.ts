import assert from "node:assert/strict";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";

type Sql = TestDatabase["sql"];

/** The person's unfollowing, called and not committed, while something is sent to the topic that a gateway delivers. */
async function shownMeanwhile(database: TestDatabase, before: string[] = ["before"]) {
  const { sql } = database;
  await sql`select tidings.follow('ann', 'club')`;
  for (const title of before) await sql`select tidings.send('club', ${title})`;
  const leaving = await database.connect({ max: 1 }).reserve();
  await leaving`begin`;
  await leaving`select tidings.unfollow('ann', 'club')`;
  await sql`select tidings.send('club', 'meanwhile')`;
  await leaving`commit`;
  leaving.release();
  const [told] = await sql<{ data: object }[]>`
    select data from tidings.notification where type = 'tidings.unfollow' order by id desc limit 1`;
  const [here] = await sql<{ place: object }[]>`select tidings.place_json(tidings.here()) as place`;
  return { stretch: told!.data, place: here!.place };
}

async function keep(sql: Sql, { stretch, place }: { stretch: object; place: object }): Promise<boolean> {
  const [row] = await sql<{ kept: boolean }[]>`
    select tidings.keep_shown('ann', ${sql.json(stretch as never)}, ${sql.json(place as never)}) as kept`;
  return row!.kept;
}

async function inbox(sql: Sql): Promise<{ titles: string[]; unread: number }> {
  const [row] = await sql<{ titles: string[]; unread: number }[]>`
    select c.unread, array(
      select n.title from json_array_elements(p.page) e join tidings.notification n on n.id = (e->>0)::bigint order by n.id) as titles
    from tidings.inbox_count('ann') c,
      tidings.read_inbox('ann', '{unseen,seen,read}', null, null, '9223372036854775807', 9223372036854775807, 1000, 1000000) as p(page)`;
  return { titles: row!.titles, unread: row!.unread };
}

Deno.test("what was shown while an unfollow was being committed comes into the inbox, and into its counts, once", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const shown = await shownMeanwhile(database);
  await sql`select tidings.send('club', 'after')`;
  assert.deepEqual(await inbox(sql), { titles: ["before"], unread: 1 });
  assert.equal(await keep(sql, shown), true);
  assert.deepEqual(await inbox(sql), { titles: ["before", "meanwhile"], unread: 2 });
  const [told] = await sql<{ data: { unread: number } }[]>`
    select data from tidings.notification where type = 'tidings.inbox' order by id desc limit 1`;
  assert.equal(told!.data.unread, 2);
  assert.equal(await keep(sql, shown), false);
  assert.deepEqual(await inbox(sql), { titles: ["before", "meanwhile"], unread: 2 });
});

Deno.test("what was shown is kept as well by a person who follows the topic again, however often, and what lies between is not", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const shown = await shownMeanwhile(database);
  await sql`select tidings.send('club', 'between')`;
  for (const title of ["again", "once more"]) {
    await sql`select tidings.follow('ann', 'club')`;
    await sql`select tidings.send('club', ${title})`;
    await sql`select tidings.unfollow('ann', 'club')`;
  }
  assert.equal(await keep(sql, shown), true);
  assert.deepEqual(await inbox(sql), { titles: ["before", "meanwhile", "again", "once more"], unread: 4 });
});

Deno.test("of what a gateway far beyond has shown, what a later following has is that one's", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const { stretch } = await shownMeanwhile(database);
  await sql`select tidings.follow('ann', 'club')`;
  await sql`select tidings.send('club', 'again')`;
  const [here] = await sql<{ place: object }[]>`select tidings.place_json(tidings.here()) as place`;
  assert.equal(await keep(sql, { stretch, place: here!.place }), true);
  const stretches = await sql<{ titles: string[] }[]>`
    select array(
      select n.title from tidings.notification n
      where n.topic = s.topic and not tidings.behind(s.since, n.xid, n.id)
        and (s.until is null or tidings.behind(s.until, n.xid, n.id)) order by n.id) as titles
    from tidings.subscription s order by s.id`;
  assert.deepEqual(stretches.map(({ titles }) => titles), [["before", "meanwhile"], ["again"]]);
});

Deno.test("a following in which nothing had been sent, and so is not there any more, is there again for what was shown", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const shown = await shownMeanwhile(database, []);
  assert.equal((await sql`select from tidings.subscription`).length, 0);
  assert.equal(await keep(sql, shown), true);
  assert.deepEqual(await inbox(sql), { titles: ["meanwhile"], unread: 1 });
});

Deno.test("keeping what was shown waits for no transaction of the application's", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const shown = await shownMeanwhile(database);
  const holder = await database.connect({ max: 1 }).reserve();
  await holder`begin`;
  await holder`select tidings.mark_all('ann', 'read')`;
  await assert.rejects(keep(sql, shown), { code: "55P03" });
  await holder`rollback`;
  holder.release();
  assert.equal(await keep(sql, shown), true);
});
