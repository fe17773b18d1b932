/**
 * The three ways a feed reaches the client, by name. Choosing between them, coming back and remembering belong to
 * `states.ts` and `connection.ts`.
 * @module
 */
import type { OpenLink } from "./link.ts";
import type { Transport } from "./states.ts";
import { openLongpoll } from "./transport_longpoll.ts";
import { openSse } from "./transport_sse.ts";
import { openWebsocket } from "./transport_websocket.ts";

/** How each transport opens. */
export const OPEN: Record<Transport, OpenLink> = {
  websocket: openWebsocket,
  sse: openSse,
  longpoll: openLongpoll,
};
