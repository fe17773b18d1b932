/**
 * Long-poll, by `fetch`.
 * @module
 */
import type { Item } from "../../src/notification.ts";
import type { Problem } from "../../src/protocol.ts";
import { type Adapter, type Client, feedUrl, Notes, type OpenRequest, Refused } from "./client.ts";

interface Answer {
  cursor: string;
  items: Item[];
  inbox: { unread: number; unseen: number };
}

/** Polls once at once, to have a cursor, and then again and again. */
export async function openLongPoll(request: OpenRequest): Promise<Client> {
  const notes = new Notes();
  const over = new AbortController();

  async function poll(since: string | undefined, wait: string): Promise<void> {
    const address = feedUrl({ ...request, ...(since === undefined ? {} : { since }) }, {
      wait,
      limit: "400",
    });
    const response = await fetch(address, {
      headers: { authorization: `Bearer ${request.token}` },
      signal: over.signal,
    });
    const text = await response.text();
    if (response.status === 409) {
      const { reason, cursor } = JSON.parse(text) as Problem;
      return notes.tell({ event: "reset", reason: reason!, cursor: cursor! });
    }
    if (!response.ok) throw new Refused(JSON.parse(text));
    const { cursor, items, inbox } = JSON.parse(text) as Answer;
    // The counts are as of the answer: whoever has its items has them as well.
    notes.tell({ event: "inbox", ...inbox });
    if (items.length > 0) notes.items(items, cursor, text);
    else notes.move(cursor);
  }

  // a short poll watches nobody
  await poll(request.since, request.presence === true ? "1" : "0");
  notes.tell({ event: "welcome", cursor: notes.cursor });
  const loop = (async () => {
    while (!over.signal.aborted) {
      await poll(notes.cursor, "20").catch((error) => {
        // a clock that jumps overtakes statements: a client asks again
        if (!(error instanceof Refused && error.problem.code === "unavailable")) throw error;
      });
    }
  })().catch((error) => {
    if (over.signal.aborted) return;
    notes.tell(error instanceof Refused ? { event: "error", problem: error.problem } : { event: "closed" });
  });
  return notes.client(async () => {
    over.abort();
    await loop;
  });
}

/** The transport. */
export const longpoll: Adapter = { name: "long-poll", open: openLongPoll };
