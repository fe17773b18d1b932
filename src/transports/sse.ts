/**
 * The feed as server-sent events (WHATWG HTML, section 9.2), written straight to the response so that its buffer can be
 * seen. Each event's `id` is the cursor after it; between events an `id` alone moves `Last-Event-ID`.
 * @module
 */
import type { ServerResponse } from "node:http";
import type { Identity } from "../auth/identity.ts";
import { type TidingsError, toProblem } from "../errors.ts";
import type { Reconnectable } from "../feed/feed.ts";
import type { Session } from "../feed/session.ts";
import type { InboxEvent, Sink } from "../feed/sink.ts";
import type { Batch } from "../log/batch.ts";
import { EVENTS, type ResetReason } from "../protocol.ts";
import { WRITE_UNIT } from "../stall_guard.ts";
import type { Heart } from "./heart.ts";
import {
  atExpiry,
  BUFFER,
  expired,
  opener,
  parseSince,
  topicsOf,
  type TransportDeps,
  watchOf,
  welcome,
} from "./negotiate.ts";

/** A stream's request. */
export interface EventsRequest {
  query: URLSearchParams;
  identity: Identity;
  lastEventId: string | undefined;
  userAgent: string | undefined;
  response: ServerResponse;
  /** Headers that the middleware added (CORS, request id). */
  headers: Headers;
}

/** Milliseconds after which a client is asked to come back by itself. */
const RETRY = 2_000;

/** Opens the stream and returns when it has begun; it ends by itself. Throws only before the first byte. */
export async function serveEvents(request: EventsRequest, deps: TransportDeps, heart: Heart): Promise<void> {
  const { query, identity, response } = request;
  const topics = topicsOf(query);
  const watch = watchOf(query, topics);
  const since = parseSince(
    request.lastEventId ?? query.get("since"),
    request.lastEventId === undefined ? "since" : "Last-Event-ID",
  );
  await deps.authorize(identity, topics);
  const stream = new EventStream(response);
  const { userAgent } = request;
  const opened = await deps.feed.open(
    { ...opener(identity), topics, since, transport: "sse", client: { userAgent }, watch },
    stream,
  );
  const { session, reset } = opened;
  try {
    const hello = await welcome(opened, since, identity, deps);
    if (response.destroyed) return session.end();
    for (const [name, value] of request.headers) response.setHeader(name, value);
    // a stream ends when its gateway does or its token: the next request had better take another connection
    response.shouldKeepAlive = false;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
    });
    const cancelExpiry = atExpiry(identity, deps.clock, () => session.close(expired()));
    stream.begin(
      session,
      heart,
      cancelExpiry,
      `retry: ${RETRY}\nid: ${hello.cursor}\nevent: ${EVENTS.welcome}\ndata: ${JSON.stringify(hello)}\n\n`,
    );
    if (reset !== undefined) stream.reset(reset, session.cursor);
    session.open();
  } catch (error) {
    session.end();
    throw error;
  }
}

/** One response that stays open. */
class EventStream implements Sink, Reconnectable {
  readonly #response: ServerResponse;
  #session: Session | undefined;
  /** What happened before it began comes after the welcome. */
  #held: (() => void)[] = [];

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  begin(session: Session, heart: Heart, cancelExpiry: () => void, welcome: string): void {
    this.#session = session;
    heart.add(this);
    this.#response.on("drain", () => session.drained());
    this.#response.once("close", () => session.end());
    session.onEnd(() => {
      heart.remove(this);
      cancelExpiry();
    });
    this.#write(Buffer.from(welcome));
    for (const run of this.#held.splice(0)) run();
  }

  items(batch: Batch): boolean {
    for (const piece of batch.encoded(EventStream, encode)) this.#write(piece);
    return this.#response.writableLength < BUFFER;
  }

  inbox(event: InboxEvent): boolean {
    this.#tell(`event: ${EVENTS.inbox}\ndata: ${JSON.stringify(event)}\n\n`);
    return this.#response.writableLength < BUFFER;
  }

  reset(reason: ResetReason, cursor: string): void {
    if (this.#session === undefined) return void this.#held.push(() => this.reset(reason, cursor));
    this.#tell(`id: ${cursor}\nevent: ${EVENTS.reset}\ndata: ${JSON.stringify({ reason, cursor })}\n\n`);
  }

  close(error: TidingsError): void {
    this.#tell(`event: ${EVENTS.error}\ndata: ${JSON.stringify(toProblem(error))}\n\n`);
    this.#response.end();
  }

  reconnect(): void {
    const session = this.#session;
    if (session === undefined) return void this.#held.push(() => this.reconnect());
    this.#tell(`id: ${session.cursor}\nevent: ${EVENTS.reconnect}\ndata: {"after":0}\n\n`);
    session.end();
    this.#response.end();
  }

  /** A block of `id` alone sets Last-Event-ID and makes no event. */
  beat(): void {
    if (this.#session !== undefined && this.#response.writableLength < BUFFER) {
      this.#tell(`id: ${this.#session.cursor}\n\n`);
    }
  }

  #tell(text: string): void {
    this.#write(Buffer.from(text));
  }

  #write(bytes: Buffer): void {
    if (!this.#response.destroyed && !this.#response.writableEnded) this.#response.write(bytes);
  }
}

/** In small pieces, so that it shows who still reads. */
function encode(batch: Batch): Buffer[] {
  let text = "";
  for (const [index, row] of batch.rows.entries()) {
    text += `event: ${row.type}\nid: ${batch.cursorAt(index)}\ndata: ${row.json}\n\n`;
  }
  const bytes = Buffer.from(text);
  const pieces: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += WRITE_UNIT) {
    pieces.push(bytes.subarray(start, start + WRITE_UNIT));
  }
  return pieces;
}
