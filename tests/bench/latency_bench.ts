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
/** What is committed in turn, and who receives it. */
const WAYS = {
  bare: "bare",
  carrier: "carrier",
  relay: "relay",
  sent: "gateway",
  inserted: "gateway",
} as const;
type Way = keyof typeof WAYS;

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
    async function write(way: Way): Promise<void> {
      if (way === "sent") await writer`select tidings.send('user:idle', 'hello')`;
      else if (way === "inserted") {
        await writer`insert into tidings.notification (topic, title) values ('user:idle', 'hello')`;
      } else {
        await writer`with r as (insert into bench_rows (topic, title) values ('user:idle', 'hello') returning id)
          select pg_notify(${way}, id::text) from r`;
      }
    }
    /** Milliseconds from COMMIT to the client. */
    async function sample(way: Way): Promise<number> {
      await writer`begin`;
      await write(way);
      const sent = performance.timeOrigin + performance.now();
      await writer`commit`;
      const peer = WAYS[way];
      const [, came] = await receiver.until(new RegExp(`^${peer} ${++arrivals[peer]} (.*)$`, "m"));
      return Number(came) - sent;
    }
    async function medians(): Promise<Record<Way, number>> {
      const times: Record<Way, number[]> = { bare: [], carrier: [], relay: [], sent: [], inserted: [] };
      for (let round = 0; round < SAMPLES + WARMING; round++) {
        for (const way of Object.keys(WAYS) as Way[]) {
          const time = await sample(way);
          if (round >= WARMING) times[way].push(time);
          await new Promise((resolve) => setTimeout(resolve, PAUSE));
        }
      }
      return {
        bare: median(times.bare),
        carrier: median(times.carrier),
        relay: median(times.relay),
        sent: median(times.sent),
        inserted: median(times.inserted),
      };
    }

    const flushed = await medians();
    await writer`set synchronous_commit = off`;
    const unwaited = await medians();
    await writer.end({ timeout: 1 });
    const bare = "a bare LISTEN connection";
    report({ ...against(flushed, "sent", "bare", `tidings.send, against ${bare}`), limit: { most: 2 } });
    report(
      against(flushed, "sent", "carrier", "tidings.send, against the least relay of what a bell carries"),
    );
    report(against(flushed, "inserted", "bare", `a plain INSERT, which only rings, against ${bare}`));
    report(
      against(
        flushed,
        "inserted",
        "relay",
        "a plain INSERT, against the least relay that reads one row by its key",
      ),
    );
    report(
      against(unwaited, "sent", "bare", `tidings.send, against ${bare}, nobody waiting for the flush`),
    );
  },
};

function against(medians: Record<Way, number>, way: Way, other: Way, name: string): Figure {
  const times = `${medians[way].toFixed(2)} ms and ${medians[other].toFixed(2)} ms`;
  const itself = (medians[other] / medians.bare).toFixed(2);
  return {
    name: `median of ${name}`,
    value: medians[way] / medians[other],
    unit: "times",
    from: other === "bare" ? times : `${times}, which is ${itself} times bare`,
  };
}
