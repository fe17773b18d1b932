/**
 * (b) From commit to a client, idle: a WebSocket client of a gateway in a process of its own, against a bare LISTEN
 * connection that gets NOTIFY from the same server, and against the least relay between LISTEN and a WebSocket. Who writes is
 * one process, who receives another, for all of them. Timed from the moment COMMIT is sent, turn by turn.
 * @module
 */
import { testDatabase } from "../helpers/database.ts";
import { start } from "../helpers/process.ts";
import { type Benchmark, connect, gatewayProcess, median } from "./bench.ts";

const SAMPLES = 300;
/** Milliseconds between two samples: the bell sleeps again, and nothing is busy. */
const PAUSE = 10;
const PEERS = ["bare", "carrier", "relay", "gateway"] as const;

export const benchmark: Benchmark = {
  name: "From commit to a WebSocket client, idle",
  async run(report) {
    await using database = await testDatabase();
    const writer = connect(database.url, { max: 1 });
    await writer`create table bench_rows (like tidings.notification including defaults including identity including indexes)`;
    await using gateway = await gatewayProcess(database.url);
    await using relay = start("tests/bench/relay.ts", [database.url, "relay"]);
    const [, relayed = ""] = await relay.until(/at (ws:\S+)/);
    await using carrier = start("tests/bench/relay.ts", [database.url, "carrier"]);
    const [, carried = ""] = await carrier.until(/at (ws:\S+)/);
    await using receiver = start("tests/bench/receiver.ts", [
      database.url,
      `carrier=${carried}`,
      `relay=${relayed}`,
      `gateway=${gateway.url.replace("http", "ws")}/v1/feed ${await gateway.token("idle")}`,
    ]);
    await receiver.until(/ready/);

    const times = {
      bare: [] as number[],
      carrier: [] as number[],
      relay: [] as number[],
      gateway: [] as number[],
    };
    for (let sample = 0; sample < SAMPLES + 20; sample++) {
      for (const peer of PEERS) {
        await writer`begin`;
        if (peer === "gateway") {
          await writer`insert into tidings.notification (topic, title) values ('user:idle', 'hello')`;
        } else {
          await writer`with r as (insert into bench_rows (topic, title) values ('user:idle', 'hello') returning id)
            select pg_notify(${peer}, id::text) from r`;
        }
        const sent = performance.timeOrigin + performance.now();
        await writer`commit`;
        const [, came] = await receiver.until(
          new RegExp(`^${peer} ${sample + 1} (.*)$`, "m"),
        );
        if (sample >= 20) times[peer].push(Number(came) - sent);
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
    await writer.end({ timeout: 1 });
    const [bare, carrying, reading, ours] = PEERS.map((peer) => median(times[peer])) as [
      number,
      number,
      number,
      number,
    ];
    report({
      name: "median, against a bare LISTEN connection",
      value: ours / bare,
      unit: "times",
      limit: { most: 2 },
      from: `${ours.toFixed(2)} ms and ${bare.toFixed(2)} ms`,
    });
    for (
      const [name, least] of [["reads one row by its key", reading], ["reads nothing", carrying]] as const
    ) {
      report({
        name: `median, against the least relay that ${name}`,
        value: ours / least,
        unit: "times",
        from: `${ours.toFixed(2)} ms and ${least.toFixed(2)} ms, which is ${
          (least / bare).toFixed(2)
        } times bare`,
      });
    }
  },
};
