/**
 * WebSocket, by `ws`.
 * @module
 */
import { WebSocket } from "ws";
import type { ClientFrame, ServerFrame } from "../../src/protocol.ts";
import { type Adapter, type Client, feedUrl, Notes, type OpenRequest, Refused } from "./client.ts";

/** A client that can also say something. */
export interface WebSocketClient extends Client {
  readonly socket: WebSocket;
  /** Sends a frame with a `ref` of its own and resolves with its answer. */
  ask(frame: ClientFrame): Promise<ServerFrame>;
}

/** Connects with the token in a header. */
export async function openWebSocket(request: OpenRequest): Promise<WebSocketClient> {
  const address = feedUrl(request);
  address.protocol = "ws:";
  const socket = new WebSocket(address, "tidings.v1", {
    headers: { authorization: `Bearer ${request.token}` },
    perMessageDeflate: false,
  });
  const notes = new Notes();
  const welcome = Promise.withResolvers<void>();
  const answers = new Map<string, (frame: ServerFrame) => void>();
  const gone = Promise.withResolvers<void>();
  let refs = 0;
  socket.on("message", (data) => {
    const text = String(data);
    const frame = JSON.parse(text) as ServerFrame;
    switch (frame.op) {
      case "welcome": {
        const { op: _, ...rest } = frame;
        notes.tell({ event: "welcome", ...rest });
        return welcome.resolve();
      }
      case "items":
        return notes.items(frame.items, frame.cursor, text);
      case "cursor":
        return notes.move(frame.cursor);
      case "reset":
        return notes.tell({ event: "reset", reason: frame.reason, cursor: frame.cursor });
      case "inbox":
        return notes.tell({ event: "inbox", unread: frame.unread, unseen: frame.unseen });
      case "reconnect":
        return notes.tell({ event: "reconnect" });
      case "error":
        if (frame.ref === undefined) {
          notes.tell({ event: "error", problem: frame.problem });
          welcome.reject(new Refused(frame.problem));
        }
    }
    if ("ref" in frame && frame.ref !== undefined) answers.get(frame.ref)?.(frame);
  });
  socket.on("close", (code) => {
    notes.tell({ event: "closed", code });
    welcome.reject(new Error(`closed with ${code} before it was welcome`));
    gone.resolve();
  });
  socket.on("error", (error) => welcome.reject(error));
  await welcome.promise.catch(async (error) => {
    await gone.promise;
    throw error;
  });
  const client = notes.client(async () => {
    socket.terminate();
    await gone.promise;
  });
  return Object.assign(client, {
    socket,
    ask(frame: ClientFrame) {
      const ref = `ref ${refs++}`;
      return new Promise<ServerFrame>((resolve, reject) => {
        answers.set(ref, resolve);
        gone.promise.then(() => reject(new Error("closed before it was answered")));
        socket.send(JSON.stringify({ ...frame, ref }));
      });
    },
  });
}

/** The transport. */
export const websocket: Adapter = { name: "WebSocket", open: openWebSocket };
