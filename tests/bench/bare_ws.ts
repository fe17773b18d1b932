/**
 * The peer of the fan-out benchmark: a `ws` server that sends what its control connection says to everybody else, in a loop.
 * @module
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";

const clients = new Set<WebSocket>();
const server = createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on("connection", (socket, request) => {
  if (request.url?.endsWith("?control")) {
    socket.on("message", (data) => {
      const text = String(data);
      for (const client of clients) client.send(text);
    });
  } else clients.add(socket);
});
server.listen(
  0,
  "127.0.0.1",
  () => console.log(`at http://127.0.0.1:${(server.address() as AddressInfo).port}`),
);
