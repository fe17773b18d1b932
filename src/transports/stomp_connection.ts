/**
 * One STOMP connection: carries out what the session machine (stomp_session.ts) decides. It owns the socket from the
 * upgrade to its end, and everything that belongs to the client: readings, timers, presence.
 *
 * Invariants: frames are carried out one after the other, and while one is under way nothing more is read from the socket,
 * so a client can make the gateway hold no more than one message of the WebSocket. Who does not read the answers is asked no
 * more questions. Every end goes through `#end`, once.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { RawData, WebSocket } from "ws";
import { type CredentialsDeps, headOf, readCredentials } from "../auth/credentials.ts";
import type { Identity } from "../auth/identity.ts";
import { TidingsError } from "../errors.ts";
import type { Presence, PresenceHold } from "../feed/presence.ts";
import { PUBLISH_RATE, type RateLimit, TokenBucket } from "../feed/rate.ts";
import { CLOSE, type Publication } from "../protocol.ts";
import { BUFFER, expired, type TransportDeps } from "./negotiate.ts";
import type { Outlet } from "./stomp_delivery.ts";
import { STOMP_LIMITS, type StompFrame, StompParser } from "./stomp_frame.ts";
import { agreeVersion } from "./stomp_header.ts";
import { STOMP_SIZES, STOMP_TIMES } from "./stomp_limits.ts";
import { StompReadings, type StompReadingsDeps } from "./stomp_readings.ts";
import { type StompEffect, StompSession, type StompSettings } from "./stomp_session.ts";
import { Timers } from "./timers.ts";

/** What a connection is served with. */
export interface StompConnectionDeps extends StompReadingsDeps, Pick<TransportDeps, "credentials"> {
  settings: StompSettings;
  actions: {
    /** Checks and commits all, or none. @throws TidingsError */
    publishAll(identity: Identity, publications: readonly Publication[]): Promise<unknown>;
    /** Marks as seen what of these is in the person's inbox. */
    seen(identity: Identity, ids: readonly string[]): Promise<unknown>;
  };
  presence: Pick<Presence, "open">;
  /** @default PUBLISH_RATE */
  rate?: RateLimit;
}

/** Bytes in the socket from which held deliveries go on. */
const LOW_WATER = BUFFER / 4;
/** What the pings say that prove what was sent. */
const PROOF = "sent";
/** Before CONNECT. */
const LOGIN_LIMITS = { headerCount: 64, headerBytes: STOMP_SIZES.login, bodyBytes: 16 };

/** What an upgrade left. */
export interface Upgraded {
  ws: WebSocket;
  socket: Socket;
  request: IncomingMessage;
}

/** A connection, from the upgrade on. */
export class StompConnection implements Outlet {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #agent: string | undefined;
  readonly #handshake: Promise<Handshake>;
  readonly #deps: StompConnectionDeps;
  readonly #session: StompSession;
  readonly #parser = new StompParser(LOGIN_LIMITS);
  readonly #timers: Timers;
  readonly #over = new AbortController();
  readonly #id = crypto.randomUUID();
  readonly #bucket: TokenBucket;
  #inbox: StompFrame[] = [];
  /** What stopped the parser. */
  #broken: unknown;
  #working = false;
  #identity: Identity | undefined;
  #presence: PresenceHold | undefined;
  #readings: StompReadings | undefined;
  #full = false;
  /** Whether a ping is under way that proves what was sent, and whether more was sent since. */
  #proof: "none" | "asked" | "more" = "none";
  #heard: number;
  #wrote: number;
  #emptied: (() => void) | undefined;

  constructor(
    { ws, socket, request }: Upgraded,
    deps: StompConnectionDeps,
  ) {
    this.#ws = ws;
    this.#socket = socket;
    this.#agent = request.headers["user-agent"];
    this.#handshake = readHandshake(request, deps.credentials);
    this.#deps = deps;
    this.#session = new StompSession(deps.settings);
    this.#timers = new Timers(deps.clock);
    this.#heard = this.#wrote = deps.clock.now();
    this.#bucket = new TokenBucket(deps.rate ?? PUBLISH_RATE, this.#heard);
    this.#begin();
  }

  #begin(): void {
    const ws = this.#ws;
    ws.on("message", (data: RawData) => this.#hear(data));
    ws.on("pong", (data: Buffer) => this.#pong(data));
    // ws closes with the code that fits (1009, 1002, 1007); the peer learns it from there
    ws.on("error", () => this.#end());
    ws.once("close", () => this.#end());
    this.#boundLogin();
    this.#timers.after("login", STOMP_TIMES.login, () => {
      this.#fail(new TidingsError("request_timeout", "Cannot wait longer: expected CONNECT within 5 s"));
    });
    this.#ping();
  }

  get full(): boolean {
    return this.#full;
  }

  write(text: string): void {
    if (this.#over.signal.aborted) return;
    this.#wrote = this.#deps.clock.now();
    this.#ws.send(text, () => this.#drain());
    if (this.#ws.bufferedAmount >= BUFFER) this.#full = true;
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  deliver(text: string): void {
    this.write(text);
    if (this.#proof === "none") this.#askForProof();
    else this.#proof = "more";
  }

  /** A ping behind what was sent; its answer proves that the client has it. One is under way at most. */
  #askForProof(): void {
    this.#proof = "asked";
    // behind all that is being sent at the moment
    queueMicrotask(() => {
      if (this.#over.signal.aborted) return;
      this.#proof = "asked";
      this.#readings?.mark();
      this.#ws.ping(PROOF);
    });
  }

  #pong(data: Buffer): void {
    this.#heard = this.#deps.clock.now();
    if (data.toString() !== PROOF || this.#proof === "none") return;
    this.#readings?.prove();
    if (this.#proof === "more") this.#askForProof();
    else this.#proof = "none";
  }

  ended(error: TidingsError): void {
    if (error.code === "restarting") this.#close(CLOSE.restart, error.message);
    else this.#fail(error);
  }

  #drain(): void {
    if (!this.#full || this.#ws.bufferedAmount > LOW_WATER) return;
    this.#full = false;
    this.#emptied?.();
    this.#readings?.flow();
  }

  #hear(data: RawData): void {
    if (this.#over.signal.aborted) return;
    this.#heard = this.#deps.clock.now();
    this.#presence?.active();
    try {
      this.#parser.push(toBytes(data), {
        frame: (frame) => {
          // the next frame of the same message is read in the version that this one asks for
          if (isConnect(frame)) this.#agree(frame);
          this.#inbox.push(frame);
        },
        beat: () => {},
      });
    } catch (error) {
      // frames before the bad one are carried out first
      this.#inbox.push(BROKEN);
      this.#broken = error;
    }
    if (!this.#parser.incomplete) this.#timers.cancel("frame");
    else if (!this.#timers.has("frame")) {
      this.#timers.after("frame", STOMP_TIMES.frame, () => {
        this.#fail(
          new TidingsError("request_timeout", "Cannot wait longer: a frame began 30 s ago and has no end"),
        );
      });
    }
    if (this.#inbox.length > 0 && !this.#working) this.#work();
  }

  /** Counts bytes, not messages: a large or a split CONNECT is not gathered first. */
  #boundLogin(): void {
    const start = this.#socket.bytesRead;
    const count = () => {
      if (this.#identity !== undefined || this.#over.signal.aborted) this.#socket.off("data", count);
      else if (this.#socket.bytesRead - start > STOMP_SIZES.login) {
        const message =
          `Cannot read CONNECT: expected at most ${STOMP_SIZES.login} bytes before it is answered`;
        this.#fail(new TidingsError("too_large", message));
      }
    };
    this.#socket.on("data", count);
  }

  #agree(frame: StompFrame): void {
    try {
      this.#parser.version = agreeVersion(frame);
    } catch (error) {
      // the session will say so when it comes to this frame
      if (!(error instanceof TidingsError)) throw error;
    }
  }

  /** Carries out what is in the inbox, one frame after the other. Never rejects. */
  async #work(): Promise<void> {
    this.#working = true;
    this.#ws.pause();
    for (let frame = this.#inbox.shift(); frame !== undefined; frame = this.#inbox.shift()) {
      // who reads no answers is asked no more questions
      if (this.#full) await new Promise<void>((resolve) => this.#emptied = resolve);
      if (this.#over.signal.aborted) return;
      try {
        if (frame === BROKEN) throw this.#broken;
        for (const effect of this.#session.receive(frame)) {
          await this.#do(effect);
          if (this.#over.signal.aborted) return;
        }
      } catch (error) {
        this.#fail(error, frame === BROKEN ? undefined : frame);
        return;
      }
    }
    this.#working = false;
    // while it was paused, what the client sent waited
    this.#heard = this.#deps.clock.now();
    this.#ws.resume();
  }

  async #do(effect: StompEffect): Promise<void> {
    switch (effect.do) {
      case "write":
        this.write(effect.text);
        return;
      case "close":
        this.#close(effect.code, effect.reason);
        return;
      case "authenticate":
        return await this.#authenticate(effect.token);
      case "renew":
        return await this.#renew(effect.token);
      case "open":
        return await this.#readings?.open(effect.subscription, this.#who());
      case "confirm":
        this.write(this.#session.receipt(effect.receipt, this.#readings?.cursor(effect.subscription) ?? ""));
        return;
      case "start":
        this.#readings?.start(effect.subscription);
        return;
      case "stop":
        return await this.#readings?.stop(effect.subscription, effect.forget);
      case "publish":
        return await this.#publish(effect.publications);
      case "mark":
        await this.#deps.actions.seen(this.#who(), effect.ids);
        return;
      case "settled":
        this.#readings?.settled(effect.subscription);
        return;
    }
  }

  async #authenticate(token: string | undefined): Promise<void> {
    const identity = await this.#identify(token);
    if (this.#over.signal.aborted) return;
    this.#timers.cancel("login");
    this.#adopt(identity);
    this.#presence = this.#deps.presence.open({
      id: this.#id,
      user: identity.user,
      transport: "stomp",
      ...(this.#agent === undefined ? {} : { userAgent: this.#agent }),
    });
    this.#readings = new StompReadings(
      this.#deps,
      { user: identity.user, userAgent: this.#agent, presence: this.#presence },
      this.#session,
      this,
    );
    this.#parser.limits = STOMP_LIMITS;
    for (const effect of this.#session.accept(this.#id, identity.user)) await this.#do(effect);
    this.#beat();
    this.#timers.every("keep", STOMP_TIMES.keep, () => {
      this.#readings?.keep();
      return true;
    });
  }

  /** CONNECT's token decides; without one, what came with the handshake. A foreign origin is refused either way. */
  async #identify(token: string | undefined): Promise<Identity> {
    const { identity, error } = await this.#handshake;
    const outlived = error?.code === "invalid_token" || error?.code === "token_expired";
    if (error !== undefined && (token === undefined || !outlived)) throw error;
    if (token !== undefined) return await this.#deps.credentials.verifier.verify(token);
    if (identity !== undefined) return identity;
    throw new TidingsError(
      "token_required",
      "Cannot tell who this is: send the header Authorization: Bearer <token> with CONNECT",
    );
  }

  async #renew(token: string): Promise<void> {
    const identity = await this.#deps.credentials.verifier.verify(token);
    if (identity.user !== this.#who().user) {
      throw new TidingsError("invalid_token", "Cannot go on with this token: it is another person's");
    }
    const topics = [...this.#session.subscriptions].flatMap(({ request: { source } }) =>
      source.kind === "topic" ? [source.topic] : []
    );
    await this.#deps.authorize(identity, topics);
    this.#adopt(identity);
  }

  #adopt(identity: Identity): void {
    this.#identity = identity;
    if (identity.expiresAt === undefined) return this.#timers.cancel("expiry");
    this.#timers.after("expiry", identity.expiresAt - this.#deps.clock.now(), () => this.#fail(expired()));
  }

  #who(): Identity {
    if (this.#identity === undefined) {
      throw new TidingsError("token_required", "Cannot do this before CONNECT");
    }
    return this.#identity;
  }

  async #publish(publications: readonly Publication[]): Promise<void> {
    await this.#pace(publications.length);
    await this.#deps.actions.publishAll(this.#who(), publications);
  }

  /** A client that sends too fast waits, and with it all that it sends; one that would wait too long is refused. */
  async #pace(count: number): Promise<void> {
    const { clock } = this.#deps;
    for (
      let wait = this.#bucket.take(count, clock.now());
      wait > 0;
      wait = this.#bucket.take(count, clock.now())
    ) {
      if (wait > STOMP_TIMES.pace) {
        throw new TidingsError("too_many_requests", "Cannot publish so much at once: send less, or slower", {
          retryAfter: Math.ceil(wait / 1_000),
        });
      }
      await clock.sleep(wait, this.#over.signal);
    }
  }

  /** Both directions of heart-beats, as agreed. */
  #beat(): void {
    const { send, expect } = this.#session.heartbeats;
    const { clock } = this.#deps;
    if (send > 0) {
      this.#timers.every("send", send, () => {
        if (clock.now() - this.#wrote >= send * 0.9) this.write("\n");
        return true;
      });
    }
    // twice the time: what is on its way is no silence
    if (expect > 0) this.#timers.every("expect", expect, () => this.#alive(clock.now() - expect * 2));
  }

  /** Finds out about peers that are gone without a word, whether or not heart-beats were agreed. */
  #ping(): void {
    const { clock } = this.#deps;
    let asked = clock.now();
    this.#ws.ping();
    this.#timers.every("ping", STOMP_TIMES.ping, () => {
      if (!this.#alive(asked)) return false;
      asked = clock.now();
      this.#ws.ping();
      return true;
    });
  }

  /** Cuts the connection unless something was heard since. While it is paused, nothing could be. */
  #alive(since: number): boolean {
    if (this.#heard >= since || this.#working) return true;
    this.#cut();
    return false;
  }

  #cut(): void {
    this.#session.end();
    this.#close(CLOSE.notReading, "Nothing was heard of the client");
    this.#ws.terminate();
  }

  #fail(error: unknown, frame?: StompFrame): void {
    if (this.#over.signal.aborted) return;
    if (!(error instanceof TidingsError) || error.code === "internal") this.#deps.failed(error);
    for (const effect of this.#session.fail(error, frame)) {
      if (effect.do === "write") this.write(effect.text);
      else if (effect.do === "close") this.#close(effect.code, effect.reason);
    }
  }

  #close(code: number, reason: string): void {
    this.#session.end();
    this.#end();
    // reads what is left, the answer to the close among it
    this.#ws.resume();
    this.#ws.close(code, reason.slice(0, 100));
  }

  #end(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#timers.clear();
    this.#readings?.end();
    this.#presence?.close();
    this.#inbox = [];
    this.#emptied?.();
  }
}

/** What the upgrade request said of who comes. */
interface Handshake {
  identity?: Identity;
  error?: TidingsError;
}

/** Never rejects: what is wrong with the handshake's credentials is told when CONNECT has come. */
async function readHandshake(request: IncomingMessage, deps: CredentialsDeps): Promise<Handshake> {
  try {
    const credentials = await readCredentials(headOf(request, true), deps);
    return credentials.kind === "none" ? {} : { identity: credentials.identity };
  } catch (error) {
    return {
      error: error instanceof TidingsError
        ? error
        : new TidingsError("internal", "The error was logged", { cause: error }),
    };
  }
}

/** Stands in the inbox for what could not be read. */
const BROKEN: StompFrame = { command: "", headers: {}, body: new Uint8Array(0) };

function isConnect(frame: StompFrame): boolean {
  return frame.command === "CONNECT" || frame.command === "STOMP";
}

function toBytes(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
