/**
 * Who receives in the latency benchmark: one process with a bare LISTEN connection and WebSocket clients, none of which sends.
 * Prints a line for every arrival: whose it is, which it is of them, and when (ms since the Unix epoch).
 *
 * `receiver.ts <database> <name>=<address of a WebSocket>[ <token>]…`; `ready` when all are connected.
 * @module
 */
import WebSocket from "ws";
import { connect } from "./bench.ts";

const [url = "", ...peers] = Deno.args;
const now = () => performance.timeOrigin + performance.now();
const counts = new Map<string, number>();
function print(name: string, at: number): void {
  const count = (counts.get(name) ?? 0) + 1;
  counts.set(name, count);
  console.log(`${name} ${count} ${at.toFixed(4)}`);
}

await connect(url, { max: 1 }).listen("bare", () => print("bare", now()));
for (const peer of peers) {
  const [, name = "", address = "", token] = /^(\w+)=(\S+) ?(.*)$/.exec(peer) ?? [];
  const socket = new WebSocket(address, token ? { headers: { authorization: `Bearer ${token}` } } : {});
  socket.on("message", (data) => {
    const at = now();
    if (String(data).startsWith('{"op":"items"')) print(name, at);
  });
  await new Promise((resolve, reject) => socket.once("message", resolve).once("error", reject));
}
console.log("ready");
