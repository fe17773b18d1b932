/**
 * STOMP over WebSocket, versions 1.0 to 1.2, for the clients of Spring, ActiveMQ and RabbitMQ: the transport, what it needs
 * and its bounds. A connection's life is in stomp_connection.ts.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { WebSocketServer } from "ws";
import type { Service } from "../service.ts";
import { StompConnection, type StompConnectionDeps } from "./stomp_connection.ts";
import { STOMP_SIZES } from "./stomp_limits.ts";
import { StompPlaces } from "./stomp_places.ts";
import type { StompPositions } from "./stomp_store.ts";

/** The subprotocols, best first. */
export const STOMP_PROTOCOLS = ["v12.stomp", "v11.stomp", "v10.stomp"] as const;

/** The transport. Its `stop` waits until what has to be kept of ended connections is kept. */
export interface StompTransport extends Service {
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/** The STOMP transport of one gateway; it ends with its feeds. */
export function createStompTransport(
  deps: Omit<StompConnectionDeps, "places"> & { positions: StompPositions },
): StompTransport {
  const places = new StompPlaces(deps.positions);
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: STOMP_SIZES.message,
    handleProtocols: (offered) => STOMP_PROTOCOLS.find((name) => offered.has(name)) ?? false,
  });
  return {
    name: "STOMP",
    upgrade(request, socket, head) {
      server.handleUpgrade(request, socket, head, (ws) => {
        new StompConnection({ ws, socket, request }, { ...deps, places });
      });
    },
    start: () => Promise.resolve(),
    stop: () => places.settled(),
  };
}
