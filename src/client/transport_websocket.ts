/**
 * The feed over WebSocket. A browser cannot set headers on the upgrade, so the token goes into the first frame.
 * @module
 */
import { type ClientFrame, type Problem, type ServerFrame, SUBPROTOCOL } from "../protocol.ts";
import { endingOfClose, feedUrl, type OpenLink, patienceFor } from "./link.ts";

/** Opens the feed; welcomed by the `welcome` frame, not by the upgrade, for a proxy can swallow what follows it. */
export const openWebsocket: OpenLink = (request, ears, { WebSocket }) => {
  let over = false;
  let patience = patienceFor(undefined);
  let problem: Problem | undefined;
  const end = (ending: Parameters<typeof ears.ended>[0]) => {
    if (over) return;
    over = true;
    ears.ended(ending);
  };
  let socket: WebSocket;
  try {
    if (WebSocket === undefined) throw new TypeError("There is no WebSocket here");
    // a cookie that comes along unasked must not count instead of the token
    const url = feedUrl(request, request.token === undefined ? {} : { hello: "1" });
    url.protocol = url.protocol.replace("http", "ws");
    socket = new WebSocket(url, SUBPROTOCOL);
  } catch {
    // a page's policy can forbid it, which is one more way of not working
    queueMicrotask(() => end({ type: "lost" }));
    return { patience, close: () => over = true };
  }
  const send = (frame: ClientFrame) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    ears.sent(frame);
    socket.send(JSON.stringify(frame));
  };
  socket.onopen = () => {
    const { token, since, topics } = request;
    if (token === undefined) return;
    send({ op: "hello", token, topics: [...topics], ...(since === undefined ? {} : { since }) });
  };
  socket.onmessage = ({ data }) => {
    if (over) return;
    const frame = parse(data);
    if (frame === null) return;
    ears.alive();
    if (frame.op === "welcome") {
      patience = patienceFor(frame.heartbeat);
      ears.welcomed(frame);
    }
    if (frame.op === "error" && frame.ref === undefined) problem = frame.problem;
    ears.frame(frame);
  };
  socket.onclose = ({ code, reason }) => {
    const ending = endingOfClose(code, reason);
    // the frame before the close says it better than the code
    end(ending.type === "refused" && problem !== undefined ? { type: "refused", problem } : ending);
  };
  return {
    get patience() {
      return patience;
    },
    send,
    close() {
      over = true;
      // a socket that is still connecting makes noise on the console when closed at once
      if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(1000);
      else socket.close(1000);
    },
  };
};

function parse(data: unknown): ServerFrame | null {
  if (typeof data !== "string") return null;
  try {
    const frame: unknown = JSON.parse(data);
    return typeof frame === "object" && frame !== null && "op" in frame ? frame as ServerFrame : null;
  } catch {
    // whatever this is, it is not the gateway's: the watch over silence will notice
    return null;
  }
}
