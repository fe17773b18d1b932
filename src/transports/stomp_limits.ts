/**
 * The bounds of a STOMP connection in time and size.
 * @module
 */
import { STOMP_LIMITS } from "./stomp_frame.ts";

/** Milliseconds. */
export const STOMP_TIMES = {
  /** Until CONNECT is there and good. */
  login: 5_000,
  /** Until a frame that has begun is whole. */
  frame: 30_000,
  /** Between two pings of the WebSocket; a client that answered none in between is gone. */
  ping: 25_000,
  /** Between two writings of durable places. */
  keep: 1_000,
  /** The longest that a SEND waits for its turn; one that would wait longer is refused. */
  pace: 5_000,
} as const;

/** Bytes. */
export const STOMP_SIZES = {
  /** Of one WebSocket message; a frame may come in several. */
  message: STOMP_LIMITS.bodyBytes + STOMP_LIMITS.headerBytes,
  /** Of everything before CONNECT is good. */
  login: 16 * 1024,
} as const;
