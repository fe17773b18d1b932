/**
 * The least that a gateway between LISTEN and a WebSocket can do: hears the bell, reads one row by its primary key, sends it;
 * or, on the channel `carrier`, sends what the bell itself carries and reads nothing. It keeps no position, knows nobody, and
 * loses rows. It shows what of the latency is the way itself.
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Options, PostgresType, Sql } from "postgres";
import { WebSocketServer } from "ws";
import { connect } from "./bench.ts";

const [url = "", channel = ""] = Deno.args;
const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (socket) => socket.send('{"op":"welcome"}'));
const send = (row: unknown) => {
  for (const socket of sockets.clients) socket.send(JSON.stringify({ op: "items", items: [row] }));
};
// One connection that hears and reads: two of them are slower.
const one: Sql = connect(url, {
  max: 1,
  async onnotify(_channel: string, id: string) {
    if (channel === "carrier") return send({ id });
    const [row] = await one`select id, topic, title from bench_rows where id = ${id}::text::bigint`;
    send(row);
  },
} as Options<Record<string, PostgresType>>);
await one.unsafe(`listen ${channel}`);
server.listen(
  0,
  "127.0.0.1",
  () => console.log(`at ws://127.0.0.1:${(server.address() as AddressInfo).port}`),
);
