/**
 * STOMP, by `@stomp/stompjs`: a person's destination with `since` and `topics`, so that one subscription is the whole feed.
 * @module
 */
import { Client as StompClient, type IFrame, type IMessage } from "@stomp/stompjs";
import { onceWith, stompUrl } from "../helpers/stomp.ts";
import { type Adapter, type Client, Notes, type OpenRequest, Refused } from "./client.ts";

/** Connects with the token in a header of CONNECT, and subscribes. */
export async function openStomp({ url, token, since, topics, presence }: OpenRequest): Promise<Client> {
  const notes = new Notes();
  const welcome = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  const client = new StompClient({
    ...onceWith(token),
    brokerURL: stompUrl(url, "/v1/feed"),
  });
  client.onConnect = () => {
    client.watchForReceipt("subscribed", (frame: IFrame) => {
      notes.tell({ event: "welcome", cursor: frame.headers["cursor"] ?? "" });
      welcome.resolve();
    });
    client.subscribe("/user/queue/notification", (message) => receive(message, notes), {
      since: since ?? "now",
      receipt: "subscribed",
      inbox: "true",
      ...(topics === undefined ? {} : { topics: topics.join(",") }),
      ...(presence === true ? { presence: "true" } : {}),
    });
  };
  client.onStompError = (frame) => {
    const problem = JSON.parse(frame.body);
    notes.tell({ event: "error", problem });
    welcome.reject(new Refused(problem));
  };
  client.onWebSocketClose = ({ code }) => {
    notes.tell({ event: "closed", code });
    welcome.reject(new Error(`closed with ${code} before it was welcome`));
    gone.resolve();
  };
  client.activate();
  await welcome.promise.catch(async (error) => {
    await gone.promise;
    await client.deactivate();
    throw error;
  });
  return notes.client(() => client.deactivate({ force: true }));
}

function receive({ headers, body }: IMessage, notes: Notes): void {
  const cursor = headers["cursor"] ?? "";
  if (headers["type"] === "tidings.reset") {
    return notes.tell({ event: "reset", reason: JSON.parse(body).reason, cursor });
  }
  if (headers["type"] === "tidings.inbox") {
    const { unread, unseen } = JSON.parse(body);
    notes.move(cursor);
    return notes.tell({ event: "inbox", unread, unseen });
  }
  notes.items([JSON.parse(body)], cursor, body);
}

/** The transport. */
export const stomp: Adapter = { name: "STOMP", open: openStomp };
