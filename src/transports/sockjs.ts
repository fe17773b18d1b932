/**
 * SockJS over WebSocket, for the front ends of Spring that say `new SockJS("/ws")`: its framing around STOMP, and the address
 * that tells the client that WebSocket is to be had. Of SockJS's transports this is the one; its long-polls and streams, which
 * want a server that remembers, are not served.
 *
 * Frames (SockJS protocol 0.3.3): `o` opens, `a["…","…"]` carries messages, `c[code,"reason"]` closes; the client sends a JSON
 * list of messages, or one.
 * @module
 */
import { Hono } from "hono";
import type { RawData, WebSocket } from "ws";
import type { Chance } from "../clock.ts";
import { CLOSE } from "../protocol.ts";
import type { StompSocket } from "./stomp_socket.ts";

/** Addresses under a path: `<path>/<server>/<session>/websocket`, where server and session are whatever the client made up. */
export function sockJsPath(path: string): RegExp {
  const literal = path.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${literal}/[^/.]{1,200}/[^/.]{1,200}/websocket$`);
}

/** `GET <path>/info`, which a SockJS client asks first. */
export function sockJsInfo(path: string, chance: Chance): Hono {
  return new Hono().get(`${path}/info`, (c) => {
    c.header("Cache-Control", "no-store");
    return c.json({
      websocket: true,
      cookie_needed: false,
      origins: ["*:*"],
      entropy: Math.floor(chance() * 2 ** 32),
    });
  });
}

/** A WebSocket that speaks SockJS's frames on the outside and bare messages on the inside. */
export class SockJsSocket implements StompSocket {
  readonly #ws: WebSocket;

  constructor(ws: WebSocket) {
    this.#ws = ws;
    ws.send("o");
  }

  get bufferedAmount(): number {
    return this.#ws.bufferedAmount;
  }

  on(event: "message" | "pong" | "error" | "close", hear: (data: never) => void): void {
    if (event !== "message") return void this.#ws.on(event, hear as () => void);
    this.#ws.on("message", (data) => {
      const messages = unwrap(data);
      if (messages === undefined) return this.close(CLOSE.protocolError, "Broken framing");
      for (const message of messages) (hear as (data: RawData) => void)(Buffer.from(message));
    });
  }

  send(text: string, sent: () => void): void {
    this.#ws.send(`a${JSON.stringify([text])}`, sent);
  }

  /** A ping of the WebSocket: SockJS's own heartbeat has no answer. */
  ping(data?: string): void {
    this.#ws.ping(data);
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  close(code: number, reason: string): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send(`c${JSON.stringify([code, reason])}`);
    this.#ws.close(code, reason);
  }

  terminate(): void {
    this.#ws.terminate();
  }
}

/** The messages of a client's frame; undefined: it is none. */
function unwrap(data: RawData): string[] | undefined {
  const text = String(data);
  if (text === "") return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const messages = Array.isArray(value) ? value : [value];
  return messages.every((message) => typeof message === "string") ? messages : undefined;
}
