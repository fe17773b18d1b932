/**
 * The least that a gateway between LISTEN and a WebSocket can do: hears the bell, reads one row by its primary key, sends it;
 * or, on the channel `carrier`, sends what the bell itself carries and reads nothing. It keeps no position, knows nobody, and
 * loses rows. It shows what of the latency is the way itself.
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { connect } from "./bench.ts";

const [url = "", channel = ""] = Deno.args;
const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (socket) => socket.send('{"op":"welcome"}'));
const reader = connect(url, { max: 1 });
await connect(url, { max: 1 }).listen(channel, async (id) => {
  const [row] = channel === "carrier"
    ? [{ id }]
    : await reader`select id, topic, title from bench_rows where id = ${id}::text::bigint`;
  for (const socket of sockets.clients) socket.send(JSON.stringify({ op: "items", items: [row] }));
});
server.listen(
  0,
  "127.0.0.1",
  () => console.log(`at ws://127.0.0.1:${(server.address() as AddressInfo).port}`),
);
