/**
 * The feed over WebSocket, subprotocol `tidings.v1`: takes over upgrades, and has each connection run by
 * {@link WebSocketConnection}. `ws` reads, answers pings and closes.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type ServerOptions, WebSocketServer } from "ws";
import { TidingsError } from "../errors.ts";
import { SUBPROTOCOL } from "../protocol.ts";
import type { Service } from "../service.ts";
import { WebSocketConnection, type WebSocketDeps } from "./websocket_connection.ts";
import { WEBSOCKET_LIMITS } from "./websocket_limits.ts";

/** Serves upgrades to `tidings.v1`. Its `stop` ends those without a session; the others end with theirs. */
export interface WebSocketTransport extends Service {
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/** The transport. */
export function createWebSocketTransport(
  deps: WebSocketDeps,
): WebSocketTransport {
  // `closeTimeout` is missing from @types/ws
  const options: ServerOptions & { closeTimeout: number } = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: WEBSOCKET_LIMITS.message,
    closeTimeout: WEBSOCKET_LIMITS.closeTimeout,
    handleProtocols: (offered) => offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false,
  };
  const server = new WebSocketServer(options);
  const unknown = new Set<WebSocketConnection>();
  return {
    name: "WebSocket transport",
    start: () => Promise.resolve(),
    stop() {
      for (const connection of unknown) {
        connection.close(
          new TidingsError("restarting", "This gateway is restarting: come back in a moment", {
            retryAfter: 1,
          }),
        );
      }
      return Promise.resolve();
    },
    upgrade(request, socket, head) {
      server.handleUpgrade(request, socket, head, (ws) => {
        unknown.add(new WebSocketConnection(ws, socket, request, deps, unknown));
      });
    },
  };
}
