/**
 * The checker's client: reads a leg at a time, each on a gateway and a transport that chance picks, from the cursor that the one
 * before left; a leg is cut after so many items, wherever that is.
 * @module
 */
import { Client as StompClient } from "@stomp/stompjs";
import { EventSource } from "eventsource";
import { WebSocket } from "ws";
import type { Item } from "../../src/notification.ts";
import type { ServerFrame } from "../../src/protocol.ts";
import type { Progress } from "./checker.ts";
import { pick } from "./random.ts";
import { onceWith, stompUrl } from "./stomp.ts";

/** What a leg is given. */
export interface Ride {
  /** The gateway's address. */
  url: string;
  token: string;
  user: string;
  topics: readonly string[];
  since: string;
  /** Cut after so many items. */
  items: number;
  progress: Progress;
  signal: AbortSignal;
  chance(): number;
  /** Items that arrived, and the cursor after them. True: the leg is over. */
  take(items: readonly Item[], cursor: string): boolean;
  /** The cursor was refused; go on from this one. */
  reset(reason: string, cursor: string): void;
}

/** One connection; resolves when it was cut, rejects when it broke. */
export type Leg = (ride: Ride) => Promise<void>;
export type Transport = "websocket" | "sse" | "long-poll" | "stomp";

/** The feed's transports, by clients of other people's making. */
export const LEGS: Record<Transport, Leg> = { websocket, sse, "long-poll": longPoll, stomp };

/** A client that cannot connect so often says why, instead of trying for ever. */
const MOST_BROKEN = 1_000;

interface ClientOptions {
  user: string;
  topics: readonly string[];
  /** Topics whose last item has to come. */
  done: Set<string>;
  isLast(item: Item): boolean;
  token: string;
  gateways(): readonly string[];
  legs: Record<string, Leg>;
  chance(): number;
}

/** One client. */
export class CheckedClient {
  readonly user: string;
  readonly received: { id: string }[] = [];
  readonly legs = new Map<string, number>();
  readonly resets: string[] = [];
  broken = 0;
  readonly #options: ClientOptions;
  readonly #mine: ReadonlySet<string>;
  #cursor = "earliest";

  constructor(options: ClientOptions) {
    this.#options = options;
    this.user = options.user;
    this.#mine = new Set(options.done);
  }

  wants(topic: string): boolean {
    return this.#mine.has(topic);
  }

  /** Reads on until the last item of every topic is there. */
  async run(progress: Progress, signal: AbortSignal): Promise<void> {
    const { user, topics, token, gateways, legs, chance, done, isLast } = this.#options;
    while (done.size > 0 && !signal.aborted) {
      const url = pick(gateways(), chance());
      const transport = pick(Object.keys(legs), chance());
      let left = 1 + Math.floor(chance() * 50);
      try {
        if (url === undefined) throw new Error("No gateway is there");
        await legs[transport]!({
          url,
          token,
          user,
          topics,
          since: this.#cursor,
          items: left,
          progress,
          signal,
          chance,
          take: (items, cursor) => {
            for (const item of items) {
              this.received.push({ id: item.id });
              if (isLast(item)) done.delete(item.topic);
            }
            this.#cursor = cursor;
            left -= items.length;
            return left <= 0 || done.size === 0;
          },
          reset: (reason, cursor) => {
            this.resets.push(`${reason}, from ${this.#cursor} to ${cursor}`);
            this.#cursor = cursor;
          },
        });
        this.legs.set(transport, (this.legs.get(transport) ?? 0) + 1);
      } catch (error) {
        if (signal.aborted) return;
        if (++this.broken > MOST_BROKEN) throw error;
        // As a client would: it does not storm a gateway that has just gone.
        await new Promise((resolve) => setTimeout(resolve, 10 + chance() * 40));
      }
    }
  }
}

/** The one end of a leg: by its cut, by what broke it, or with everything. */
interface Ending {
  over: boolean;
  end(error?: Error): void;
}

/** A leg that opens a connection, goes on until it is ended, and then closes what it opened. */
async function until(signal: AbortSignal, open: (leg: Ending) => () => unknown): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const leg: Ending = {
    over: false,
    end(error) {
      leg.over = true;
      if (error === undefined) resolve();
      else reject(error);
    },
  };
  const abort = () => leg.end(new Error("aborted"));
  signal.addEventListener("abort", abort, { once: true });
  const close = open(leg);
  try {
    await promise;
  } finally {
    signal.removeEventListener("abort", abort);
    await close();
  }
}

function websocket({ url, token, topics, since, signal, take, reset }: Ride): Promise<void> {
  return until(signal, (leg) => {
    const ws = new WebSocket(`${url.replace("http", "ws")}/v1/feed`, "tidings.v1");
    ws.on("open", () => ws.send(JSON.stringify({ op: "hello", token, since, topics })));
    ws.on("message", (data) => {
      if (leg.over) return;
      const frame = JSON.parse(String(data)) as ServerFrame;
      if (frame.op === "items") {
        if (take(frame.items, frame.cursor)) leg.end();
      } else if (frame.op === "cursor") take([], frame.cursor);
      else if (frame.op === "welcome" && since === "earliest") take([], frame.cursor);
      else if (frame.op === "reset") reset(frame.reason, frame.cursor);
      else if (frame.op === "error") leg.end(new Error(frame.problem.code));
    });
    ws.on("close", () => leg.end(new Error("closed")));
    ws.on("error", (error) => leg.end(error));
    return () => ws.terminate();
  });
}

function sse({ url, token, topics, since, signal, take, reset }: Ride): Promise<void> {
  const query = new URLSearchParams({ since, topics: topics.join() });
  if (topics.length === 0) query.delete("topics");
  return until(signal, (leg) => {
    const source = new EventSource(`${url}/v1/feed?${query}`, {
      fetch: (input, init) =>
        fetch(input, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } }),
    });
    source.addEventListener("notification", (event) => {
      if (!leg.over && take([JSON.parse(event.data)], event.lastEventId)) leg.end();
    });
    source.addEventListener("tidings.reset", (event) => {
      if (leg.over) return;
      const { reason, cursor } = JSON.parse(event.data);
      reset(reason, cursor);
    });
    source.addEventListener("tidings.reconnect", (event) => {
      if (leg.over) return;
      take([], event.lastEventId);
      leg.end(new Error("reconnect"));
    });
    source.addEventListener("error", () => leg.end(new Error("the stream broke")));
    return () => source.close();
  });
}

/** One subscription that is the whole feed, as in the conformance suite. */
function stomp({ url, token, topics, since, signal, take, reset }: Ride): Promise<void> {
  return until(signal, (leg) => {
    const client = new StompClient({ ...onceWith(token), brokerURL: stompUrl(url, "/v1/feed") });
    client.onConnect = () => {
      client.subscribe("/user/queue/notification", ({ headers, body }) => {
        if (leg.over) return;
        const cursor = headers["cursor"] ?? "";
        if (headers["type"] === "tidings.reset") reset(JSON.parse(body).reason, cursor);
        else if (take([JSON.parse(body)], cursor)) leg.end();
      }, { since, ...(topics.length === 0 ? {} : { topics: topics.join() }) });
    };
    client.onStompError = (frame) => leg.end(new Error(frame.headers["code"] ?? "refused"));
    client.onWebSocketClose = () => leg.end(new Error("closed"));
    client.activate();
    return () => client.deactivate({ force: true });
  });
}

async function longPoll(ride: Ride): Promise<void> {
  const { url, token, topics, signal, take, reset, chance, progress } = ride;
  let { since } = ride;
  for (;;) {
    const query = new URLSearchParams({ since, wait: "20", limit: String(1 + Math.floor(chance() * 60)) });
    if (topics.length > 0) query.set("topics", topics.join());
    const gone = new AbortController();
    const abort = () => gone.abort();
    signal.addEventListener("abort", abort, { once: true });
    // Now and then it gives up in the middle of an answer, or of waiting for one.
    const cut = chance() < 0.2;
    if (cut) progress.more(1 + Math.floor(chance() * 5)).then(abort);
    try {
      const response = await fetch(`${url}/v1/feed?${query}`, {
        headers: { authorization: `Bearer ${token}` },
        signal: gone.signal,
      });
      const answer = await response.json();
      if (response.status === 409) return reset(answer.reason, answer.cursor);
      if (response.status !== 200) throw new Error(answer.code);
      since = answer.cursor;
      if (take(answer.items, answer.cursor)) return;
    } catch (error) {
      if (cut && gone.signal.aborted && !signal.aborted) return;
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}
