/**
 * The bounds on a WebSocket that does not speak STOMP. PROTOCOL.md has them in a table.
 * @module
 */

/** Bounds on a connection. */
export const WEBSOCKET_LIMITS = {
  /** Milliseconds to say hello. */
  helloTimeout: 5_000,
  /** Bytes of a message. */
  message: 512 * 1024,
  /** Milliseconds for the peer to answer a close. */
  closeTimeout: 5_000,
} as const;
