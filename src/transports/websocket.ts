/**
 * The feed over WebSocket, subprotocol `tidings.v1`.
 *
 * Invariants:
 * - Frames that many get are made once and written straight to each socket; `ws` reads, answers pings and closes.
 * - Before it has said who it is, a client may send one `hello` within 5 s, and nothing else; what it sends is bounded by the
 *   {@link Inlet}.
 * - A client that answers no ping and reads nothing for three heartbeats is cut.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type ServerOptions, type WebSocket, WebSocketServer } from "ws";
import { headOf, readCredentials } from "../auth/credentials.ts";
import type { Identity } from "../auth/identity.ts";
import type { RequestHead } from "../auth/origin.ts";
import { TidingsError, toProblem } from "../errors.ts";
import type { Reconnectable, Since } from "../feed/feed.ts";
import { checkWatchable, NOT_PRESENT, type PresenceHold, presenceTopic } from "../feed/presence.ts";
import { PUBLISH_RATE, TokenBucket } from "../feed/rate.ts";
import type { InboxEvent, Session, Sink } from "../feed/session.ts";
import { ALL, userTopic } from "../feed/topic.ts";
import type { Batch } from "../log/batch.ts";
import { type ClientFrame, CLOSE, type ResetReason, type ServerFrame, SUBPROTOCOL } from "../protocol.ts";
import type { Service } from "../service.ts";
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
  invalid,
  MAX_TOPICS,
  opener,
  parseSince,
  readWatch,
  topicsOf,
  type TransportDeps,
  watchOf,
  welcome,
} from "./negotiate.ts";

/** Bounds on a connection. */
export const WEBSOCKET_LIMITS = {
  /** Milliseconds to say hello. */
  helloTimeout: 5_000,
  /** Bytes of a message. */
  message: 512 * 1024,
  /** Milliseconds for the peer to answer a close. */
  closeTimeout: 5_000,
} as const;

/** Serves upgrades to `tidings.v1`. Its `stop` ends those without a session; the others end with theirs. */
export interface WebSocketTransport extends Service {
  upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/** The transport. */
export function createWebSocketTransport(
  deps: TransportDeps & { heart: Heart; failed(error: unknown): void },
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
  const unknown = new Set<Connection>();
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
        unknown.add(new Connection(ws, socket, request, deps, unknown));
      });
    },
  };
}

class Connection implements Sink, Reconnectable {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #deps: TransportDeps & { heart: Heart; failed(error: unknown): void };
  /** What was asked for, path and query. */
  readonly #target: string;
  readonly #agent: string | undefined;
  /** What it may publish. */
  readonly #talk: TokenBucket;
  #identity: Identity | undefined;
  #session: Session | undefined;
  #presence: PresenceHold = NOT_PRESENT;
  #cancelDeadline: () => void = () => undefined;
  /** Who it is was told by a cookie, which a browser sends unasked: a `hello` may still say it better. */
  #byCookie = false;
  /** The topics that the client itself named. */
  readonly #asked = new Set<string>();
  readonly #inlet: Inlet;
  readonly #unknown: Set<Connection>;
  #beats = 0;
  #heard = 0;
  #read = 0;
  #closed = false;

  constructor(
    ws: WebSocket,
    socket: Socket,
    request: IncomingMessage,
    deps: TransportDeps & { heart: Heart; failed(error: unknown): void },
    /** Those without a session: it leaves them when it has one, or is gone. */
    unknown: Set<Connection>,
  ) {
    this.#unknown = unknown;
    this.#ws = ws;
    this.#socket = socket;
    this.#deps = deps;
    this.#agent = request.headers["user-agent"];
    this.#talk = new TokenBucket(PUBLISH_RATE, deps.clock.now());
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
    this.#write(batch.encoded(Connection, encode));
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
    this.#asked.clear();
    const identity = await this.#deps.credentials.verifier.verify(token);
    this.#inlet.trust();
    if (this.#identity !== undefined && this.#identity.user !== identity.user) {
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
    const client = { transport: "websocket", userAgent: this.#agent };
    const opened = await deps.feed.open({ ...opener(identity), topics, since, client, watch }, this);
    const { session, reset, presence } = opened;
    this.#session = session;
    this.#unknown.delete(this);
    this.#presence = presence;
    if (this.#closed) return session.end();
    this.#identity = identity;
    for (const topic of topics) this.#asked.add(topic);
    session.onWithdraw((withdrawn) => withdrawn.forEach((topic) => this.#asked.delete(topic)));
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
      if (this.#session === undefined || this.#identity === undefined) {
        throw new TidingsError(
          "token_required",
          `Cannot ${frame.op}: the first frame must be hello, with a token`,
        );
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
        await authorize(fresh, [...this.#asked]);
        this.#renew(fresh);
        session.issuedAt = fresh.issuedAt;
        return { op: "ok" };
      }
      case "subscribe": {
        const topics = checkTopics(frame.topics);
        await authorize(identity, topics);
        const since = parseSince(frame.since);
        if (this.#asked.union(new Set(topics)).size > MAX_TOPICS) {
          throw invalid("topics", `expected at most ${MAX_TOPICS} topics in one session`);
        }
        const watches = topics.map((topic) => ({ topic: presenceTopic(topic) }));
        if (frame.presence === true) checkWatchable(topics);
        for (const topic of topics) this.#asked.add(topic);
        await this.#subscribe(session, topics.filter((topic) => !session.has(topic)), since);
        // joins and leaves from here on: what was is asked for with GET …/presence
        if (frame.presence === true) session.subscribe(watches);
        else session.unsubscribe(watches.map(({ topic }) => topic));
        for (const topic of topics) this.#presence.join(topic, frame.presence === true);
        if (frame.presence === true) await this.#presence.told();
        return { op: "ok" };
      }
      case "unsubscribe": {
        const topics = checkTopics(frame.topics);
        const always = topics.find((topic) => topic === ALL || topic === userTopic(identity.user));
        if (always !== undefined) throw invalid("topics", `"${always}" is always part of the feed`);
        session.unsubscribe([...topics, ...topics.map(presenceTopic)]);
        for (const topic of topics) {
          this.#asked.delete(topic);
          this.#presence.part(topic);
        }
        return { op: "ok" };
      }
      case "publish": {
        const { op: _op, ref: _ref, ...publication } = frame;
        this.#pace();
        return { op: "ok", ids: await actions.publish(identity, publication) };
      }
      case "mark": {
        const { op: _op, ref: _ref, ...mark } = frame;
        await actions.mark(identity, mark);
        return { op: "ok" };
      }
      case "ack":
        await actions.acknowledge(identity, session, frame.cursor, frame.visible === true);
        return { op: "ok" };
      case "ping":
        return { op: "pong" };
    }
  }

  #pace(): void {
    const wait = this.#talk.take(1, this.#deps.clock.now());
    if (wait === 0) return;
    throw new TidingsError("too_many_requests", "Cannot publish so fast: wait, and send less", {
      retryAfter: Math.ceil(wait / 1_000),
    });
  }

  async #subscribe(session: Session, topics: string[], since: Since): Promise<void> {
    if (topics.length === 0) return;
    const start = await this.#deps.feed.locate(since);
    if (typeof start === "string" || start.epoch !== session.position.epoch) {
      session.subscribe(topics.map((topic) => ({ topic })));
      if (since.at === "now") return;
      throw new TidingsError("cursor_reset", "Cannot go back to this cursor: the topics begin here instead", {
        cursor: session.cursor,
        reason: typeof start === "string" ? start : "history",
      });
    }
    // the session may be behind that: what was committed before the question is not news
    if (since.at === "now") session.subscribe(topics.map((topic) => ({ topic, since: start })));
    else await session.backfill(topics, start);
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
