/**
 * STOMP over WebSocket, versions 1.0 to 1.2, for the clients of Spring, ActiveMQ and RabbitMQ: the transport, what it needs
 * and its bounds. A connection's life is in stomp_connection.ts.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { Service } from "../service.ts";
import { SockJsSocket } from "./sockjs.ts";
import { StompConnection, type StompConnectionDeps } from "./stomp_connection.ts";
import { STOMP_SIZES } from "./stomp_limits.ts";
import { StompPlaces } from "./stomp_places.ts";
import type { StompSocket } from "./stomp_socket.ts";
import type { StompPositions } from "./stomp_store.ts";

/** The subprotocols, best first. */
export const STOMP_PROTOCOLS = ["v12.stomp", "v11.stomp", "v10.stomp"] as const;

/** The transport. Its `stop` waits until what has to be kept of ended connections is kept. */
export interface StompTransport extends Service {
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
  /** The same within SockJS's frames. */
  upgradeSockJs(request: IncomingMessage, socket: Socket, head: Buffer): void;
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
    upgrade: serve((ws) => ws),
    upgradeSockJs: serve((ws) => new SockJsSocket(ws)),
    start: () => Promise.resolve(),
    stop: () => places.settled(),
  };

  function serve(around: (ws: WebSocket) => StompSocket): StompTransport["upgrade"] {
    return (request, socket, head) => {
      server.handleUpgrade(request, socket, head, (ws) => {
        new StompConnection({ ws: around(ws), socket, request }, { ...deps, places });
      });
    };
  }
}
