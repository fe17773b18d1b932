/**
 * What a push service looks like to the dispatcher. A provider is one file that makes a `Provider`, and one line in
 * `providers.ts`; nothing else knows which there are.
 *
 * Invariants: `register` believes nothing it is given; `send` never throws for what a push service can answer, it returns an
 * `Outcome`; what it throws is a failure of this side or of the network and is tried again.
 * @module
 */
import type { z } from "@hono/zod-openapi";
import type { Item } from "../notification.ts";

/** What is stored of a device: where to send, and what is needed to do so. */
export interface Registration {
  /** The endpoint, token or URL: unique, because a device belongs to one person at a time. */
  address: string;
  /** Keys and options of the provider's own, all text. */
  keys: Record<string, string>;
}

/** A device to send to. */
export interface Target extends Registration {
  /** The number that the database gave it. */
  device: string;
}

/** What to tell a device. */
export interface PushMessage {
  /** `notify` shows `item`; `close` takes back what was shown and says nothing new. */
  kind: "notify" | "close";
  /** The same for every attempt of the same push. Letters, digits, `_` and `-`. */
  messageId: string;
  /** The notification; of several pushed as one, the newest, its title and body telling of all. */
  item: Item;
  /** The ids that this push stands for: the item's, and the others of a digest. */
  ids: string[];
  /** Ids of notifications this device was sent and that were read elsewhere since. */
  read: string[];
  /** For the app's badge. Absent: not known. */
  unread?: number;
  /** Whole seconds from now until it is not worth delivering any more. */
  ttl: number;
}

/** How an attempt ended. `reason` is kept and shown to whoever asks why something did not arrive. */
export type Outcome =
  | { kind: "sent"; reason?: string }
  /** The device is no more: it is removed. */
  | { kind: "gone"; reason: string }
  /** Again, not before `after` milliseconds if given. `all`: the service asks for a pause for every device of it. */
  | { kind: "retry"; reason: string; after?: number; all?: boolean }
  /** Never again for this message; the device stays. */
  | { kind: "failed"; reason: string };

/** One push service. */
export interface Provider {
  /** The device's `kind` in the database and over HTTP. */
  readonly kind: string;
  /** Whether a shown notification can be taken back at once, by a message that shows nothing. Otherwise the next push does it. */
  readonly silent: boolean;
  /** What a client sends to register, but for `kind`. */
  readonly schema: z.ZodObject;
  /** Checks what `schema` let through. Throws `invalid_request`. */
  register(input: unknown): Promise<Registration>;
  /** Makes one attempt. */
  send(target: Target, message: PushMessage, signal: AbortSignal): Promise<Outcome>;
  /** Which service a target's attempts go to, so that a pause one asks for holds back the right ones. */
  service(target: Target): string;
  /** What a client needs to know before it registers, such as a public key. Not secret. */
  readonly facts?: Record<string, string>;
  /** Lets idle connections go. */
  close(): void;
}

/** Milliseconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3: seconds or a date), at most a day. */
export function retryAfter(header: string | null | undefined, now: number): number | undefined {
  if (header === null || header === undefined) return undefined;
  const text = header.trim();
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), 86_400_000);
}

/** What the answer of an HTTP push service means where the service documents nothing of its own. */
export function outcomeOf(status: number, after: number | undefined, detail = ""): Outcome {
  const reason = `answered ${status}${detail === "" ? "" : `: ${detail.slice(0, 200)}`}`;
  if (status >= 200 && status < 300) return { kind: "sent", reason };
  if (status === 404 || status === 410) return { kind: "gone", reason };
  if (status === 429 || status === 408 || status >= 500) {
    const pause = {
      ...(after === undefined ? {} : { after }),
      ...(status === 429 || status === 503 ? { all: true } : {}),
    };
    return { kind: "retry", reason, ...pause };
  }
  return { kind: "failed", reason };
}
