/**
 * The socket under a STOMP connection, as the connection needs it: a WebSocket whose messages are pieces of STOMP.
 * @module
 */
import type { RawData, WebSocket } from "ws";

/** What of `ws` a connection uses; SockJS puts its own framing in between. */
export interface StompSocket extends Pick<WebSocket, "pause" | "resume" | "terminate" | "bufferedAmount"> {
  on(event: "message", hear: (data: RawData) => void): void;
  on(event: "pong", hear: (data: Buffer) => void): void;
  on(event: "error" | "close", hear: () => void): void;
  /** Calls back when the text has gone out. */
  send(text: string, sent: () => void): void;
  ping(data?: string): void;
  close(code: number, reason: string): void;
}
