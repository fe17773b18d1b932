/**
 * (e) The memory of an idle WebSocket session: resident bytes of a gateway's process with 5,000 more of them, less those with
 * the first 1,000, who make code, pools and V8's young generation grow. The clients are raw sockets in this process, so
 * that only the gateway is measured.
 * @module
 */
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { testDatabase } from "../helpers/database.ts";
import { type Benchmark, gatewayProcess } from "./bench.ts";
import { rawWebSocket } from "./raw_websocket.ts";

const SESSIONS = 5_000;

export const benchmark: Benchmark = {
  name: `Memory of an idle WebSocket session, at ${SESSIONS}`,
  async run(report) {
    await using database = await testDatabase();
    await using gateway = await gatewayProcess(database.url);
    const token = await gateway.token("idle");
    const sockets: Socket[] = [];
    // Code, pools and V8's young generation grow once, with the first crowd, which stays.
    sockets.push(...await open(1_000));
    const before = await settled(gateway.pid);
    sockets.push(...await open(SESSIONS));
    const after = await settled(gateway.pid);
    for (const socket of sockets) socket.destroy();
    report({
      name: "resident memory of a session",
      value: (after - before) / SESSIONS / 1024,
      unit: "KiB",
      limit: { most: 20 },
      from: `${Math.round(before / 2 ** 20)} MiB, then ${Math.round(after / 2 ** 20)} MiB`,
    });

    async function open(count: number): Promise<Socket[]> {
      const opened: Socket[] = [];
      for (let done = 0; done < count; done += 100) {
        opened.push(
          ...await Promise.all(
            Array.from({ length: 100 }, () => rawWebSocket(gateway.url, token, "welcome")),
          ),
        );
      }
      return opened;
    }
  },
};

/** Resident bytes once three looks, a second apart, agree within 1 %. */
async function settled(pid: number): Promise<number> {
  const seen: number[] = [];
  for (let look = 0; look < 60; look++) {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    seen.push(Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024);
    const last = seen.slice(-3);
    if (last.length === 3 && Math.max(...last) - Math.min(...last) < 0.01 * Math.min(...last)) break;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  return seen.at(-1)!;
}
