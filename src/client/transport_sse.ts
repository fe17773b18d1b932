/**
 * The feed over server-sent events, read from `fetch` and not by `EventSource`, which can neither send a token nor tell
 * why it failed. Events after the WHATWG HTML standard, section 9.2.
 * @module
 */
import type { Item } from "../notification.ts";
import { EVENTS, type ServerFrame, type Welcome } from "../protocol.ts";
import { isProblem } from "./problem.ts";
import {
  type Ending,
  endingOf,
  endingOfProblem,
  feedUrl,
  type LinkEars,
  type OpenLink,
  patienceFor,
  requestInit,
} from "./link.ts";

/** One parsed event; `event` and `data` are empty in a block that only moves the id. */
export interface SseEvent {
  event: string;
  data: string;
  id: string;
}

/** More than this without an end of block is not a feed; characters. */
const MOST = 4 * 1024 * 1024;

/** Opens the feed; welcomed by the `tidings.welcome` event, which a proxy that buffers holds back. */
export const openSse: OpenLink = (request, ears, tools) => {
  const abort = new AbortController();
  let patience = patienceFor(undefined);
  let ending: Ending = { type: "lost" };
  const told: LinkEars = {
    ...ears,
    welcomed(welcome) {
      patience = patienceFor(welcome.heartbeat);
      ears.welcomed(welcome);
    },
  };
  const run = async () => {
    try {
      const init = requestInit(request.token, { accept: "text/event-stream" });
      const response = await tools.fetch(feedUrl(request), { ...init, signal: abort.signal });
      if (!response.ok) {
        ending = await endingOf(response);
      } else if (!/^text\/event-stream\b/.test(response.headers.get("content-type") ?? "")) {
        await response.body?.cancel();
      } else {
        await read(response, (event) => {
          ears.alive();
          const frame = toFrame(event);
          if (frame === null || abort.signal.aborted) return;
          if (frame.op === "welcome") told.welcomed(frame);
          if (frame.op === "reconnect") ending = { type: "again", within: frame.after * 1000 };
          if (frame.op === "error") ending = endingOfProblem(frame.problem);
          ears.frame(frame);
          // a control event has a place in the log as well
          if (event.id !== "" && !("cursor" in frame)) ears.frame({ op: "cursor", cursor: event.id });
        }, ears.alive);
      }
    } catch {
      // however it broke: what the gateway said before counts, and else it is lost
    }
    if (!abort.signal.aborted) ears.ended(ending);
    abort.abort();
  };
  void run();
  return {
    get patience() {
      return patience;
    },
    close: () => abort.abort(),
  };
};

async function read(response: Response, tell: (event: SseEvent) => void, alive: () => void): Promise<void> {
  const parser = new SseParser(tell);
  const decoder = new TextDecoder();
  const reader = response.body!.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    alive();
    parser.push(decoder.decode(part.value, { stream: true }));
  }
}

/** Cuts a stream of text, in pieces of any size, into events. */
export class SseParser {
  readonly #tell: (event: SseEvent) => void;
  #rest = "";
  #event = "";
  #data: string[] = [];
  #size = 0;
  #id: string | null = null;
  #start = true;

  constructor(tell: (event: SseEvent) => void) {
    this.#tell = tell;
  }

  /** Throws a RangeError when a line or an event has no end. */
  push(chunk: string): void {
    let text = this.#rest + chunk;
    if (this.#start && text !== "") {
      this.#start = false;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    let from = 0;
    const end = /\r\n|\r(?!$)|\n/g;
    for (let found = end.exec(text); found !== null; found = end.exec(text)) {
      this.#line(text.slice(from, found.index));
      from = end.lastIndex;
    }
    this.#rest = text.slice(from);
    if (this.#rest.length > MOST) throw new RangeError("Cannot read the feed: a line has no end");
  }

  #line(line: string): void {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "data") {
      this.#size += value.length;
      if (this.#size > MOST) throw new RangeError("Cannot read the feed: an event has no end");
      this.#data.push(value);
    }
  }

  #dispatch(): void {
    if (this.#data.length > 0 || this.#id !== null) {
      this.#tell({ event: this.#event, data: this.#data.join("\n"), id: this.#id ?? "" });
    }
    this.#event = "";
    this.#data = [];
    this.#size = 0;
    this.#id = null;
  }
}

/** The frame an event stands for; null for what is not of this protocol. */
export function toFrame({ event, data, id }: SseEvent): ServerFrame | null {
  if (data === "") return id === "" ? null : { op: "cursor", cursor: id };
  const value = JSON.parse(data);
  if (typeof value !== "object" || value === null) return null;
  switch (event) {
    case EVENTS.welcome:
      return { op: "welcome", ...value as Welcome };
    case EVENTS.inbox:
      return { op: "inbox", ...value };
    case EVENTS.reset:
      return { op: "reset", ...value };
    case EVENTS.reconnect:
      return { op: "reconnect", ...value };
    case EVENTS.error:
      return isProblem(value) ? { op: "error", problem: value } : null;
    default:
      return { op: "items", cursor: id, items: [value as Item] };
  }
}
