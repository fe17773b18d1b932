/**
 * One client of the feed over WebSocket: from the upgrade to its end.
 *
 * Invariants:
 * - Frames that many get are made once and written straight to each socket.
 * - Before it has said who it is, a client may send one `hello` within 5 s, and nothing else; what it sends is bounded by the
 *   {@link Inlet}.
 * - A client that answers no ping and reads nothing for three heartbeats is cut.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import { headOf, readCredentials } from "../auth/credentials.ts";
import type { Identity } from "../auth/identity.ts";
import type { RequestHead } from "../auth/origin.ts";
import { TidingsError, toProblem } from "../errors.ts";
import type { Reconnectable, Since } from "../feed/feed.ts";
import { NOT_PRESENT, type PresenceHold } from "../feed/presence.ts";
import type { Session } from "../feed/session.ts";
import type { InboxEvent, Sink } from "../feed/sink.ts";
import type { Batch } from "../log/batch.ts";
import { type ClientFrame, CLOSE, type ResetReason, type ServerFrame } from "../protocol.ts";
import { WRITE_UNIT } from "../stall_guard.ts";
import { parseFrame, refOf } from "./client_frame.ts";
import { textFrame } from "./frame.ts";
import type { Heart } from "./heart.ts";
import { Inlet } from "./inlet.ts";
import {
  atExpiry,
  BUFFER,
  checkTopics,
  expired,
  opener,
  parseSince,
  readWatch,
  topicsOf,
  type TransportDeps,
  watchOf,
  welcome,
} from "./negotiate.ts";
import { WEBSOCKET_LIMITS } from "./websocket_limits.ts";
import { SessionRequests } from "./websocket_requests.ts";

/** What a connection works with. */
export interface WebSocketDeps extends TransportDeps {
  heart: Heart;
  /** An error that is nobody's fault outside; the connection ends. */
  failed(error: unknown): void;
}

/** One client. */
export class WebSocketConnection implements Sink, Reconnectable {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #deps: WebSocketDeps;
  /** What was asked for, path and query. */
  readonly #target: string;
  readonly #agent: string | undefined;
  /** Who it said it is. */
  #user: string | undefined;
  #session: Session | undefined;
  #requests: SessionRequests | undefined;
  #presence: PresenceHold = NOT_PRESENT;
  #cancelDeadline: () => void = () => undefined;
  /** Who it is was told by a cookie, which a browser sends unasked: a `hello` may still say it better. */
  #byCookie = false;
  readonly #inlet: Inlet;
  readonly #unknown: Set<WebSocketConnection>;
  #beats = 0;
  #heard = 0;
  #read = 0;
  #closed = false;

  constructor(
    ws: WebSocket,
    socket: Socket,
    request: IncomingMessage,
    deps: WebSocketDeps,
    /** Those without a session: it leaves them when it has one, or is gone. */
    unknown: Set<WebSocketConnection>,
  ) {
    this.#unknown = unknown;
    this.#ws = ws;
    this.#socket = socket;
    this.#deps = deps;
    this.#agent = request.headers["user-agent"];
    this.#target = request.url ?? "/";
    this.#cancelDeadline = deps.clock.after(WEBSOCKET_LIMITS.helloTimeout, () => this.close(helloMissing()));
    this.#inlet = new Inlet(ws, socket, {
      clock: deps.clock,
      work: (text) => this.#guarded(() => this.#handle(text)),
      heard: () => {
        this.#heard = this.#beats;
        this.#presence.active();
      },
      refuse: (error) => this.close(error),
    });
    ws.on("pong", () => this.#heard = this.#beats);
    ws.on("close", () => this.#gone());
    // ws closes with the code that fits (1009, 1002, 1007); the peer learns it from there
    ws.on("error", () => this.#gone());
    socket.on("drain", () => this.#session?.drained());
    this.#meet(headOf(request, true));
  }

  items(batch: Batch): boolean {
    this.#write(batch.encoded(WebSocketConnection, encode));
    return this.#socket.writableLength < BUFFER;
  }

  inbox(event: InboxEvent): boolean {
    this.#send({ op: "inbox", ...event });
    return this.#socket.writableLength < BUFFER;
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

  /** Apart from the constructor, whose closures live as long as the session and would keep the request. */
  #meet(head: RequestHead): void {
    this.#inlet.run(() => this.#guarded(() => this.#greet(head)));
  }

  async #greet(head: RequestHead): Promise<void> {
    const credentials = await readCredentials(head, this.#deps.credentials);
    if (credentials.kind === "none") return;
    this.#inlet.trust();
    this.#byCookie = credentials.via === "cookie";
    const query = queryOf(this.#target);
    const topics = topicsOf(query);
    await this.#open(credentials.identity, {
      since: parseSince(query.get("since")),
      topics,
      watch: watchOf(query, topics),
    });
  }

  /** Begins the session, or begins anew the one that a cookie began; one that fails leaves none. */
  async #hello(
    { token, since, topics, presence }: Extract<ClientFrame, { op: "hello" }>,
  ): Promise<void> {
    this.#byCookie = false;
    this.#deps.heart.remove(this);
    this.#session?.end();
    this.#session = undefined;
    this.#requests = undefined;
    const identity = await this.#deps.credentials.verifier.verify(token);
    this.#inlet.trust();
    if (this.#user !== undefined && this.#user !== identity.user) {
      throw new TidingsError(
        "forbidden",
        "Cannot be somebody else than the cookie says: connect with ?hello=1",
      );
    }
    const query = queryOf(this.#target);
    const asked = topics === undefined ? topicsOf(query) : checkTopics(topics);
    await this.#open(identity, {
      since: parseSince(since ?? query.get("since")),
      topics: asked,
      watch: readWatch(presence?.toString() ?? query.get("presence"), asked),
    });
  }

  async #open(
    identity: Identity,
    { since, topics, watch }: { since: Since; topics: string[]; watch: boolean },
  ): Promise<void> {
    const deps = this.#deps;
    await deps.authorize(identity, topics);
    const transport = "websocket";
    const client = { userAgent: this.#agent };
    const opened = await deps.feed.open(
      { ...opener(identity), topics, since, transport, client, watch },
      this,
    );
    const { session, reset, presence } = opened;
    this.#session = session;
    this.#unknown.delete(this);
    this.#presence = presence;
    if (this.#closed) return session.end();
    this.#user = identity.user;
    this.#requests = new SessionRequests(opened, identity, topics, deps, (fresh) => this.#expireWith(fresh));
    const hello = await welcome(opened, since, identity, deps);
    if (this.#closed) return session.end();
    this.#expireWith(identity);
    deps.heart.add(this);
    this.#send({ op: "welcome", ...hello });
    if (reset !== undefined) this.reset(reset, session.cursor);
    session.open();
  }

  /** Ends when this token does. */
  #expireWith(identity: Identity): void {
    this.#cancelDeadline();
    this.#cancelDeadline = atExpiry(identity, this.#deps.clock, () => this.close(expired()));
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof TidingsError)) this.#deps.failed(error);
      this.close(
        error instanceof TidingsError ? error : new TidingsError("internal", "The error was logged"),
      );
    }
  }

  async #handle(text: string): Promise<void> {
    if (this.#closed) return;
    try {
      const frame = parseFrame(text);
      if (frame.op === "hello" && (this.#session === undefined || this.#byCookie)) {
        return await this.#hello(frame);
      }
      if (this.#requests === undefined) {
        throw new TidingsError(
          "token_required",
          `Cannot ${frame.op}: the first frame must be hello, with a token`,
        );
      }
      const answer = await this.#requests.answer(frame);
      if (!this.#closed) this.#send({ ...answer, ...(frame.ref === undefined ? {} : { ref: frame.ref }) });
    } catch (error) {
      const fatal = this.#session === undefined || !(error instanceof TidingsError) ||
        error.code === "protocol_error";
      if (fatal) throw error;
      const ref = refOf(text);
      this.#send({ op: "error", ...(ref === undefined ? {} : { ref }), problem: toProblem(error) });
    }
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
    this.#inlet.close();
    this.#unknown.delete(this);
    this.#cancelDeadline();
    this.#deps.heart.remove(this);
    this.#session?.end();
  }
}

function helloMissing(): TidingsError {
  return new TidingsError(
    "request_timeout",
    `Cannot wait on: no hello within ${WEBSOCKET_LIMITS.helloTimeout / 1_000} s`,
  );
}

function queryOf(target: string): URLSearchParams {
  return new URL(target, "http://localhost").searchParams;
}

function encode(batch: Batch): Buffer {
  return textFrame(
    `{"op":"items","cursor":"${batch.cursor}","items":[${batch.rows.map((row) => row.json).join(",")}]}`,
  );
}
