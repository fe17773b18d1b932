/**
 * How a notification is made to fit into a push.
 *
 * Invariants: the encoded payload never exceeds the limit; text is cut between graphemes, never inside of one; whatever
 * happens, the ids survive, so that the worker can fetch the rest.
 * @module
 */
import type { Item } from "../notification.ts";
import type { PushPayload } from "../protocol.ts";
import type { PushMessage } from "./provider.ts";

/**
 * The payload of a message, in at most `limit` bytes of JSON. Gives up the least needed first: data, then ids to take back,
 * then the ends of body and title, then whatever else.
 */
export function payloadOf(message: PushMessage, limit: number): Uint8Array {
  const item: Item = { ...message.item };
  const payload: PushPayload = { tidings: 1, kind: message.kind, item };
  if (message.ids.length > 1) payload.ids = message.ids;
  if (message.read.length > 0) payload.read = message.read;
  if (message.unread !== undefined) payload.unread = message.unread;
  const cut: string[] = [];

  let bytes = encode(payload);
  const steps: (() => void)[] = [
    () => drop("data"),
    () => {
      if (payload.read !== undefined) payload.read = payload.read.slice(-20);
    },
    () => {
      if (payload.ids !== undefined) payload.ids = payload.ids.slice(-20);
    },
    () => shorten("body", 0),
    () => shorten("title", 0),
    () => drop("sender"),
    () => drop("link"),
    () => drop("collapseKey"),
  ];
  for (const step of steps) {
    if (bytes.length <= limit) break;
    step();
    if (cut.length > 0) payload.cut = cut;
    bytes = encode(payload);
  }
  if (bytes.length > limit) {
    throw new RangeError(`Cannot encode notification ${item.id}: ${limit} bytes are too few for it`);
  }
  return bytes;

  function drop(field: "data" | "sender" | "link" | "collapseKey"): void {
    if (item[field] === undefined) return;
    delete item[field];
    cut.push(field);
  }

  /** The longest beginning that fits, at least `least` bytes of text; the field goes when not even that does. */
  function shorten(field: "title" | "body", least: number): void {
    const text = item[field];
    if (text === undefined) return;
    cut.push(field);
    payload.cut = cut;
    item[field] = "…";
    const room = limit - encode(payload).length;
    const head = room > least ? cutText(text, room) : "";
    if (head === "") delete item[field];
    else item[field] = `${head}…`;
  }
}

/** The longest beginning of the text whose JSON takes at most `bytes` bytes, cut between graphemes. */
export function cutText(text: string, bytes: number): string {
  let used = 0;
  let end = 0;
  // a grapheme may be longer than any push: only as much of the text is looked at as could fit
  const head = text.slice(0, bytes + 1);
  for (const { segment, index } of new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(head)) {
    used += encode(segment).length - 2;
    if (used > bytes) break;
    const next = index + segment.length;
    // the last one may go on beyond the part that was looked at
    if (next === head.length && head.length < text.length) break;
    end = next;
  }
  return text.slice(0, end);
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}
