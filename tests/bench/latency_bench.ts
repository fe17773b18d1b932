/**
 * (b) From commit to a client, idle: a WebSocket client of a gateway in a process of its own, against a bare LISTEN
 * connection that gets NOTIFY from the same server. Both are timed from the moment COMMIT is sent, turn by turn.
 * @module
 */
import WebSocket from "ws";
import { testDatabase } from "../helpers/database.ts";
import { type Benchmark, connect, gatewayProcess, median } from "./bench.ts";

const SAMPLES = 300;
/** Milliseconds between two samples: the bell sleeps again, and nothing is busy. */
const PAUSE = 30;

export const benchmark: Benchmark = {
  name: "From commit to a WebSocket client, idle",
  async run(report) {
    await using database = await testDatabase();
    await using gateway = await gatewayProcess(database.url);
    const writer = connect(database.url, { max: 1 });
    const listener = connect(database.url, { max: 1 });
    const arrived: { bare?: (at: number) => void; socket?: (at: number) => void } = {};
    await listener.listen("bench", () => arrived.bare?.(performance.now()));
    const socket = new WebSocket(`${gateway.url.replace("http", "ws")}/v1/feed`, {
      headers: { authorization: `Bearer ${await gateway.token("idle")}` },
    });
    await new Promise((resolve) => socket.once("message", resolve));
    socket.on("message", (data) => {
      if (String(data).startsWith('{"op":"items"')) arrived.socket?.(performance.now());
    });
    await writer`create table bench_rows (like tidings.notification including defaults including identity including indexes)`;

    const times = { bare: [] as number[], socket: [] as number[] };
    for (let sample = 0; sample < SAMPLES + 20; sample++) {
      for (const which of ["bare", "socket"] as const) {
        const came = new Promise<number>((resolve) => arrived[which] = resolve);
        await writer`begin`;
        if (which === "bare") {
          await writer`insert into bench_rows (topic, title) values ('user:idle', 'hello')`;
          await writer`select pg_notify('bench', '')`;
        } else await writer`insert into tidings.notification (topic, title) values ('user:idle', 'hello')`;
        const start = performance.now();
        const commit = writer`commit`.execute();
        const end = await came;
        await commit;
        if (sample >= 20) times[which].push(end - start);
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
    socket.terminate();
    await writer.end({ timeout: 1 });
    await listener.end({ timeout: 1 });
    const [ours, bare] = [median(times.socket), median(times.bare)];
    report({
      name: "median, against a bare LISTEN connection",
      value: ours / bare,
      unit: "times",
      limit: { most: 2 },
      from: `${ours.toFixed(2)} ms and ${bare.toFixed(2)} ms`,
    });
  },
};
