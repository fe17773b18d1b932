/**
 * Hands a WebSocket upgrade to the transport that serves its path and one of its offered subprotocols.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** A transport and what it answers to. */
export interface Upgradable {
  paths: readonly string[];
  /** Subprotocols; it also takes clients that offer none when `fallback` is set. */
  protocols: readonly string[];
  fallback?: boolean;
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/** Answers upgrades; one that nobody serves gets a plain HTTP error. */
export function createUpgrade(
  transports: readonly Upgradable[],
): (request: IncomingMessage, socket: Socket, head: Buffer) => void {
  return (request, socket, head) => {
    const path = (request.url ?? "/").split("?", 1)[0]!;
    const here = transports.filter(({ paths }) => paths.includes(path));
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim())
      .filter(Boolean);
    const chosen = here.find(({ protocols }) => protocols.some((name) => offered.includes(name))) ??
      (offered.length === 0 ? here.find(({ fallback }) => fallback === true) : undefined);
    if (chosen !== undefined) return chosen.upgrade(request, socket, head);
    const known = here.flatMap(({ protocols }) => protocols).join(", ");
    if (here.length === 0) {
      refuse(socket, "404 Not Found", "not_found", `There is no WebSocket at ${JSON.stringify(path)}`);
    } else {refuse(
        socket,
        "400 Bad Request",
        "invalid_request",
        `Sec-WebSocket-Protocol: expected one of ${known}`,
      );}
  };
}

function refuse(socket: Socket, status: string, code: string, detail: string): void {
  const body = JSON.stringify({
    type: `urn:tidings:error:${code}`,
    title: status.slice(4),
    status: Number(status.slice(0, 3)),
    code,
    detail,
  });
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ${
      Buffer.byteLength(body)
    }\r\n\r\n${body}`,
  );
}
