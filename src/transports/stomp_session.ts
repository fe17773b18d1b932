/**
 * One client's STOMP session as a state machine. Pure: frames go in, effects come out, and whoever owns the socket carries
 * them out in order, one after the other. A TidingsError that comes out of `receive`, or out of an effect, goes into
 * `fail`, which ends the session as the specification demands: one ERROR frame, then the end.
 *
 * Effects stand in the order of the frames, and a RECEIPT stands behind what it confirms: it is written only when the
 * publication is committed, the mark made, the subscription open.
 * @module
 */
import { type ErrorCode, ERRORS, toProblem } from "../errors.ts";
import type { Item } from "../notification.ts";
import type { Publication } from "../protocol.ts";
import { type BodyShape, readSend, writeBody } from "./stomp_body.ts";
import { parseTarget, type StompPrefixes } from "./stomp_destination.ts";
import { encodeFrame, STOMP_VERSIONS, type StompFrame, type StompVersion } from "./stomp_frame.ts";
import {
  agreeHeartbeats,
  agreeVersion,
  boundedName,
  findToken,
  frameRefused,
  type Heartbeats,
  required,
} from "./stomp_header.ts";
import { readSubscribe, StompSubscription } from "./stomp_subscription.ts";
import { StompTransactions } from "./stomp_transaction.ts";

/** What the owner of the socket has to do. */
export type StompEffect =
  | { do: "write"; text: string }
  /** Check the credentials (those of the handshake when there is no token), then call `accept`. */
  | { do: "authenticate"; token: string | undefined; clientId: string }
  /** A fresh token for the same person. */
  | { do: "renew"; token: string }
  /** Make everything ready to read, and tell what has to be told first. */
  | { do: "open"; subscription: StompSubscription }
  /** Write the RECEIPT of a SUBSCRIBE, with the cursor that the subscription begins at. */
  | { do: "confirm"; subscription: StompSubscription; receipt: string }
  /** Begin to read. */
  | { do: "start"; subscription: StompSubscription }
  | { do: "stop"; subscription: StompSubscription; forget: boolean }
  /** Publish all or none. */
  | { do: "publish"; publications: Publication[] }
  /** Mark as seen. */
  | { do: "mark"; ids: string[] }
  /** Messages were settled: there may be room for more. */
  | { do: "settled"; subscription: StompSubscription }
  | { do: "close"; code: number; reason: string };

/** What the gateway is set to. */
export interface StompSettings {
  prefixes: StompPrefixes;
  shape: BodyShape;
  /** Milliseconds between the server's own signs of life, and between those it asks of clients at most. */
  heartbeat: number;
  /** For the `server` header. */
  server: string;
}

/** Subscriptions of one session. */
export const SUBSCRIPTIONS_MAX = 100;

/** SEND here with a token header to stay beyond the old token's end. */
const RENEW = "/tidings/auth";
const WITH_BODY = new Set(["SEND"]);

/** A session. `version` follows the CONNECT frame: the parser has to read on with it. */
export class StompSession {
  readonly #settings: StompSettings;
  #state: "new" | "connecting" | "open" | "closed" = "new";
  #version: StompVersion = "1.0";
  #asked: Heartbeats = { send: 0, expect: 0 };
  #user = "";
  #clientId = "";
  #subscriptions = new Map<string, StompSubscription>();
  #transactions = new StompTransactions();

  constructor(settings: StompSettings) {
    this.#settings = settings;
  }

  /** What frames are read and written in. */
  get version(): StompVersion {
    return this.#version;
  }

  get state(): "new" | "connecting" | "open" | "closed" {
    return this.#state;
  }

  /** What both sides promised. */
  get heartbeats(): Heartbeats {
    return this.#asked;
  }

  get subscriptions(): Iterable<StompSubscription> {
    return this.#subscriptions.values();
  }

  /** One frame from the client. Throws TidingsError: pass it to `fail`, with the frame. */
  receive(frame: StompFrame): StompEffect[] {
    if (this.#state === "closed") return [];
    if (!WITH_BODY.has(frame.command) && frame.body.some((byte) => byte !== 10 && byte !== 13)) {
      throw frameRefused(frame, "body", "expected none in this frame");
    }
    if (frame.command === "CONNECT" || frame.command === "STOMP") return this.#connect(frame);
    if (this.#state !== "open") throw frameRefused(frame, "command", "expected CONNECT first");
    return [...this.#handle(frame), ...this.#receipt(frame)];
  }

  /** The credentials are good. */
  accept(session: string, user: string): StompEffect[] {
    this.#state = "open";
    this.#user = user;
    const headers: Record<string, string> = {
      version: this.#version,
      session,
      server: this.#settings.server,
      "user-name": user,
    };
    if (this.#version !== "1.0") {
      headers["heart-beat"] = `${this.#settings.heartbeat},${this.#settings.heartbeat}`;
    }
    return [this.#write("CONNECTED", headers)];
  }

  /** The RECEIPT of a SUBSCRIBE: `since` with this cursor begins where this subscription begins. */
  receipt(id: string, cursor: string): string {
    return encodeFrame("RECEIPT", { "receipt-id": id, cursor }, "", this.#version);
  }

  /**
   * The MESSAGE for an item; the subscription notes it as sent. `json` is the item as the log has it, `cursor` the position
   * after it.
   */
  message(
    subscription: StompSubscription,
    { item, json }: { item: Item; json: string },
    cursor: string,
    extra: Record<string, string> = {},
  ): string {
    const { id, destination, ack, named } = subscription.request;
    subscription.sent(item.id, cursor);
    const headers: Record<string, string> = { destination, "message-id": item.id };
    if (named) headers["subscription"] = id;
    if (this.#version === "1.2" && ack !== "auto") headers["ack"] = `${item.id}@${id}`;
    headers["topic"] = item.topic;
    headers["type"] = item.type;
    headers["timestamp"] = String(Date.parse(item.createdAt));
    headers["cursor"] = cursor;
    headers["content-type"] = "application/json";
    const { shape } = this.#settings;
    // as it is where it can be: numbers in data keep digits that parsing would round
    const body = shape === "item" ? json : writeBody(item, this.#user, shape);
    return encodeFrame("MESSAGE", { ...headers, ...extra }, body, this.#version);
  }

  /** A MESSAGE of the gateway itself, such as `tidings.reset`: no item, nothing to acknowledge. */
  notice(
    subscription: StompSubscription,
    type: string,
    cursor: string,
    body: unknown,
    messageId = `${type}-${cursor}`,
  ): string {
    const { id, destination, named } = subscription.request;
    subscription.moved(cursor);
    const headers: Record<string, string> = { destination, "message-id": messageId };
    if (named) headers["subscription"] = id;
    const rest = { type, cursor, "content-type": "application/json" };
    return encodeFrame("MESSAGE", { ...headers, ...rest }, JSON.stringify(body), this.#version);
  }

  /** Ends the session with an ERROR frame. */
  fail(error: unknown, frame?: StompFrame): StompEffect[] {
    if (this.#state === "closed") return [];
    this.#state = "closed";
    const problem = toProblem(error);
    const code = problem.code as ErrorCode;
    const headers: Record<string, string> = {
      message: problem.detail ?? problem.title,
      code,
      "content-type": "application/json",
    };
    const receipt = frame?.headers["receipt"];
    if (receipt !== undefined) headers["receipt-id"] = receipt;
    if (this.#version === "1.0" && frame?.command === "CONNECT") {
      headers["version"] = STOMP_VERSIONS.join(",");
    }
    if (problem.retryAfter !== undefined) headers["retry-after"] = String(problem.retryAfter);
    return [
      this.#write("ERROR", headers, JSON.stringify(problem)),
      { do: "close", code: ERRORS[code].close, reason: problem.title },
    ];
  }

  /** Ends the session without a word, as when the client left. */
  end(): void {
    this.#state = "closed";
  }

  #connect(frame: StompFrame): StompEffect[] {
    if (this.#state !== "new") throw frameRefused(frame, "command", "expected it only once");
    this.#state = "connecting";
    this.#version = agreeVersion(frame);
    this.#asked = this.#version === "1.0"
      ? { send: 0, expect: 0 }
      : agreeHeartbeats(frame, this.#settings.heartbeat);
    this.#clientId = boundedName(frame, "client-id", frame.headers["client-id"] ?? "");
    return [{ do: "authenticate", token: findToken(frame), clientId: this.#clientId }];
  }

  #handle(frame: StompFrame): StompEffect[] {
    switch (frame.command) {
      case "SUBSCRIBE":
        return this.#subscribe(frame);
      case "UNSUBSCRIBE":
        return this.#unsubscribe(frame);
      case "SEND":
        return this.#send(frame);
      case "ACK":
      case "NACK":
        return this.#acknowledge(frame);
      case "BEGIN":
        this.#transactions.begin(frame);
        return [];
      case "COMMIT":
        return this.#commit(frame);
      case "ABORT":
        this.#transactions.end(frame);
        return [];
      case "DISCONNECT":
        return this.#disconnect(frame);
      default:
        throw frameRefused(frame, "command", "expected a command that STOMP gives to clients");
    }
  }

  #receipt(frame: StompFrame): StompEffect[] {
    const receipt = frame.headers["receipt"];
    if (receipt === undefined || frame.command === "DISCONNECT" || frame.command === "SUBSCRIBE") return [];
    return [this.#write("RECEIPT", { "receipt-id": receipt })];
  }

  #disconnect(frame: StompFrame): StompEffect[] {
    const receipt = frame.headers["receipt"];
    const effects: StompEffect[] = [];
    if (receipt !== undefined) effects.push(this.#write("RECEIPT", { "receipt-id": receipt }));
    this.#state = "closed";
    return [...effects, { do: "close", code: 1000, reason: "" }];
  }

  #subscribe(frame: StompFrame): StompEffect[] {
    const request = readSubscribe(frame, {
      version: this.#version,
      client: this.#clientId,
      prefixes: this.#settings.prefixes,
    });
    if (this.#subscriptions.has(request.id)) {
      throw frameRefused(frame, "id", "expected an id that no other subscription of this session has");
    }
    if (this.#subscriptions.size >= SUBSCRIPTIONS_MAX) {
      throw frameRefused(frame, "id", `expected at most ${SUBSCRIPTIONS_MAX} subscriptions`);
    }
    const subscription = new StompSubscription(request);
    this.#subscriptions.set(request.id, subscription);
    const receipt = frame.headers["receipt"];
    const confirm: StompEffect[] = receipt === undefined ? [] : [{ do: "confirm", subscription, receipt }];
    return [{ do: "open", subscription }, ...confirm, { do: "start", subscription }];
  }

  #unsubscribe(frame: StompFrame): StompEffect[] {
    const id = frame.headers["id"] ?? (this.#version === "1.0" ? frame.headers["destination"] : undefined);
    if (id === undefined) throw frameRefused(frame, "id", "expected an id");
    const subscription = this.#subscriptions.get(id);
    // gone already is what was asked for
    if (subscription === undefined) return [];
    this.#subscriptions.delete(id);
    return [{ do: "stop", subscription, forget: frame.headers["durable"] === "true" }];
  }

  #send(frame: StompFrame): StompEffect[] {
    const destination = required(frame, "destination");
    if (destination === RENEW) {
      const token = findToken(frame);
      if (token === undefined) throw frameRefused(frame, "authorization", "expected a fresh token");
      return [{ do: "renew", token }];
    }
    const target = parseTarget(destination, this.#user, this.#settings.prefixes);
    const publication = readSend(target, frame.headers, frame.body, this.#settings.shape);
    if (frame.headers["transaction"] === undefined) return [{ do: "publish", publications: [publication] }];
    this.#transactions.take(frame).publications.push(publication);
    return [];
  }

  #acknowledge(frame: StompFrame): StompEffect[] {
    this.#readAck(frame);
    if (frame.headers["transaction"] === undefined) return this.#settle([frame]);
    this.#transactions.take(frame).acks.push(frame);
    return [];
  }

  /** Which message, on which subscription; the latter is undefined where 1.0 does not say. */
  #readAck(frame: StompFrame): { item: string; subscription: string | undefined } {
    if (this.#version === "1.2") {
      const id = required(frame, "id");
      const at = id.indexOf("@");
      return at < 0
        ? { item: id, subscription: undefined }
        : { item: id.slice(0, at), subscription: id.slice(at + 1) };
    }
    return { item: required(frame, "message-id"), subscription: frame.headers["subscription"] };
  }

  #settle(frames: StompFrame[]): StompEffect[] {
    const seen = new Set<string>();
    const touched = new Set<StompSubscription>();
    for (const frame of frames) {
      const { item, subscription: id } = this.#readAck(frame);
      const named = id === undefined ? undefined : this.#subscriptions.get(id);
      const candidates = id === undefined
        ? [...this.#subscriptions.values()]
        : named === undefined
        ? []
        : [named];
      const settled = candidates.flatMap((each) => {
        const ids = each.settle(item);
        if (ids.length > 0) touched.add(each);
        return ids;
      });
      if (frame.command === "NACK") continue;
      // acknowledged once more, or in `auto` mode, or from before a reconnect: seen all the same
      for (const each of settled.length > 0 ? settled : [item]) {
        if (/^\d{1,18}$/.test(each)) seen.add(each);
      }
    }
    const effects: StompEffect[] = [];
    if (seen.size > 0) effects.push({ do: "mark", ids: [...seen] });
    for (const subscription of touched) effects.push({ do: "settled", subscription });
    return effects;
  }

  #commit(frame: StompFrame): StompEffect[] {
    const { publications, acks } = this.#transactions.end(frame);
    const effects: StompEffect[] = publications.length > 0 ? [{ do: "publish", publications }] : [];
    return [...effects, ...this.#settle(acks)];
  }

  #write(command: string, headers: Record<string, string>, body = ""): StompEffect {
    return { do: "write", text: encodeFrame(command, headers, body, this.#version) };
  }
}
