/**
 * The three ways a feed reaches the client, by name, each with a token that is good when it opens. Choosing between them,
 * coming back and remembering belong to `states.ts` and `connection.ts`.
 * @module
 */
import type { Credentials } from "./credentials.ts";
import type { FeedRequest, Link, LinkEars, LinkTools, OpenLink } from "./link.ts";
import type { Transport } from "./machine.ts";
import { openLongpoll } from "./transport_longpoll.ts";
import { openSse } from "./transport_sse.ts";
import { openWebsocket } from "./transport_websocket.ts";

const OPEN: Record<Transport, OpenLink> = {
  websocket: openWebsocket,
  sse: openSse,
  longpoll: openLongpoll,
};

/** Opens a link as soon as there is a token; one that cannot be had ends it as lost. */
export function openLink(
  transport: Transport,
  request: Omit<FeedRequest, "token">,
  ears: LinkEars,
  tools: LinkTools,
  credentials: Credentials,
): Link {
  let link: Link | undefined;
  let over = false;
  credentials.token().then((token) => {
    if (!over) link = OPEN[transport]({ ...request, token }, ears, tools);
  }, () => over || ears.ended({ type: "lost" }));
  return {
    get patience() {
      return link?.patience;
    },
    ...(transport === "websocket" ? { send: (frame) => link?.send?.(frame) } : {}),
    close() {
      over = true;
      link?.close();
    },
  };
}
