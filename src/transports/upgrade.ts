/**
 * Hands a WebSocket upgrade to the transport that serves its path and one of its offered subprotocols.
 * @module
 */
import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { invalidField, TidingsError, toProblem } from "../errors.ts";

/** A transport and what it answers to. */
export interface Upgradable {
  paths: readonly (string | RegExp)[];
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
    const here = transports.filter(({ paths }) =>
      paths.some((each) => typeof each === "string" ? each === path : each.test(path))
    );
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim())
      .filter(Boolean);
    const chosen = here.find(({ protocols }) => protocols.some((name) => offered.includes(name))) ??
      (offered.length === 0 ? here.find(({ fallback }) => fallback === true) : undefined);
    if (chosen !== undefined) return chosen.upgrade(request, socket, head);
    const known = here.flatMap(({ protocols }) => protocols).join(", ");
    refuse(
      socket,
      here.length === 0
        ? new TidingsError("not_found", `There is no WebSocket at ${JSON.stringify(path.slice(0, 200))}`)
        : invalidField("open a WebSocket", "Sec-WebSocket-Protocol", `expected one of ${known}`),
    );
  };
}

function refuse(socket: Socket, error: TidingsError): void {
  const body = JSON.stringify(toProblem(error));
  socket.end(
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\nConnection: close\r\n` +
      `Content-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
