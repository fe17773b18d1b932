/**
 * The HTTP server: `node:http` in front of a fetch handler, with every bound that a public port needs. It knows nothing of
 * what is served.
 *
 * Invariants: no connection stays open without progress (headers, body and answers all have a deadline); an upgrade other than
 * to WebSocket is answered as a plain request; an answer in one large piece is written in small ones, so that the stall guard
 * sees who still reads.
 * @module
 */
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";
import { getLogger } from "@logtape/logtape";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, Server as NetServer, type Socket } from "node:net";
import { pipeline, Readable } from "node:stream";
import { type Clock, systemClock } from "./clock.ts";
import { type ErrorCode, StartError, TidingsError, toProblem } from "./errors.ts";
import type { Service } from "./service.ts";
import { StallGuard, WRITE_UNIT } from "./stall_guard.ts";

/** What a server believes of the outside. Times in milliseconds. */
export interface ServerLimits {
  /** Bytes of a request line and its headers. */
  headerBytes: number;
  /** Until all headers of a request are there, from the connection's or the last answer's end. */
  headersTimeout: number;
  /** Until a whole request is there. */
  requestTimeout: number;
  /** Between two requests of one connection; more than the 60 s that proxies keep theirs. */
  keepAliveTimeout: number;
  /** Requests on one connection before it is closed with its last answer. */
  requestsPerSocket: number;
  /** Open connections of all kinds; one more is closed at once. */
  connections: number;
  /** Without a byte leaving, while some wait. */
  stallTimeout: number;
  /** Between two looks at deadlines. */
  sweepInterval: number;
  /** When stopping: how long idle connections are kept for a request that is already on its way. */
  idleGrace: number;
  /** When stopping: until what is still open is cut. */
  stopTimeout: number;
}

/** The defaults of {@link ServerLimits}. */
export const SERVER_LIMITS: Readonly<ServerLimits> = {
  headerBytes: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 75_000,
  requestsPerSocket: 10_000,
  connections: 50_000,
  stallTimeout: 30_000,
  sweepInterval: 1_000,
  idleGrace: 1_000,
  stopTimeout: 10_000,
};

/** What runs behind the server. */
export interface ServerOptions {
  host: string;
  /** 0: any free port. */
  port: number;
  /** Answers requests, as Hono's `app.fetch` does. */
  fetch: (request: Request, bindings: HttpBindings) => Response | Promise<Response>;
  /** Takes over the socket of a WebSocket upgrade. Without it, upgrades are answered as plain requests. */
  onUpgrade?: (request: IncomingMessage, socket: Socket, head: Buffer) => void;
  limits?: Partial<ServerLimits>;
  clock?: Clock;
}

/** A server and what others need of it. */
export interface HttpServer extends Service {
  /** The port it listens on, once started. */
  readonly port: number;
  /** Where it can be reached, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Open connections of all kinds. */
  readonly connections: number;
  /** Registers what to do just before a socket is cut because its peer reads nothing. */
  onStall(socket: Socket, run: (() => void) | undefined): void;
  /**
   * The first half of `stop()`: takes no new connection and ends kept ones with their next answer. Those with an answer under
   * way, and upgraded ones, stay.
   */
  stopAccepting(): void;
}

/** Makes a server; it listens once started. */
export function createHttpServer(options: ServerOptions): HttpServer {
  return new NodeHttpServer(options);
}

/** One open connection. */
interface Connection {
  /** What it still waits for. */
  answers: Set<ServerResponse>;
  /** How many requests it has sent. */
  requests: number;
}

class NodeHttpServer implements HttpServer {
  readonly name = "HTTP server";
  readonly #options: ServerOptions;
  readonly #limits: ServerLimits;
  readonly #clock: Clock;
  readonly #guard: StallGuard;
  readonly #sockets = new Map<Socket, Connection>();
  #server: Server | undefined;
  /** Called when the last connection is gone while stopping. */
  #emptied: (() => void) | undefined;
  #cancelGrace: (() => void) | undefined;
  #draining = false;
  /** Connections refused since it was last said, and when that was. */
  #dropped = 0;
  #droppedAt = 0;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#limits = { ...SERVER_LIMITS, ...options.limits };
    this.#clock = options.clock ?? systemClock;
    this.#guard = new StallGuard({
      timeout: this.#limits.stallTimeout,
      interval: this.#limits.sweepInterval,
      clock: this.#clock,
    });
  }

  get port(): number {
    return (this.#server?.address() as AddressInfo | null | undefined)?.port ?? this.#options.port;
  }

  get url(): string {
    const { host } = this.#options;
    return `http://${host.includes(":") ? `[${host}]` : host}:${this.port}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  onStall(socket: Socket, run: (() => void) | undefined): void {
    this.#guard.onStall(socket, run);
  }

  async start(): Promise<void> {
    const server = this.#create();
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      const refuse = (error: NodeJS.ErrnoException) => reject(cannotListen(error, this.#options));
      server.once("error", refuse);
      server.listen(this.#options.port, this.#options.host, () => {
        server.off("error", refuse);
        server.on("error", (error) => log().error("The HTTP server reports: {error}", { error }));
        resolve();
      });
    });
    await this.#guard.start();
  }

  stopAccepting(): void {
    if (this.#draining || this.#server?.listening !== true) return;
    this.#draining = true;
    // http's own close() would cut idle connections at once, and with them requests that are already on their way
    NetServer.prototype.close.call(this.#server);
    for (const answer of [...this.#sockets.values()].flatMap(({ answers }) => [...answers])) {
      if (!answer.headersSent) answer.shouldKeepAlive = false;
    }
    this.#cancelGrace = this.#clock.after(this.#limits.idleGrace, () => {
      this.#cancelGrace = undefined;
      this.#closeIdle();
    });
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.stopAccepting();
    const waiting = new AbortController();
    const limit = this.#clock.sleep(this.#limits.stopTimeout, waiting.signal).then(
      () => {
        if (this.#sockets.size === 0) return;
        log().warn("Cut {count} connections that were still open at the end of the stop", {
          count: this.#sockets.size,
        });
        for (const socket of this.#sockets.keys()) socket.destroy();
      },
      () => undefined, // all were closed before the limit
    );
    if (this.#sockets.size > 0) await new Promise<void>((resolve) => this.#emptied = resolve);
    this.#emptied = undefined;
    waiting.abort();
    await limit;
    this.#cancelGrace?.();
    this.#cancelGrace = undefined;
    // it listens no more: this only ends http's own timer
    server.close(() => undefined);
    await this.#guard.stop();
    this.#server = undefined;
  }

  #create(): Server {
    const limits = this.#limits;
    const { onUpgrade } = this.#options;
    const server = createAdaptorServer({
      fetch: (request, bindings) => this.#options.fetch(request, bindings as HttpBindings),
      hostname: this.#options.host,
      serverOptions: {
        maxHeaderSize: limits.headerBytes,
        headersTimeout: limits.headersTimeout,
        requestTimeout: limits.requestTimeout,
        keepAliveTimeout: limits.keepAliveTimeout,
        connectionsCheckingInterval: limits.sweepInterval,
        shouldUpgradeCallback: (request) => onUpgrade !== undefined && isWebSocket(request),
      },
      createServer: ((serverOptions: object, listener: (req: IncomingMessage, res: ServerResponse) => void) =>
        createServer(serverOptions, (request, response) => {
          this.#admit(request.socket, response);
          listener(request, response);
        })) as typeof createServer,
    }) as Server;
    server.maxConnections = limits.connections;
    server.on("connection", (socket: Socket) => this.#watch(socket));
    server.on(
      "drop",
      () => log().warn("Refused a connection: {count} are open", { count: this.connections }),
    );
    server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => this.#refuse(error, socket));
    if (onUpgrade !== undefined) {
      server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
        onUpgrade(request, socket, head);
      });
    }
    return server;
  }

  /** Says so once in a while: a flood of connections is not to be one of lines as well. */
  #refused(): void {
    this.#dropped++;
    const now = this.#clock.now();
    if (now - this.#droppedAt < 10_000) return;
    log().warn("Refused {dropped} connections: {open} are open, which is the limit", {
      dropped: this.#dropped,
      open: this.connections,
    });
    this.#dropped = 0;
    this.#droppedAt = now;
  }

  #watch(socket: Socket): void {
    this.#sockets.set(socket, { answers: new Set(), requests: 0 });
    this.#guard.watch(socket);
    socket.on("error", (error) => log().debug("A connection broke: {error}", { error }));
    socket.once("close", () => {
      this.#sockets.delete(socket);
      this.#guard.forget(socket);
      if (this.#sockets.size === 0) this.#emptied?.();
    });
  }

  #admit(socket: Socket, response: ServerResponse): void {
    const connection = this.#sockets.get(socket);
    if (connection === undefined) return;
    connection.answers.add(response);
    connection.requests++;
    // http's own maxRequestsPerSocket announces the end and then keeps the connection
    if (this.#draining || connection.requests >= this.#limits.requestsPerSocket) {
      response.shouldKeepAlive = false;
    }
    splitLargeEnd(response);
    response.once("close", () => {
      connection.answers.delete(response);
      if (this.#draining && this.#cancelGrace === undefined) this.#closeIdle();
    });
  }

  /** Closes connections that are between two requests, or never sent any. */
  #closeIdle(): void {
    this.#server?.closeIdleConnections();
    for (const socket of this.#sockets.keys()) {
      if (socket.bytesRead === 0) socket.destroy();
    }
  }

  /** Answers what is not HTTP, or not in time, when nothing else is being answered on that connection. */
  #refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    const busy = [...this.#sockets.get(socket)?.answers ?? []].some((answer) => answer.headersSent);
    if (!socket.writable || busy || error.code === "ECONNRESET") {
      socket.destroy();
      return;
    }
    socket.end(rawProblem(...refusal(error)));
    // the peer may go on sending, and nobody reads it
    socket.destroySoon();
  }
}

function log() {
  return getLogger(["tidings", "http"]);
}

function isWebSocket(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === "websocket";
}

/** One line that says what to do. */
function cannotListen(error: NodeJS.ErrnoException, { host, port }: ServerOptions): StartError {
  const why: Record<string, string> = {
    EADDRINUSE: "the port is in use; stop what listens there, or set PORT to another",
    EACCES: "this user may not open that port; set PORT to one above 1023",
    EADDRNOTAVAIL: "this machine has no such address; set HOST to one it has, or to 0.0.0.0",
    EINVAL: "this machine has no such address; set HOST to one it has, or to 0.0.0.0",
    ENOTFOUND: "the host name has no address; set HOST to an address of this machine",
  };
  const reason = why[error.code ?? ""] ?? error.message;
  return new StartError(`Cannot listen on ${host} port ${port}: ${reason}`, { cause: error });
}

function refusal(error: NodeJS.ErrnoException): [number, string, ErrorCode, string] {
  switch (error.code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [
        408,
        "Request Timeout",
        "request_timeout",
        "Cannot read the request: it did not arrive in time",
      ];
    case "HPE_HEADER_OVERFLOW":
      return [
        431,
        "Request Header Fields Too Large",
        "too_large",
        "Cannot read the request: headers too large",
      ];
    default:
      return [400, "Bad Request", "invalid_request", "Cannot read the request: it is not valid HTTP/1.1"];
  }
}

function rawProblem(status: number, reason: string, code: ErrorCode, detail: string): string {
  const body = JSON.stringify({ ...toProblem(new TidingsError(code, detail)), status });
  return `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** Lets `end(body)` of a large body write it piece by piece, each when the one before has gone. */
function splitLargeEnd(response: ServerResponse): void {
  const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
  response.end = ((...args: unknown[]) => {
    const [chunk] = args;
    if ((typeof chunk !== "string" && !(chunk instanceof Uint8Array)) || chunk.length <= WRITE_UNIT) {
      return end(...args);
    }
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    response.end = end as typeof response.end;
    pipeline(Readable.from(pieces(bytes), { objectMode: false }), response, (error) => {
      if (error) log().debug("An answer was not read to its end: {error}", { error });
    });
    return response;
  }) as typeof response.end;
}

function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += WRITE_UNIT) yield bytes.subarray(at, at + WRITE_UNIT);
}
