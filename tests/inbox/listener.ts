/**
 * A person's tab: a WebSocket client that keeps what it was told and waits for what is to come.
 * @module
 */
import { WebSocket } from "ws";
import type { Item } from "../../src/notification.ts";
import type { ClientFrame, InboxChange, InboxCount, ServerFrame } from "../../src/protocol.ts";

/** What came, in order. */
export type Heard = { item: Item } | { inbox: InboxCount & { changes?: InboxChange[] } };

/** An open tab. */
export class Listener implements AsyncDisposable {
  readonly heard: Heard[] = [];
  cursor = "";
  count: InboxCount | undefined;
  topics: string[] = [];
  /** The reasons of resets. */
  readonly resets: string[] = [];
  /** The close code, once it is closed. */
  closed: number | undefined;
  readonly #socket: WebSocket;
  readonly #waiting = new Set<() => void>();
  readonly #answers = new Map<string, PromiseWithResolvers<ServerFrame>>();
  #ref = 0;

  /** Opens a tab and waits for its welcome. */
  static async open(url: string, token: string, query = ""): Promise<Listener> {
    const tab = new Listener(url, token, query);
    await tab.until(() => tab.cursor !== "" || tab.closed !== undefined);
    return tab;
  }

  constructor(url: string, token: string, query: string) {
    this.#socket = new WebSocket(`${url.replace("http", "ws")}/v1/feed${query}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    this.#socket.on("message", (data: unknown) => this.#take(JSON.parse(String(data))));
    this.#socket.on("close", (code: number) => {
      this.closed = code;
      for (const { reject } of this.#answers.values()) reject(new Error(`Closed with ${code}, not answered`));
      this.#answers.clear();
      this.#wake();
    });
    this.#socket.on("error", () => this.#wake());
  }

  get items(): Item[] {
    return this.heard.flatMap((one) => "item" in one ? [one.item] : []);
  }

  get events(): (InboxCount & { changes?: InboxChange[] })[] {
    return this.heard.flatMap((one) => "inbox" in one ? [one.inbox] : []);
  }

  /** Resolves when the condition holds, which is looked at after each frame. */
  async until(condition: () => boolean, limit = 10_000): Promise<void> {
    const late = AbortSignal.timeout(limit);
    while (!condition()) {
      if (late.aborted) {
        throw new Error(`It did not come: ${condition}; heard ${JSON.stringify(this.heard.slice(-5))}`);
      }
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          late.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        late.addEventListener("abort", wake);
      });
    }
  }

  /** Sends a frame and resolves with its answer; rejects when the tab is closed instead. */
  ask(frame: ClientFrame): Promise<ServerFrame> {
    if (this.closed !== undefined) return Promise.reject(new Error(`Closed with ${this.closed}`));
    const ref = String(++this.#ref);
    const answer = Promise.withResolvers<ServerFrame>();
    this.#answers.set(ref, answer);
    this.#socket.send(JSON.stringify({ ...frame, ref }));
    return answer.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed === undefined) {
      this.#socket.close();
      await this.until(() => this.closed !== undefined);
    }
  }

  #take(frame: ServerFrame): void {
    switch (frame.op) {
      case "welcome":
        this.cursor = frame.cursor;
        this.topics = frame.topics;
        this.count = frame.inbox;
        break;
      case "items":
        this.cursor = frame.cursor;
        for (const item of frame.items) this.heard.push({ item });
        break;
      case "reset":
        this.cursor = frame.cursor;
        this.resets.push(frame.reason);
        break;
      case "cursor":
        this.cursor = frame.cursor;
        break;
      case "inbox": {
        const { op: _op, ...event } = frame;
        this.count = { unread: event.unread, unseen: event.unseen };
        this.heard.push({ inbox: event });
        break;
      }
      case "ok":
      case "error":
      case "pong": {
        const answer = this.#answers.get(frame.ref ?? "");
        this.#answers.delete(frame.ref ?? "");
        answer?.resolve(frame);
        break;
      }
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
