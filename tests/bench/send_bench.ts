/**
 * (a) Sending in SQL: 64 concurrent senders by pgbench, against a plain INSERT of the same row into a table with the same
 * columns and indexes and against NOTIFY in every transaction, on a server that flushes for real. Each variant runs in every
 * round, on empty tables, and counts with its median.
 * @module
 */
import type postgres from "postgres";
import { testCluster } from "../helpers/database.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";
import { type Benchmark, connect, FLUSHING, gatewayProcess, median } from "./bench.ts";
import { pgbench } from "./pgbench.ts";

const CLIENTS = 64;
const SECONDS = 3;
/** Connections made anew fill their caches first: those of applications stay. */
const WARMING = 2;
const ROUNDS = 4;
const VALUES = "('user:' || (random() * 1000)::int, 'hello', 'a body of some length, as they are')";
const STATEMENTS = {
  plain: `insert into bench.plain (topic, title, body) values ${VALUES};`,
  notify: `insert into bench.ringing (topic, title, body) values ${VALUES};`,
  insert: `insert into tidings.notification (topic, title, body) values ${VALUES};`,
  send:
    `select tidings.send('user:' || (random() * 1000)::int, 'hello', 'a body of some length, as they are');`,
};
type Variant = keyof typeof STATEMENTS;

export const benchmark: Benchmark = {
  name: `Sending in SQL, ${CLIENTS} senders`,
  async run(report) {
    await using sockets = await temporaryFolder("bench");
    // the server may run as another user
    await Deno.chmod(sockets.path, 0o777);
    await using cluster = await testCluster({
      settings: {
        ...FLUSHING,
        unix_socket_directories: sockets.path,
        shared_buffers: "256MB",
      },
    });
    const url = cluster.url();
    const bySocket = socketUrl(url, sockets.path);
    const sql = connect(url, { max: 1 });
    try {
      await sql.unsafe(`
        create schema bench;
        create table bench.plain (like tidings.notification including defaults including identity including indexes);
        alter table bench.plain alter column xid type xid8;
        create table bench.ringing (like bench.plain including defaults including identity including indexes);
        create function bench.ring() returns trigger language plpgsql as $$ begin perform pg_notify('bench', ''); return null; end $$;
        create trigger ring after insert on bench.ringing for each statement execute function bench.ring();`);

      const alone = await rounds(bySocket, sql, ["plain", "insert", "send", "notify"], "up");
      report(
        against(alone, "insert", "plain", "INSERT, flag up, nobody reading, against plain INSERT", 0.85),
      );
      report(against(alone, "send", "plain", "tidings.send, flag up, nobody reading, against plain INSERT"));
      // No limit: a NOTIFY that nobody hears is nobody's gateway, and on a disk that flushes fast plain INSERT is hardly beyond 2.5 of it.
      report(
        against(
          alone,
          "insert",
          "notify",
          "INSERT, flag up, against NOTIFY in every transaction that nobody hears",
        ),
      );
      report(against(alone, "plain", "notify", "plain INSERT against the same, the most that there is"));
      {
        await using _one = await gatewayProcess(url);
        await using _two = await gatewayProcess(url);
        const ears = [connect(url, { max: 1 }), connect(url, { max: 1 })];
        let heard = 0;
        for (const ear of ears) await ear.listen("bench", () => heard++);
        const read = await rounds(bySocket, sql, ["plain", "insert", "send", "notify"], "theirs");
        for (const ear of ears) await ear.end({ timeout: 1 });
        if (heard === 0) throw new Error("Nobody heard a NOTIFY");
        report(
          against(
            read,
            "insert",
            "plain",
            "INSERT with two gateways reading on the same cores, against plain INSERT",
            0.7,
          ),
        );
        report(
          against(
            read,
            "insert",
            "notify",
            "INSERT with two gateways reading, against NOTIFY in every transaction with two connections listening",
            2.5,
          ),
        );
        report(
          against(read, "send", "plain", "tidings.send with two gateways reading, against plain INSERT"),
        );
      }
      await sql`alter system set commit_delay = 2000`;
      await sql`alter system set commit_siblings = 0`;
      await sql`select pg_reload_conf()`;
      const slow = await rounds(bySocket, sql, ["insert", "notify"], "up");
      report(
        against(
          slow,
          "insert",
          "notify",
          "INSERT against NOTIFY in every transaction, with a flush of 2 ms",
          20,
        ),
      );
    } finally {
      await sql.end({ timeout: 1 });
    }
  },
};

/** The same database by the server's Unix socket: pgbench shares the cores with the server, and its way there is to cost little. */
function socketUrl(url: string, folder: string): string {
  const { username, password, port, pathname } = new URL(url);
  return `postgres://${username}:${password}@${encodeURIComponent(folder)}:${port}${pathname}`;
}

function against(
  rates: Record<Variant, number[]>,
  ours: Variant,
  theirs: Variant,
  name: string,
  least?: number,
) {
  const [mine, peer] = [median(rates[ours]), median(rates[theirs])];
  return {
    name,
    value: mine / peer,
    unit: "times",
    ...(least === undefined ? {} : { limit: { least } }),
    from: `${Math.round(mine).toLocaleString("en")}/s and ${Math.round(peer).toLocaleString("en")}/s`,
  };
}

async function rounds(
  url: string,
  sql: postgres.Sql,
  variants: Variant[],
  flag: "up" | "theirs",
): Promise<Record<Variant, number[]>> {
  const rates: Record<Variant, number[]> = { plain: [], notify: [], insert: [], send: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const variant of variants) {
      await sql`truncate bench.plain, bench.ringing`;
      // As after retention: the log's rows are gone, its position is not.
      if (flag === "up") {
        await sql`truncate tidings.notification`;
        await sql`select setval('tidings.awake', tidings.clock_ms() + 3600000)`;
      } else await sql`delete from tidings.notification`;
      await sql`vacuum tidings.notification`;
      await sql`checkpoint`;
      rates[variant].push(
        (await pgbench(url, STATEMENTS[variant], { clients: CLIENTS, seconds: SECONDS, warming: WARMING }))
          .rate,
      );
    }
  }
  return rates;
}
