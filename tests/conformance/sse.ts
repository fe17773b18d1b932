/**
 * Server-sent events, by the `eventsource` package, which keeps to the standard's EventSource.
 * @module
 */
import { EventSource } from "eventsource";
import type { Problem } from "../../src/protocol.ts";
import { EVENTS } from "../../src/protocol.ts";
import { type Adapter, type Client, feedUrl, Notes, type OpenRequest, Refused } from "./client.ts";

/** An EventSource hears only the types that it is told to listen to. */
const TYPES = ["notification", "friend_request", "match.found", "tidings.join", "tidings.leave"];

/** A client that can be looked into. */
export interface EventsClient extends Client {
  readonly source: EventSource;
  /** The answers' statuses and their headers. */
  readonly answers: readonly { status: number; headers: Headers; lastEventId: string | undefined }[];
}

/** Connects with the token in a header. */
export async function openEvents(request: OpenRequest): Promise<EventsClient> {
  const notes = new Notes();
  const welcome = Promise.withResolvers<void>();
  const answers: { status: number; headers: Headers; lastEventId: string | undefined }[] = [];
  let refused: Promise<unknown> | undefined;
  const source = new EventSource(feedUrl(request), {
    async fetch(url, init) {
      const headers = { ...init.headers, authorization: `Bearer ${request.token}` };
      const response = await fetch(url, { ...init, headers } as RequestInit);
      const lastEventId = (init.headers as unknown as Record<string, string>)["Last-Event-ID"];
      answers.push({ status: response.status, headers: response.headers, lastEventId });
      if (response.ok) return response;
      // read here, because an EventSource breaks off what it does not like
      const text = await response.text();
      refused = Promise.resolve(JSON.parse(text));
      return new Response(text, { status: response.status, headers: response.headers });
    },
  });
  for (const type of TYPES) {
    source.addEventListener(type, (event) => {
      notes.items([JSON.parse(event.data)], event.lastEventId, event.data);
    });
  }
  source.addEventListener(EVENTS.welcome, (event) => {
    notes.tell({ event: "welcome", ...JSON.parse(event.data) });
    welcome.resolve();
  });
  source.addEventListener(EVENTS.reset, (event) => {
    notes.tell({ event: "reset", ...JSON.parse(event.data) });
  });
  source.addEventListener(EVENTS.inbox, (event) => {
    notes.tell({ event: "inbox", ...JSON.parse(event.data) });
  });
  source.addEventListener(EVENTS.reconnect, () => notes.tell({ event: "reconnect" }));
  source.addEventListener(EVENTS.error, (event) => {
    notes.tell({ event: "error", problem: JSON.parse(event.data) });
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) return;
    notes.tell({ event: "closed" });
    (refused ?? Promise.reject(new Error("It ended before it was welcome"))).then(
      (problem) => welcome.reject(new Refused(problem as Problem)),
      (error) => welcome.reject(error),
    );
  });
  await welcome.promise;
  return Object.assign(notes.client(() => source.close()), { source, answers });
}

/** The transport. */
export const sse: Adapter = { name: "SSE", open: openEvents };
