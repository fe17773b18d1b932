/**
 * The names on the wire: frames, events, headers and close codes. Shared by the server and the browser client, so it
 * imports nothing but the notification's shape. PROTOCOL.md explains each; a name that is not here is not on the wire.
 * @module
 */
import type { Item, Priority } from "./notification.ts";

/** The WebSocket subprotocol; a client that offers none gets it as well. */
export const SUBPROTOCOL = "tidings.v1";

/** Where everything lives. */
export const PATHS = {
  feed: "/v1/feed",
  notifications: "/v1/notifications",
  topics: "/v1/topics",
  inbox: "/v1/inbox",
  subscriptions: "/v1/subscriptions",
  preferences: "/v1/preferences",
  devices: "/v1/devices",
  schedules: "/v1/schedules",
  tickets: "/v1/tickets",
  /** What a device's worker asks with its own token. */
  worker: "/v1/worker",
} as const;

/** The header that carries a device's token. */
export const DEVICE_HEADER = "Tidings-Device";

/** Control events of an SSE feed (`event:` names) and reserved types of the log. */
export const EVENTS = {
  welcome: "tidings.welcome",
  inbox: "tidings.inbox",
  reset: "tidings.reset",
  reconnect: "tidings.reconnect",
  error: "tidings.error",
} as const;

/** WebSocket close codes. 4000–4499: come back; 4500–4999: do not. */
export const CLOSE = {
  restart: 1012,
  tooLarge: 1009,
  internal: 1011,
  tokenExpired: 4401,
  notReading: 4408,
  tooMany: 4429,
  protocolError: 4500,
  badCredentials: 4501,
  forbidden: 4503,
} as const;

/** An inbox state as a client may set it. */
export type MarkState = "seen" | "read" | "unread" | "archived";

/** How many of a person's notifications are not read, and how many were never looked at. */
export interface InboxCount {
  unread: number;
  unseen: number;
}

/** What one mark changed. */
export interface InboxChange {
  /** The notifications' ids, or `all`, or everything up to and including one. */
  ids?: string[];
  all?: true;
  before?: string;
  state: MarkState;
}

/** RFC 9457 problem details, with a stable `code`. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail?: string;
  /** Every violation, by field. */
  errors?: { field: string; message: string }[];
  /** With `cursor_reset`: the cursor to go on from, and why. */
  cursor?: string;
  reason?: ResetReason;
  /** Seconds to wait before trying again. */
  retryAfter?: number;
}

/** What travels inside of a push, encrypted: JSON, UTF-8. */
export interface PushPayload {
  /** The format's version. */
  tidings: 1;
  /** `notify` shows the item; `close` takes back what was shown and says nothing new. */
  kind: "notify" | "close";
  item: Item;
  /** What this push stands for, when more than the item. */
  ids?: string[];
  /** What to take from the screen because it was read elsewhere. */
  read?: string[];
  unread?: number;
  /** Fields of the item that were cut or left out: the worker fetches them. */
  cut?: string[];
}

/** The first control message of every feed. */
export interface Welcome {
  /** This session's id. */
  session: string;
  /** The token's `sub`. */
  user: string;
  cursor: string;
  topics: string[];
  inbox: InboxCount;
  /** Seconds between two signs of life from the server. */
  heartbeat: number;
  /** RFC 3339; when the session ends unless a fresh token comes. Absent: the token does not expire. */
  expiresAt?: string;
}

/** Why a cursor cannot be used. `history`: another database history; `retention`: rows after it were purged; `unknown`: never issued here. */
export type ResetReason = "history" | "retention" | "unknown";

/** Frames from the server. */
export type ServerFrame =
  | ({ op: "welcome" } & Welcome)
  | { op: "items"; cursor: string; items: Item[] }
  | { op: "cursor"; cursor: string }
  | ({ op: "inbox"; changes?: InboxChange[] } & InboxCount)
  | { op: "reset"; reason: ResetReason; cursor: string }
  | { op: "reconnect"; after: number }
  | { op: "ok"; ref?: string; ids?: string[] }
  | { op: "error"; ref?: string; problem: Problem }
  | { op: "pong"; ref?: string };

/** What a client sends over HTTP or `publish`. */
export interface Publication {
  /** A topic or a list of topics. */
  to: string | string[];
  type?: string;
  title?: string;
  body?: string;
  link?: string;
  data?: unknown;
  /** Who it is from; only administrators may name another than themselves. */
  sender?: string;
  priority?: Priority;
  collapseKey?: string;
  dedupeKey?: string;
  /** Seconds, or a duration such as `10m`. */
  ttl?: number | string;
  transient?: boolean;
  /** RFC 3339. */
  deliverAt?: string;
  push?: boolean;
}

/** Frames from a client. `ref` comes back in `ok`, `error` or `pong`. */
export type ClientFrame =
  & { ref?: string }
  & (
    | { op: "hello"; token: string; since?: string; topics?: string[]; presence?: boolean }
    | { op: "auth"; token: string }
    | { op: "subscribe"; topics: string[]; since?: string; presence?: boolean }
    | { op: "unsubscribe"; topics: string[] }
    | ({ op: "publish" } & Publication)
    | { op: "mark"; ids?: string[]; all?: true; before?: string; state: MarkState }
    // visible: somebody looks at what was shown up to there
    | { op: "ack"; cursor: string; visible?: boolean }
    | { op: "ping" }
  );
