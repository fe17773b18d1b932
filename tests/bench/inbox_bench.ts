/**
 * Counting and reading the first page of an inbox: 1 million stored notifications, 100,000 of one person's, all unread, who also
 * follows 100 topics. As statements, which have the limits, and as requests to a gateway, beside what any request to it takes
 * (`/healthz`: no token, no statement) and what any statement of a person's does (`/v1/preferences`, two rows at most).
 * @module
 */
import type postgres from "postgres";
import { testDatabase } from "../helpers/database.ts";
import { type Benchmark, connect, gatewayProcess, median } from "./bench.ts";

const STORED = 1_000_000;
const THEIRS = 10;
const ROUNDS = 200;
/** Milliseconds. */
const MOST = 5;
/** Beyond the last of the log. */
const LAST = "9223372036854775807";

export const benchmark: Benchmark = {
  name: `An inbox of ${(STORED / THEIRS).toLocaleString("en")} among ${
    STORED.toLocaleString("en")
  } notifications`,
  async run(report) {
    await using database = await testDatabase();
    const sql = connect(database.url, { max: 1 });
    await fill(sql);
    report({
      name: "the first count ever, of all",
      value: await timed(() => sql`select unread from tidings.inbox_count('ada')`),
      unit: "ms",
    });
    const page = (states: string) =>
      sql`select * from tidings.inbox_page('ada', ${states}::text::text[], null, null, ${LAST}::text::xid8, ${LAST}::text::bigint, 20, 1000000)`;
    const figures: Record<string, () => Promise<number>> = {
      "count, nothing new": () => timed(() => sql`select * from tidings.inbox_count('ada')`),
      "count after a send": async () => {
        await sql`select tidings.send('user:ada', 'new')`;
        return timed(() => sql`select * from tidings.inbox_count('ada')`);
      },
      "first page": () => timed(() => page("{unseen,seen,read}")),
      "first page of what is unread": () => timed(() => page("{unseen,seen}")),
      "mark one": async () => {
        const [row] = await sql<{ id: string }[]>`select tidings.send('user:ada', 'new') as id`;
        return timed(() => sql`select * from tidings.mark('ada', array[${row!.id}::bigint], 'read')`);
      },
    };
    for (const [name, once] of Object.entries(figures)) {
      report(await measured(name, once, !name.startsWith("mark")));
    }
    await using gateway = await gatewayProcess(database.url);
    const headers = { authorization: `Bearer ${await gateway.token("ada")}` };
    const requests = {
      "GET /healthz, as the floor": "/healthz",
      "GET /v1/preferences, as the floor with a token and a statement": "/v1/preferences",
      "GET /v1/inbox/count": "/v1/inbox/count",
      "GET /v1/inbox, 20 of them": "/v1/inbox?limit=20",
    };
    for (const [name, path] of Object.entries(requests)) {
      const once = () =>
        timed(async () => {
          const response = await fetch(gateway.url + path, { headers });
          const text = await response.text();
          if (response.status !== 200) throw new Error(`${path} answered ${response.status}: ${text}`);
        });
      // a program that has just started is still being compiled
      for (let round = 0; round < 2 * ROUNDS; round++) await once();
      report(await measured(name, once, false));
    }
    report(
      await measured("mark all, after a send", async () => {
        await sql`select tidings.send('user:ada', 'new')`;
        return timed(() => sql`select * from tidings.mark_all('ada', 'read')`);
      }, false),
    );
    await sql`insert into tidings.subscription (user_id, topic, since)
      select 'p' || g, 'crowd', (select tidings.here()) from generate_series(1, 100000) g`;
    report({
      name: "a send to a topic with 100,000 followers",
      value: await timed(() => sql`select tidings.send('crowd', 'hello')`),
      unit: "ms",
    });
    await sql.end({ timeout: 1 });
  },
};

async function fill(sql: postgres.Sql): Promise<void> {
  await sql`select tidings.adopt()`;
  await sql`insert into tidings.notification (topic, title, body)
    select case when g % ${THEIRS} = 0 then 'user:ada' else 'user:' || g % 1000 end, 'A title', 'A body of some words'
    from generate_series(1, ${STORED}) g`;
  await sql`insert into tidings.notification (topic, title) select 'topic:' || g, 'x' from generate_series(1, 100) g`;
  await sql`select tidings.follow('ada', 'topic:' || g) from generate_series(1, 100) g`;
  await sql`vacuum analyze tidings.notification`;
}

async function measured(name: string, once: () => Promise<number>, limited: boolean) {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await once());
  const value = median(times);
  times.sort((a, b) => a - b);
  return {
    name,
    value,
    unit: "ms",
    ...(limited ? { limit: { most: MOST } } : {}),
    from: `median of ${ROUNDS}; 99 of 100 within ${times[Math.floor(ROUNDS * 0.99)]!.toFixed(1)} ms`,
  };
}

async function timed(run: () => PromiseLike<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}
