/**
 * The feed over WebSocket, subprotocol `tidings.v1`.
 *
 * Invariants:
 * - Frames that many get are made once and written straight to each socket; `ws` reads, answers pings and closes.
 * - Before it has said who it is, a client may send one `hello` of 8 KiB within 5 s, and nothing else.
 * - Frames of one client are worked on one after the other, so many waiting at most; more are a protocol error.
 * - A client that answers no ping and reads nothing for three heartbeats is cut.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type RawData, type WebSocket, WebSocketServer } from "ws";
import { headOf, readCredentials, tokenRequired } from "../auth/credentials.ts";
import type { Identity } from "../auth/identity.ts";
import { TidingsError, toProblem } from "../errors.ts";
import type { Reconnectable, Since } from "../feed/feed.ts";
import type { InboxEvent, Session, Sink } from "../feed/session.ts";
import type { Batch } from "../log/batch.ts";
import { type ClientFrame, CLOSE, type ResetReason, type ServerFrame, SUBPROTOCOL } from "../protocol.ts";
import { WRITE_UNIT } from "../stall_guard.ts";
import { parseFrame, refOf } from "./client_frame.ts";
import { textFrame } from "./frame.ts";
import type { Heart } from "./heart.ts";
import {
  atExpiry,
  BUFFER,
  checkTopics,
  expired,
  MAX_TOPICS,
  parseSince,
  parseTopics,
  type TransportDeps,
  welcome,
} from "./negotiate.ts";

/** Bounds on what a client sends. */
export const WEBSOCKET_LIMITS = {
  /** Bytes before it has said who it is. */
  hello: 8 * 1024,
  /** Milliseconds to say it. */
  helloTimeout: 5_000,
  /** Bytes of a message. */
  message: 512 * 1024,
  /** Frames that wait to be worked on. */
  waiting: 64,
  /** Frames a second in the long run, and at once. */
  rate: 50,
  burst: 200,
} as const;

/** Serves upgrades to `tidings.v1`. */
export interface WebSocketTransport {
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/** The transport; it ends with its sessions. */
export function createWebSocketTransport(
  deps: TransportDeps & { heart: Heart; failed(error: unknown): void },
): WebSocketTransport {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: WEBSOCKET_LIMITS.message,
    handleProtocols: (offered) => offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false,
  });
  return {
    upgrade(request, socket, head) {
      server.handleUpgrade(request, socket, head, (ws) => new Connection(ws, socket, request, deps));
    },
  };
}

class Connection implements Sink, Reconnectable {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #deps: TransportDeps & { heart: Heart; failed(error: unknown): void };
  readonly #query: URLSearchParams;
  #identity: Identity | undefined;
  #session: Session | undefined;
  #cancelDeadline: () => void = () => undefined;
  /** Frames are worked on in order: the end of the line. */
  #line: Promise<void> = Promise.resolve();
  #waiting = 0;
  #allowance: number = WEBSOCKET_LIMITS.burst;
  #refilled: number;
  #beats = 0;
  #heard = 0;
  #read = 0;
  #closed = false;

  constructor(
    ws: WebSocket,
    socket: Socket,
    request: IncomingMessage,
    deps: TransportDeps & { heart: Heart; failed(error: unknown): void },
  ) {
    this.#ws = ws;
    this.#socket = socket;
    this.#deps = deps;
    this.#refilled = deps.clock.now();
    this.#query = new URL(request.url ?? "/", "http://localhost").searchParams;
    this.#cancelDeadline = deps.clock.after(WEBSOCKET_LIMITS.helloTimeout, () => this.close(tokenRequired()));
    ws.on("message", (data, binary) => this.#receive(data, binary));
    ws.on("pong", () => this.#heard = this.#beats);
    ws.on("close", () => this.#gone());
    // ws closes with the code that fits (1009, 1002, 1007); the peer learns it from there
    ws.on("error", () => this.#gone());
    socket.on("drain", () => this.#session?.drained());
    this.#boundHello();
    this.#enqueue(() => this.#greet(request));
  }

  items(batch: Batch): boolean {
    this.#write(batch.encoded(Connection, encode));
    return this.#socket.writableLength < BUFFER;
  }

  inbox(event: InboxEvent): void {
    this.#send({ op: "inbox", ...event });
  }

  reset(reason: ResetReason, cursor: string): void {
    this.#send({ op: "reset", reason, cursor });
  }

  close(error: TidingsError): void {
    if (this.#closed) return;
    this.#send({ op: "error", problem: toProblem(error) });
    this.#ws.close(error.close, error.code);
    this.#gone();
  }

  reconnect(): void {
    if (this.#session !== undefined) this.#send({ op: "cursor", cursor: this.#session.cursor });
    this.#send({ op: "reconnect", after: 0 });
    this.#ws.close(CLOSE.restart, "restarting");
    this.#gone();
  }

  beat(): void {
    this.#beats++;
    const read = this.#socket.bytesWritten - this.#socket.writableLength;
    if (read !== this.#read && this.#socket.writableLength > 0) this.#heard = this.#beats;
    this.#read = read;
    if (this.#beats - this.#heard > 3) {
      this.close(new TidingsError("not_reading", "Nothing was read or answered for three heartbeats"));
      this.#ws.terminate();
      return;
    }
    if (this.#session !== undefined && this.#socket.writableLength < BUFFER) {
      this.#send({ op: "cursor", cursor: this.#session.cursor });
    }
    this.#ws.ping();
  }

  /** Counts bytes, not messages: a large or a split `hello` is not gathered first. */
  #boundHello(): void {
    const start = this.#socket.bytesRead;
    const count = () => {
      if (this.#session !== undefined || this.#closed) this.#socket.off("data", count);
      else if (this.#socket.bytesRead - start > WEBSOCKET_LIMITS.hello) {
        this.close(
          new TidingsError(
            "too_large",
            `Cannot read hello: expected at most ${WEBSOCKET_LIMITS.hello} bytes`,
          ),
        );
      }
    };
    this.#socket.on("data", count);
  }

  async #greet(request: IncomingMessage): Promise<void> {
    const credentials = await readCredentials(headOf(request, true), this.#deps.credentials);
    if (credentials.kind === "none") return;
    await this.#open(
      credentials.identity,
      parseSince(this.#query.get("since")),
      parseTopics(this.#query.get("topics")),
    );
  }

  async #open(identity: Identity, since: Since, topics: string[]): Promise<void> {
    const deps = this.#deps;
    await deps.authorize(identity, topics);
    const opened = await deps.feed.open({ user: identity.user, topics, since }, this);
    const { session, reset } = opened;
    this.#session = session;
    if (this.#closed) return session.end();
    this.#identity = identity;
    const hello = await welcome(opened, since, identity, deps);
    if (this.#closed) return session.end();
    this.#renew(identity);
    deps.heart.add(this);
    this.#send({ op: "welcome", ...hello });
    if (reset !== undefined) this.reset(reset, session.cursor);
    session.open();
  }

  #renew(identity: Identity): void {
    this.#cancelDeadline();
    this.#identity = identity;
    this.#cancelDeadline = atExpiry(identity, this.#deps.clock, () => this.close(expired()));
  }

  #receive(data: RawData, binary: boolean): void {
    if (this.#closed) return;
    const bytes = data as Buffer;
    this.#heard = this.#beats;
    if (binary) {
      return this.close(
        new TidingsError("protocol_error", "Cannot read the frame: expected text, got binary"),
      );
    }
    if (this.#session === undefined && bytes.length > WEBSOCKET_LIMITS.hello) {
      return this.close(
        new TidingsError("too_large", `Cannot read hello: expected at most ${WEBSOCKET_LIMITS.hello} bytes`),
      );
    }
    if (!this.#mayReceive()) {
      return this.close(
        new TidingsError(
          "too_many_requests",
          `Cannot read on: more than ${WEBSOCKET_LIMITS.rate} frames a second`,
        ),
      );
    }
    if (this.#waiting >= WEBSOCKET_LIMITS.waiting) {
      return this.close(
        new TidingsError(
          "too_many_requests",
          `Cannot read on: ${WEBSOCKET_LIMITS.waiting} frames are waiting`,
        ),
      );
    }
    const text = bytes.toString();
    this.#enqueue(() => this.#handle(text));
  }

  #mayReceive(): boolean {
    const now = this.#deps.clock.now();
    this.#allowance = Math.min(
      WEBSOCKET_LIMITS.burst,
      this.#allowance + (now - this.#refilled) * WEBSOCKET_LIMITS.rate / 1_000,
    );
    this.#refilled = now;
    return this.#allowance-- >= 1;
  }

  #enqueue(work: () => Promise<void>): void {
    this.#waiting++;
    this.#line = this.#line.then(work).then(undefined, (error) => {
      if (!(error instanceof TidingsError)) this.#deps.failed(error);
      this.close(
        error instanceof TidingsError ? error : new TidingsError("internal", "The error was logged"),
      );
    }).finally(() => this.#waiting--);
  }

  async #handle(text: string): Promise<void> {
    if (this.#closed) return;
    try {
      const frame = parseFrame(text);
      if (this.#session === undefined || this.#identity === undefined) {
        if (frame.op !== "hello") throw tokenRequired();
        const identity = await this.#deps.credentials.verifier.verify(frame.token);
        return await this.#open(identity, parseSince(frame.since), checkTopics(frame.topics ?? []));
      }
      const answer = await this.#perform(frame, this.#session, this.#identity);
      if (!this.#closed) this.#send({ ...answer, ...(frame.ref === undefined ? {} : { ref: frame.ref }) });
    } catch (error) {
      const fatal = this.#session === undefined || !(error instanceof TidingsError) ||
        error.code === "protocol_error";
      if (fatal) throw error;
      const ref = refOf(text);
      this.#send({ op: "error", ...(ref === undefined ? {} : { ref }), problem: toProblem(error) });
    }
  }

  async #perform(frame: ClientFrame, session: Session, identity: Identity): Promise<ServerFrame> {
    const { actions, authorize, credentials } = this.#deps;
    switch (frame.op) {
      case "hello":
        throw new TidingsError("protocol_error", "Cannot say hello twice: send auth with a fresh token");
      case "auth": {
        const fresh = await credentials.verifier.verify(frame.token);
        if (fresh.user !== identity.user) {
          throw new TidingsError("forbidden", "Cannot change the user of a session: open another");
        }
        this.#renew(fresh);
        return { op: "ok" };
      }
      case "subscribe": {
        const topics = checkTopics(frame.topics);
        await authorize(identity, topics);
        const added = topics.filter((topic) => !session.has(topic));
        if (session.topics.length + added.length > MAX_TOPICS + 1_000) {
          throw new TidingsError("invalid_request", "Cannot subscribe: the session has too many topics");
        }
        await this.#subscribe(session, added, parseSince(frame.since));
        return { op: "ok" };
      }
      case "unsubscribe":
        session.unsubscribe(checkTopics(frame.topics));
        return { op: "ok" };
      case "publish": {
        const { op: _op, ref: _ref, ...publication } = frame;
        return { op: "ok", ids: await actions.publish(identity, publication) };
      }
      case "mark": {
        const { op: _op, ref: _ref, ...mark } = frame;
        await actions.mark(identity, mark);
        return { op: "ok" };
      }
      case "ack":
        await actions.acknowledge(identity, session, frame.cursor);
        return { op: "ok" };
      case "ping":
        return { op: "pong" };
    }
  }

  async #subscribe(session: Session, topics: string[], since: Since): Promise<void> {
    if (since.at === "now") return session.subscribe(topics.map((topic) => ({ topic })));
    const start = await this.#deps.feed.locate(since);
    if (typeof start === "string") {
      session.subscribe(topics.map((topic) => ({ topic })));
      throw new TidingsError("cursor_reset", "Cannot go back to this cursor: the topics begin here instead", {
        cursor: session.cursor,
        reason: start,
      });
    }
    await session.backfill(topics, start);
  }

  #send(frame: ServerFrame): void {
    this.#write(textFrame(JSON.stringify(frame)));
  }

  /** In small pieces, so that it shows who still reads; at once, so that nothing comes in between. */
  #write(frame: Buffer): void {
    if (this.#closed || this.#ws.readyState !== this.#ws.OPEN) return;
    if (frame.length <= WRITE_UNIT) {
      this.#socket.write(frame);
      return;
    }
    for (let start = 0; start < frame.length; start += WRITE_UNIT) {
      this.#socket.write(frame.subarray(start, start + WRITE_UNIT));
    }
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelDeadline();
    this.#deps.heart.remove(this);
    this.#session?.end();
  }
}

function encode(batch: Batch): Buffer {
  return textFrame(
    `{"op":"items","cursor":"${batch.cursor}","items":[${batch.rows.map((row) => row.json).join(",")}]}`,
  );
}
