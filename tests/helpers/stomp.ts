/**
 * STOMP clients of other people's making, and one that says exactly what a test wants it to say.
 * @module
 */
import assert from "node:assert/strict";
import { Client, type IMessage, type StompConfig } from "@stomp/stompjs";
import { WebSocket } from "ws";
import { STOMP_LIMITS, StompParser, type StompVersion } from "../../src/transports/stomp_frame.ts";

/** Things that come one after the other, to be waited for. */
export class Inbox<T> {
  readonly all: T[] = [];
  #next = 0;
  #waiting: ((value: T) => void) | undefined;

  push(value: T): void {
    this.all.push(value);
    if (this.#waiting === undefined) return;
    const resolve = this.#waiting;
    this.#waiting = undefined;
    this.#next++;
    resolve(value);
  }

  /** The next one that was not taken yet. */
  next(): Promise<T> {
    const value = this.all[this.#next];
    if (this.#next < this.all.length) {
      this.#next++;
      return Promise.resolve(value as T);
    }
    return new Promise((resolve) => this.#waiting = resolve);
  }

  /** The next `count`. */
  async take(count: number): Promise<T[]> {
    const taken: T[] = [];
    while (taken.length < count) taken.push(await this.next());
    return taken;
  }

  /** How many came that nobody took. */
  get left(): number {
    return this.all.length - this.#next;
  }
}

/** The address of a gateway's STOMP endpoint. */
export function stompUrl(url: string, path = "/ws"): string {
  return url.replace(/^http/, "ws") + path;
}

/** How `@stomp/stompjs` connects once, with this token, and without heart-beats: what happens is the test's doing. */
export function onceWith(token: string | undefined): StompConfig {
  return {
    reconnectDelay: 0,
    heartbeatIncoming: 0,
    heartbeatOutgoing: 0,
    ...(token === undefined ? {} : { connectHeaders: { Authorization: `Bearer ${token}` } }),
  };
}

/** A connected client of `@stomp/stompjs`, and what came to it. */
export interface Connected extends AsyncDisposable {
  client: Client;
  /** Bodies that `subscribe` delivered. */
  messages: Inbox<IMessage>;
  errors: Inbox<string>;
  closed: Inbox<number>;
  /** Subscribes, and resolves when the gateway said so. */
  subscribe(destination: string, headers?: Record<string, string>): Promise<void>;
  /** Publishes, and resolves when the gateway confirmed that it is committed. */
  publish(destination: string, body: string, headers?: Record<string, string>): Promise<void>;
}

/** Connects `@stomp/stompjs` as it comes. */
export async function connectStomp(
  url: string,
  token: string | undefined,
  config: StompConfig = {},
): Promise<Connected> {
  const messages = new Inbox<IMessage>();
  const errors = new Inbox<string>();
  const closed = new Inbox<number>();
  let receipts = 0;
  const client = new Client({
    ...onceWith(token),
    brokerURL: url,
    onStompError: (frame) => errors.push(frame.headers["message"] ?? ""),
    onWebSocketClose: (event) => closed.push(event.code),
    ...config,
  });
  const broken = new Set<(error: Error) => void>();
  const breakAll = (error: Error) => broken.forEach((reject) => reject(error));
  const { onStompError, onWebSocketClose } = client;
  client.onStompError = (frame) => {
    onStompError(frame);
    breakAll(new Error(frame.headers["message"]));
  };
  client.onWebSocketClose = (event) => {
    onWebSocketClose(event);
    breakAll(new Error(`closed with ${event.code}`));
  };
  const connected = new Promise<void>((resolve, reject) => {
    broken.add(reject);
    client.onConnect = (frame) => {
      config.onConnect?.(frame);
      resolve();
    };
  });
  client.activate();
  await connected;
  const confirmed = (run: (receipt: string) => void) =>
    new Promise<void>((resolve, reject) => {
      const receipt = `r${++receipts}`;
      broken.add(reject);
      client.watchForReceipt(receipt, () => resolve());
      run(receipt);
    });
  return {
    client,
    messages,
    errors,
    closed,
    subscribe: (destination, headers = {}) =>
      confirmed((receipt) => {
        client.subscribe(destination, (message) => messages.push(message), { ...headers, receipt });
      }),
    publish: (destination, body, headers = {}) =>
      confirmed((receipt) => client.publish({ destination, body, headers: { ...headers, receipt } })),
    async [Symbol.asyncDispose]() {
      await client.deactivate({ force: true });
    },
  };
}

/** A frame as it was read. */
export interface ReadFrame {
  command: string;
  headers: Record<string, string>;
  body: string;
}

/** A bare WebSocket that speaks STOMP as the test writes it. */
export class RawStomp implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly messages = new Inbox<ReadFrame>();
  /** Frames that are no MESSAGE. */
  readonly frames = new Inbox<ReadFrame>();
  readonly beats = new Inbox<void>();
  readonly closed = new Inbox<{ code: number; reason: string }>();
  readonly parser = new StompParser({ ...STOMP_LIMITS, bodyBytes: 1024 * 1024 });

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Uint8Array) => {
      this.parser.push(data, {
        frame: ({ command, headers, body }) => {
          const frames = command === "MESSAGE" ? this.messages : this.frames;
          frames.push({ command, headers: { ...headers }, body: new TextDecoder().decode(body) });
        },
        beat: () => this.beats.push(),
      });
    });
    socket.on("close", (code, reason) => this.closed.push({ code, reason: reason.toString() }));
    // what follows is "close"
    socket.on("error", () => {});
  }

  /** Opens the socket; says nothing. With `autoPong` false it does not even answer pings. */
  static async open(
    url: string,
    protocols: string[] = ["v12.stomp"],
    headers: Record<string, string> = {},
    autoPong = true,
  ) {
    const socket = new WebSocket(url, protocols, { headers, autoPong });
    const raw = new RawStomp(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    return raw;
  }

  /** Opens the socket and connects. */
  static async connect(
    url: string,
    token: string,
    version: StompVersion = "1.2",
    headers: Record<string, string> = {},
  ) {
    const raw = await RawStomp.open(url, [`v${version.replace(".", "")}.stomp`]);
    raw.parser.version = version;
    raw.send("CONNECT", {
      "accept-version": version,
      host: "tidings",
      Authorization: `Bearer ${token}`,
      ...headers,
    });
    const connected = await raw.frames.next();
    assert.equal(connected.command, "CONNECTED", `${connected.headers["message"]}`);
    return raw;
  }

  /** One frame, its headers as they are. */
  send(command: string, headers: Record<string, string> = {}, body = ""): void {
    const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join("");
    this.socket.send(`${command}\n${lines}\n${body}\0`);
  }

  /** Sends a frame with a receipt, and resolves when it is confirmed. */
  async confirm(command: string, headers: Record<string, string> = {}, body = ""): Promise<void> {
    this.send(command, { ...headers, receipt: "confirm" }, body);
    const frame = await this.frames.next();
    assert.equal(frame.command, "RECEIPT", `${frame.headers["message"]}`);
  }

  async [Symbol.asyncDispose]() {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    const closed = new Promise((resolve) => this.socket.once("close", resolve));
    this.socket.terminate();
    await closed;
  }
}
