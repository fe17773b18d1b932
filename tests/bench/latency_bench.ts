/**
 * (b) From commit to a client, idle: a WebSocket client of a gateway in a process of its own, against a bare LISTEN
 * connection that gets NOTIFY from the same server, and against the least relay between LISTEN and a WebSocket. Who writes is
 * one process, who receives another, for all of them. Timed from the moment COMMIT is sent, turn by turn, on a server that
 * flushes a commit for real, as users' do, and once more without waiting for that.
 * @module
 */
import { testCluster } from "../helpers/database.ts";
import { start } from "../helpers/process.ts";
import { type Benchmark, connect, type Figure, FLUSHING, gatewayProcess, median } from "./bench.ts";

const SAMPLES = 300;
/** Not counted. */
const WARMING = 20;
/** Milliseconds between two samples: the bell sleeps again, and nothing is busy. */
const PAUSE = 10;
const PEERS = ["bare", "carrier", "relay", "gateway"] as const;
type Peer = (typeof PEERS)[number];

export const benchmark: Benchmark = {
  name: "From commit to a WebSocket client, idle",
  async run(report) {
    await using cluster = await testCluster({ settings: FLUSHING });
    const url = cluster.url();
    const writer = connect(url, { max: 1 });
    await writer`create table bench_rows (like tidings.notification including defaults including identity including indexes)`;
    await using gateway = await gatewayProcess(url);
    await using relay = start("tests/bench/relay.ts", [url, "relay"]);
    const [, relayed = ""] = await relay.until(/at (ws:\S+)/);
    await using carrier = start("tests/bench/relay.ts", [url, "carrier"]);
    const [, carried = ""] = await carrier.until(/at (ws:\S+)/);
    await using receiver = start("tests/bench/receiver.ts", [
      url,
      `carrier=${carried}`,
      `relay=${relayed}`,
      `gateway=${gateway.url.replace("http", "ws")}/v1/feed ${await gateway.token("idle")}`,
    ]);
    await receiver.until(/ready/);

    const arrivals = { bare: 0, carrier: 0, relay: 0, gateway: 0 };
    /** Milliseconds from COMMIT to one peer's client. */
    async function sample(peer: Peer): Promise<number> {
      await writer`begin`;
      if (peer === "gateway") {
        await writer`insert into tidings.notification (topic, title) values ('user:idle', 'hello')`;
      } else {
        await writer`with r as (insert into bench_rows (topic, title) values ('user:idle', 'hello') returning id)
          select pg_notify(${peer}, id::text) from r`;
      }
      const sent = performance.timeOrigin + performance.now();
      await writer`commit`;
      const [, came] = await receiver.until(new RegExp(`^${peer} ${++arrivals[peer]} (.*)$`, "m"));
      return Number(came) - sent;
    }
    async function medians(): Promise<Record<Peer, number>> {
      const times: Record<Peer, number[]> = { bare: [], carrier: [], relay: [], gateway: [] };
      for (let round = 0; round < SAMPLES + WARMING; round++) {
        for (const peer of PEERS) {
          const time = await sample(peer);
          if (round >= WARMING) times[peer].push(time);
          await new Promise((resolve) => setTimeout(resolve, PAUSE));
        }
      }
      return {
        bare: median(times.bare),
        carrier: median(times.carrier),
        relay: median(times.relay),
        gateway: median(times.gateway),
      };
    }

    const flushed = await medians();
    await writer`set synchronous_commit = off`;
    const unwaited = await medians();
    await writer.end({ timeout: 1 });
    report({ ...against("bare", flushed, "a bare LISTEN connection"), limit: { most: 2 } });
    report(against("relay", flushed, "the least relay that reads one row by its key"));
    report(against("carrier", flushed, "the least relay that reads nothing"));
    report(against("bare", unwaited, "a bare LISTEN connection, nobody waiting for the flush"));
    report(
      against(
        "relay",
        unwaited,
        "the least relay that reads one row by its key, nobody waiting for the flush",
      ),
    );
  },
};

function against(peer: Peer, medians: Record<Peer, number>, name: string): Figure {
  const { bare, gateway } = medians;
  const times = `${gateway.toFixed(2)} ms and ${medians[peer].toFixed(2)} ms`;
  return {
    name: `median, against ${name}`,
    value: gateway / medians[peer],
    unit: "times",
    from: peer === "bare" ? times : `${times}, which is ${(medians[peer] / bare).toFixed(2)} times bare`,
  };
}
