/**
 * A WebSocket client that costs next to nothing: a socket that has shaken hands and counts bytes.
 * @module
 */
import { connect, type Socket } from "node:net";

/** Resolves when the server has answered the upgrade and, if named, sent something that contains `until`. */
export function rawWebSocket(
  url: string,
  token: string | undefined,
  until?: string,
  query = "",
): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => {
      socket.write(
        `GET /v1/feed${query} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
          (token === undefined ? "" : `Authorization: Bearer ${token}\r\n`) + "\r\n",
      );
    });
    let text = "";
    const look = (chunk: Buffer) => {
      text += chunk.toString("latin1");
      if (!text.includes("\r\n\r\n") || (until !== undefined && !text.includes(until))) return;
      socket.off("data", look);
      socket.off("error", reject);
      socket.on("error", () => socket.destroy());
      resolve(socket);
    };
    socket.on("data", look);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`Closed before it was open: ${text.slice(0, 300)}`)));
  });
}
