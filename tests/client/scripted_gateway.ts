/**
 * A gateway that does what a test tells it to: the protocol over all three transports with a log in memory, and every
 * misbehaviour on demand. What the real gateway does is shown against the real one.
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { claims } from "../../src/client/credentials.ts";
import type { Item } from "../../src/notification.ts";
import type { ClientFrame, InboxCount, ServerFrame } from "../../src/protocol.ts";
import { Lookout } from "../helpers/lookout.ts";
import { type Mark, ScriptedInbox, type State } from "./scripted_inbox.ts";
import { tokenOf } from "./unsigned_token.ts";

interface Session {
  transport: "websocket" | "sse";
  token: string | undefined;
  topics: Set<string>;
  send(frame: ServerFrame): void;
  end(code?: number): void;
}

/** What a gateway can be told to do wrong. */
export interface Misbehaviour {
  /** Answers an upgrade like a proxy that knows none. */
  refuseUpgrade?: boolean;
  /** Answers an upgrade with nothing at all. */
  swallowUpgrade?: boolean;
  /** Takes the upgrade, or the request for events, and says nothing. */
  muteWebsocket?: boolean;
  muteSse?: boolean;
  /** Hears frames and answers none. */
  deaf?: boolean;
  /** Takes requests and answers none. */
  muteHttp?: boolean;
  /** Answers everything with this status and a page of HTML. */
  page?: number;
  /** The problem that every new feed is refused with. */
  refuse?: { status: number; code: string };
  /** Cuts a long-poll that is held for so many milliseconds. */
  cutPollAfter?: number;
}

/** The gateway. */
export class ScriptedGateway {
  readonly log: Item[] = [];
  readonly frames: ClientFrame[] = [];
  readonly requests: { method: string; path: string; token: string | undefined; body: unknown }[] = [];
  readonly sessions = new Set<Session>();
  /** Everything is static to it that is not the protocol. */
  readonly files = new Map<string, { type: string; body: string | Uint8Array }>();
  /** Answers `/token`, as somebody's own server would. */
  mint: () => string = () => tokenOf("ann");
  misbehaviour: Misbehaviour = {};
  heartbeat = 15;
  /** The number of feeds that began, by transport. */
  readonly begun: Record<string, number> = { websocket: 0, sse: 0, longpoll: 0 };
  #polls = new Set<() => void>();
  readonly #inbox = new ScriptedInbox(this.log);
  readonly #lookout = new Lookout();
  readonly #swallowed = new Set<Duplex>();
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });
  url = "";

  constructor() {
    this.#server = createServer((request, response) => {
      this.#http(request, response).catch((error) => {
        // a page that goes away ends what it was asking
        if ((error as { code?: string }).code !== "ECONNRESET") throw error;
      });
    });
    this.#server.on("upgrade", (request, socket, head) => {
      if (this.misbehaviour.refuseUpgrade || this.misbehaviour.page !== undefined) {
        socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
      }
      if (this.misbehaviour.swallowUpgrade) {
        this.#swallowed.add(socket);
        socket.on("close", () => this.#swallowed.delete(socket));
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#websocket(request, ws));
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
    return this;
  }

  async stop(): Promise<void> {
    for (const ws of this.#sockets.clients) ws.terminate();
    for (const socket of this.#swallowed) socket.destroy();
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  get cursor(): string {
    return `s-${this.log.length}`;
  }

  get count(): InboxCount {
    return this.#inbox.count;
  }

  get states(): Map<string, State> {
    return this.#inbox.states;
  }

  /** Sends a notification to whoever is there; the answer is its id. */
  send(item: Partial<Item> = {}): string {
    const id = String(this.log.length + 1);
    const whole = { topic: "all", type: "notification", createdAt: new Date().toISOString(), ...item, id };
    this.log.push(whole);
    for (const session of this.sessions) {
      if (!this.#wants(session.topics, whole.topic)) continue;
      session.send({ op: "items", cursor: this.cursor, items: [whole] });
      if (!whole.transient) session.send({ op: "inbox", ...this.count });
    }
    for (const wake of this.#polls) wake();
    return id;
  }

  /** The same item once more, as overlapping connections bring it. */
  repeat(id: string): void {
    const item = this.log.find((each) => each.id === id)!;
    for (const session of this.sessions) session.send({ op: "items", cursor: this.cursor, items: [item] });
  }

  /** Ends every feed. */
  cut(code = 1012): void {
    for (const session of [...this.sessions]) session.end(code);
    this.sessions.clear();
  }

  /** Forgets the feeds that are open without ending them, as a network does whose other end fell asleep. */
  forget(): void {
    this.sessions.clear();
  }

  tell(frame: ServerFrame): void {
    for (const session of this.sessions) session.send(frame);
  }

  /** Resolves as soon as the condition holds; looked at whenever something happened here. */
  until(condition: () => boolean): Promise<void> {
    return this.#lookout.until(condition);
  }

  #wants(topics: Set<string>, topic: string): boolean {
    return topic === "all" || topic.startsWith("user:") || topics.has(topic);
  }

  #after(since: string | null | undefined, topics: Set<string>): Item[] {
    const from = since === "earliest" ? 0 : Number(/^s-(\d+)$/.exec(since ?? "")?.[1] ?? this.log.length);
    return this.log.slice(from).filter((item) => this.#wants(topics, item.topic));
  }

  #begin(session: Session, since: string | null | undefined): void {
    this.begun[session.transport]! += 1;
    this.sessions.add(session);
    const { sub = "somebody", exp } = claims(session.token ?? "") as { sub?: string; exp?: number };
    session.send({
      op: "welcome",
      session: `session-${this.begun.websocket! + this.begun.sse!}`,
      user: sub,
      cursor: this.cursor,
      topics: ["all", `user:${sub}`, ...session.topics],
      inbox: this.count,
      heartbeat: this.heartbeat,
      ...(exp === undefined ? {} : { expiresAt: new Date(exp * 1000).toISOString() }),
    });
    if (since === "gone") session.send({ op: "reset", reason: "retention", cursor: this.cursor });
    const items = this.#after(since, session.topics);
    if (items.length > 0) session.send({ op: "items", cursor: this.cursor, items });
    this.#lookout.happened();
  }

  #websocket(request: IncomingMessage, ws: WebSocket): void {
    ws.on("error", () => ws.terminate());
    if (this.misbehaviour.muteWebsocket) return;
    const url = new URL(request.url!, this.url);
    const send = (frame: ServerFrame) => ws.send(JSON.stringify(frame));
    const session: Session = {
      transport: "websocket",
      token: undefined,
      topics: new Set(),
      send,
      end: (code) => ws.close(code),
    };
    ws.on("close", () => {
      this.sessions.delete(session);
      this.#lookout.happened();
    });
    ws.on("message", (data) => {
      const frame = JSON.parse(String(data)) as ClientFrame;
      this.frames.push(frame);
      if (!this.misbehaviour.deaf) this.#frame(frame, session, url);
      this.#lookout.happened();
    });
  }

  #frame(frame: ClientFrame, session: Session, url: URL): void {
    const ref = frame.ref === undefined ? {} : { ref: frame.ref };
    const problem = { type: "urn:x", title: "Not allowed", status: 403, code: "forbidden" };
    switch (frame.op) {
      case "hello": {
        const { refuse } = this.misbehaviour;
        if (refuse !== undefined) {
          session.send({ op: "error", problem: { type: "urn:x", title: "No", ...refuse } });
          return session.end(refuse.code === "token_expired" ? 4401 : refuse.status === 401 ? 4501 : 4503);
        }
        session.token = frame.token;
        session.topics = new Set(frame.topics);
        return this.#begin(session, frame.since ?? url.searchParams.get("since"));
      }
      case "subscribe":
        if (frame.topics.some((topic) => topic.startsWith("secret"))) {
          return session.send({ op: "error", ...ref, problem });
        }
        frame.topics.forEach((topic) => session.topics.add(topic));
        return session.send({ op: "ok", ...ref });
      case "unsubscribe":
        frame.topics.forEach((topic) => session.topics.delete(topic));
        return session.send({ op: "ok", ...ref });
      case "publish": {
        const { op: _, ref: __, to, deliverAt: ___, push: ____, ttl: _____, dedupeKey, ...rest } = frame;
        return session.send({ op: "ok", ...ref, ids: this.#publish({ to, dedupeKey, ...rest }) });
      }
      case "mark":
        this.mark(frame);
        return session.send({ op: "ok", ...ref });
      case "auth":
        session.token = frame.token;
        return session.send({ op: "ok", ...ref });
      case "ping":
        return session.send({ op: "pong", ...ref });
    }
  }

  readonly #keys = new Map<string, string[]>();

  #publish({ to, dedupeKey, ...rest }: { to: string | string[]; dedupeKey?: string | undefined }): string[] {
    const known = dedupeKey === undefined ? undefined : this.#keys.get(dedupeKey);
    if (known !== undefined) return known;
    const ids = [to].flat().map((topic) => this.send({ ...rest, topic }));
    if (dedupeKey !== undefined) this.#keys.set(dedupeKey, ids);
    return ids;
  }

  /** Marks, and tells everybody. */
  mark(change: Mark): void {
    this.tell({ op: "inbox", ...this.#inbox.mark(change) });
    this.#lookout.happened();
  }

  async #http(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.url);
    const token = request.headers.authorization?.replace("Bearer ", "");
    const text = await new Response(request as unknown as ReadableStream).text();
    const body = text === "" ? undefined : JSON.parse(text);
    const file = this.files.get(url.pathname);
    response.setHeader("access-control-allow-origin", request.headers.origin ?? "*");
    response.setHeader("access-control-allow-headers", "authorization, content-type");
    response.setHeader("access-control-allow-methods", "GET, POST, PUT, DELETE");
    const json = (status: number, value: unknown, type = "application/json") => {
      response.writeHead(status, { "content-type": type });
      response.end(JSON.stringify(value));
    };
    if (file !== undefined) return void response.writeHead(200, { "content-type": file.type }).end(file.body);
    if (url.pathname === "/token") return json(200, { token: this.mint() });
    if (request.method === "OPTIONS") return void response.writeHead(204).end();
    if (this.misbehaviour.page !== undefined) {
      return void response.writeHead(this.misbehaviour.page, { "content-type": "text/html" }).end(
        "<h1>Hotel WiFi</h1>",
      );
    }
    this.requests.push({ method: request.method!, path: url.pathname, token, body });
    this.#lookout.happened();
    if (this.misbehaviour.muteHttp) return;
    if (url.pathname === "/v1/feed") return await this.#feed(request, response, url, token, json);
    if (url.pathname === "/v1/notifications") return json(201, { ids: this.#publish(body) });
    if (url.pathname === "/v1/inbox/mark") return void (this.mark(body), response.writeHead(204).end());
    if (url.pathname === "/v1/inbox/count") return json(200, this.count);
    if (url.pathname === "/v1/inbox") return json(200, this.#inbox.page(url.searchParams));
    json(
      404,
      { type: "urn:x", title: "Not here", status: 404, code: "not_found" },
      "application/problem+json",
    );
  }

  async #feed(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    token: string | undefined,
    json: (status: number, value: unknown, type?: string) => void,
  ): Promise<void> {
    const { refuse, muteSse, cutPollAfter } = this.misbehaviour;
    const topics = new Set((url.searchParams.get("topics") ?? "").split(",").filter((topic) => topic !== ""));
    const since = url.searchParams.get("since");
    const forbidden = [...topics].some((topic) => topic.startsWith("secret"));
    if (refuse !== undefined || forbidden) {
      const { status, code } = refuse ?? { status: 403, code: "forbidden" };
      return json(status, { type: "urn:x", title: "No", status, code }, "application/problem+json");
    }
    if (request.headers.accept?.includes("text/event-stream")) {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      if (muteSse) return;
      const send = (frame: ServerFrame) => {
        const { op, ...rest } = frame;
        if (frame.op === "items") {
          for (const item of frame.items) {
            response.write(`event: ${item.type}\nid: ${frame.cursor}\ndata: ${JSON.stringify(item)}\n\n`);
          }
        } else if (frame.op === "cursor") response.write(`id: ${frame.cursor}\n\n`);
        else response.write(`event: tidings.${op}\ndata: ${JSON.stringify(rest)}\n\n`);
      };
      const session: Session = { transport: "sse", token, topics, send, end: () => response.destroy() };
      response.on("close", () => {
        this.sessions.delete(session);
        this.#lookout.happened();
      });
      return this.#begin(session, since);
    }
    const wait = Number(url.searchParams.get("wait") ?? 25);
    if (since === "gone") {
      const problem = {
        type: "urn:x",
        title: "Gone",
        status: 409,
        code: "cursor_reset",
        cursor: this.cursor,
      };
      return json(409, problem, "application/problem+json");
    }
    this.begun.longpoll! += 1;
    this.#lookout.happened();
    if (wait > 0 && this.#after(since, topics).length === 0) {
      const held = await new Promise<boolean>((resolve) => {
        const wake = () => resolve(true);
        this.#polls.add(wake);
        const timer = setTimeout(wake, wait * 1000);
        const cut = cutPollAfter === undefined
          ? undefined
          : setTimeout(() => response.destroy(), cutPollAfter);
        response.on("close", () => {
          clearTimeout(timer);
          clearTimeout(cut);
          this.#polls.delete(wake);
          resolve(false);
        });
      });
      if (!held) return;
    }
    json(200, { cursor: this.cursor, items: this.#after(since, topics), inbox: this.count });
  }
}
