/**
 * (d) Fan-out: one topic to 1,000 WebSocket clients. A notification at a time (the next is committed when all have the one
 * before) and as fast as they come, against a bare `ws` server in a process of its own that sends the same bytes to each
 * client in a loop, told to by a message. The clients are raw sockets that count bytes, in this process, for both.
 * @module
 */
import type { Socket } from "node:net";
import { start } from "../helpers/process.ts";
import { testDatabase } from "../helpers/database.ts";
import { type Benchmark, connect, gatewayProcess, median } from "./bench.ts";
import { rawWebSocket } from "./raw_websocket.ts";

const CLIENTS = 1_000;
const ROUNDS = 3;
const PER_ROUND = 50;
const BURST = 800;
const BODY = "x".repeat(150);

export const benchmark: Benchmark = {
  name: `One topic to ${CLIENTS} WebSocket clients`,
  async run(report) {
    await using database = await testDatabase();
    await using gateway = await gatewayProcess(database.url);
    await using bare = start("tests/bench/bare_ws.ts");
    const [, bareUrl = ""] = await bare.until(/at (http:\S+)/);
    const token = await gateway.token("reader");
    const ours = await crowd(() => rawWebSocket(gateway.url, token, "welcome", "?topics=bench"));
    const theirs = await crowd(() => rawWebSocket(bareUrl, undefined));
    const control = await rawWebSocket(bareUrl, undefined, undefined, "?control");
    const writer = connect(database.url, { max: 8 });

    // One frame as the gateway writes it: the loop sends the same bytes.
    let frame = "";
    ours.sockets[0]!.once("data", (chunk: Buffer) => frame = chunk.toString("latin1"));
    await ours.count(
      1,
      async () => void await writer`insert into tidings.notification (topic, body) values ('bench', ${BODY})`,
    );
    const bytes = payloadOf(frame);
    const rates = { ours: [] as number[], theirs: [] as number[], burst: [] as number[] };
    for (let round = 0; round < ROUNDS; round++) {
      rates.theirs.push(await rate(PER_ROUND, () => theirs.count(1, () => control.write(masked(bytes)))));
      rates.ours.push(
        await rate(
          PER_ROUND,
          () =>
            ours.count(
              1,
              async () =>
                void await writer`insert into tidings.notification (topic, body) values ('bench', ${BODY})`,
            ),
        ),
      );
      rates.burst.push(
        await rate(1, () =>
          ours.count(BURST, async () => {
            const lanes = Array.from({ length: 8 }, async () => {
              for (
                let sent = 0;
                sent < BURST / 8;
                sent++
              ) await writer`insert into tidings.notification (topic, body) values ('bench', ${BODY})`;
            });
            await Promise.all(lanes);
          })) * BURST,
      );
    }
    for (const socket of [...ours.sockets, ...theirs.sockets, control]) socket.destroy();
    await writer.end({ timeout: 1 });
    const [one, loop, burst] = [median(rates.ours), median(rates.theirs), median(rates.burst)];
    const shown = (value: number) => `${Math.round(value).toLocaleString("en")}/s`;
    report({
      name: "deliveries, one notification at a time, against a bare ws loop",
      value: one / loop,
      unit: "times",
      limit: { least: 0.8 },
      from: `${shown(one)} and ${shown(loop)}`,
    });
    report({
      name: "deliveries when notifications come faster than one at a time, against the same loop",
      value: burst / loop,
      unit: "times",
      limit: { least: 2 },
      from: `${shown(burst)} and ${shown(loop)}`,
    });
  },
};

/** Deliveries a second. */
async function rate(times: number, run: () => Promise<void>): Promise<number> {
  const begin = performance.now();
  for (let time = 0; time < times; time++) await run();
  return times * CLIENTS / ((performance.now() - begin) / 1_000);
}

/** Clients that count notifications by the marks in what they get. */
async function crowd(open: () => Promise<Socket>): Promise<{
  sockets: Socket[];
  /** Resolves when every client has had so many more. */
  count(expected: number, send: () => unknown): Promise<void>;
}> {
  const sockets: Socket[] = [];
  for (let done = 0; done < CLIENTS; done += 50) {
    sockets.push(...await Promise.all(Array.from({ length: 50 }, open)));
  }
  let missing = 0;
  let all = Promise.withResolvers<void>();
  const mark = Buffer.from(BODY);
  for (const socket of sockets) {
    let begun = 0;
    socket.on("data", (chunk: Buffer) => {
      const head = leading(chunk);
      if (head === chunk.length && begun + head < BODY.length) {
        begun += head;
        return;
      }
      // A mark that two chunks share is counted by its length.
      if (begun > 0 && begun + head >= BODY.length) missing--;
      for (let at = chunk.indexOf(mark); at >= 0; at = chunk.indexOf(mark, at + mark.length)) missing--;
      let end = 0;
      while (end < BODY.length && chunk[chunk.length - 1 - end] === X) end++;
      begun = end < BODY.length ? end : 0;
      if (missing <= 0) all.resolve();
    });
  }
  return {
    sockets,
    async count(expected, send) {
      missing += expected * CLIENTS;
      all = Promise.withResolvers();
      await send();
      if (missing > 0) await all.promise;
    },
  };
}

const X = BODY.charCodeAt(0);

/** How many bytes of the mark a chunk begins with. */
function leading(chunk: Buffer): number {
  let at = 0;
  while (at < chunk.length && chunk[at] === X) at++;
  return at;
}

function payloadOf(frame: string): string {
  return frame.slice(frame.indexOf("{"));
}

/** A client's text frame (RFC 6455, section 5.3). */
function masked(text: string): Buffer {
  const payload = Buffer.from(text);
  const header = Buffer.alloc(8);
  header[0] = 0x81;
  header[1] = 0x80 | 126;
  header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([header, payload]);
}
