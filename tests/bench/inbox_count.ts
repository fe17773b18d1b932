/**
 * How dear it is to count and to read the first page: 1 million stored notifications, 100,000 of one person's, all unread.
 * Prints medians; ends with an error when one is above 5 ms.
 *
 *     deno run -A tests/bench/inbox_count.ts
 * @module
 */
import os from "node:os";
import { testDatabase } from "../helpers/database.ts";

const ROUNDS = 200;
const LIMIT = 5;

await using database = await testDatabase();
const sql = database.connect({ max: 1 });
console.log(`${os.cpus()[0]?.model}, ${os.cpus().length} cores; load ${os.loadavg()[0]?.toFixed(1)}`);
await sql`insert into tidings.notification (topic, title, body)
  select case when g % 10 = 0 then 'user:ada' else 'user:' || g % 1000 end, 'A title', 'A body of some words'
  from generate_series(1, 1000000) g`;
await sql`insert into tidings.notification (topic, title) select 'topic:' || g, 'x' from generate_series(1, 100) g`;
await sql`select tidings.follow('ada', 'topic:' || g) from generate_series(1, 100) g`;
await sql`vacuum analyze tidings.notification`;
const cold = performance.now();
const [first] = await sql`select unread, unseen from tidings.inbox_count('ada')`;
console.log(`the first count ever (${first!.unread} unread): ${(performance.now() - cold).toFixed(1)} ms`);

const figures = {
  "count, nothing new": () => sql`select * from tidings.inbox_count('ada')`,
  "count after a send": async () => {
    await sql`select tidings.send('user:ada', 'new')`;
    return timed(() => sql`select * from tidings.inbox_count('ada')`);
  },
  "first page": () =>
    sql`select tidings.read_inbox('ada', '{unseen,seen,read}', null, null, '9223372036854775807', 9223372036854775807, 20, 1000000)`,
  "first page of unread": () =>
    sql`select tidings.read_inbox('ada', '{unseen,seen}', null, null, '9223372036854775807', 9223372036854775807, 20, 1000000)`,
  "mark one": async () => {
    const [row] = await sql<{ id: string }[]>`select tidings.send('user:ada', 'new') as id`;
    return timed(() => sql`select * from tidings.mark('ada', array[${row!.id}::bigint], 'read')`);
  },
  "mark all": async () => {
    await sql`select tidings.send('user:ada', 'new')`;
    return timed(() => sql`select * from tidings.mark_all('ada', 'read')`);
  },
};
let worst = 0;
for (const [name, run] of Object.entries(figures)) {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    const own = await run();
    times.push(typeof own === "number" ? own : performance.now() - start);
  }
  times.sort((a, b) => a - b);
  const median = times[ROUNDS / 2]!;
  console.log(
    `${name}: median ${median.toFixed(2)} ms, p99 ${times[Math.floor(ROUNDS * 0.99)]!.toFixed(2)} ms`,
  );
  if (/^(count|first page)/.test(name)) worst = Math.max(worst, median);
}
console.log(`one topic with 100,000 followers: ${await followers()} row(s) for a send`);
await sql.end();
if (worst > LIMIT) {
  console.error(`Too slow: ${worst.toFixed(2)} ms, at most ${LIMIT} ms are allowed`);
  Deno.exitCode = 1;
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

async function followers(): Promise<number> {
  await sql`insert into tidings.subscription (user_id, topic, since)
    select 'p' || g, 'crowd', (select tidings.here()) from generate_series(1, 100000) g`;
  const before =
    (await sql<{ n: number }[]>`select count(*)::int as n from tidings.notification where topic = 'crowd'`)[
      0
    ]!.n;
  const ms = await timed(() => sql`select tidings.send('crowd', 'hello')`);
  console.log(`a send to 100,000 followers: ${ms.toFixed(2)} ms`);
  return (await sql<
    { n: number }[]
  >`select count(*)::int as n from tidings.notification where topic = 'crowd'`)[0]!.n - before;
}
