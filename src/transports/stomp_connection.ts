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
import type { RawData } from "ws";
import type { Identity } from "../auth/identity.ts";
import { TidingsError } from "../errors.ts";
import type { Presence, PresenceHold } from "../feed/presence.ts";
import { PUBLISH_RATE, type RateLimit, TokenBucket } from "../feed/rate.ts";
import { CLOSE, type Publication } from "../protocol.ts";
import { BUFFER, expired, type TransportDeps } from "./negotiate.ts";
import type { Outlet } from "./stomp_delivery.ts";
import type { StompFrame } from "./stomp_frame.ts";
import { type Handshake, identify, readHandshake } from "./stomp_handshake.ts";
import { StompIntake } from "./stomp_intake.ts";
import { STOMP_SIZES, STOMP_TIMES } from "./stomp_limits.ts";
import { type PulseOwner, StompPulse } from "./stomp_pulse.ts";
import { StompReadings, type StompReadingsDeps } from "./stomp_readings.ts";
import { type StompEffect, StompSession, type StompSettings } from "./stomp_session.ts";
import type { StompSocket } from "./stomp_socket.ts";
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
/** What an upgrade left. */
export interface Upgraded {
  ws: StompSocket;
  socket: Socket;
  request: IncomingMessage;
}

/** A connection, from the upgrade on. */
export class StompConnection implements Outlet, PulseOwner {
  readonly #ws: StompSocket;
  readonly #socket: Socket;
  readonly #agent: string | undefined;
  readonly #handshake: Promise<Handshake>;
  readonly #deps: StompConnectionDeps;
  readonly #session: StompSession;
  readonly #timers: Timers;
  readonly #intake: StompIntake;
  readonly #pulse: StompPulse;
  readonly #over = new AbortController();
  readonly #id = crypto.randomUUID();
  readonly #bucket: TokenBucket;
  #working = false;
  #identity: Identity | undefined;
  #presence: PresenceHold | undefined;
  #readings: StompReadings | undefined;
  #full = false;
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
    this.#bucket = new TokenBucket(deps.rate ?? PUBLISH_RATE, deps.clock.now());
    this.#intake = new StompIntake(this.#timers, (error) => this.#fail(error));
    this.#pulse = new StompPulse(ws, deps.clock, this.#timers, this);
    this.#begin();
  }

  #begin(): void {
    const ws = this.#ws;
    ws.on("message", (data) => this.#hear(data));
    // ws closes with the code that fits (1009, 1002, 1007); the peer learns it from there
    ws.on("error", () => this.#end());
    ws.on("close", () => this.#end());
    this.#boundLogin();
    this.#timers.after("login", STOMP_TIMES.login, () => {
      this.#fail(new TidingsError("request_timeout", "Cannot wait longer: expected CONNECT within 5 s"));
    });
  }

  get full(): boolean {
    return this.#full;
  }

  write(text: string): void {
    if (this.#over.signal.aborted) return;
    this.#pulse.wrote();
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
    this.#pulse.sent();
  }

  get over(): boolean {
    return this.#over.signal.aborted;
  }

  /** While it is at work, nothing is read. */
  get deaf(): boolean {
    return this.#working;
  }

  beat(): void {
    this.write("\n");
  }

  mark(): void {
    this.#readings?.mark();
  }

  prove(): void {
    this.#readings?.prove();
  }

  cut(): void {
    this.#session.end();
    this.#close(CLOSE.notReading, "Nothing was heard of the client");
    this.#ws.terminate();
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
    this.#pulse.heard();
    this.#presence?.active();
    this.#intake.push(data);
    if (!this.#intake.empty && !this.#working) this.#work();
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

  /** Carries out what was taken in, one frame after the other. Never rejects. */
  async #work(): Promise<void> {
    this.#working = true;
    this.#ws.pause();
    for (let taken = this.#intake.shift(); taken !== undefined; taken = this.#intake.shift()) {
      // who reads no answers is asked no more questions
      if (this.#full) await new Promise<void>((resolve) => this.#emptied = resolve);
      if (this.#over.signal.aborted) return;
      try {
        if ("broken" in taken) throw taken.broken;
        for (const effect of this.#session.receive(taken.frame)) {
          await this.#do(effect);
          if (this.#over.signal.aborted) return;
        }
      } catch (error) {
        this.#fail(error, "frame" in taken ? taken.frame : undefined);
        return;
      }
    }
    this.#working = false;
    // while it was paused, what the client sent waited
    this.#pulse.heard();
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
    const identity = await identify(await this.#handshake, token, this.#deps.credentials);
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
    this.#intake.trust();
    for (const effect of this.#session.accept(this.#id, identity.user)) await this.#do(effect);
    this.#pulse.keep(this.#session.heartbeats);
    this.#timers.every("keep", STOMP_TIMES.keep, () => {
      this.#readings?.keep();
      return true;
    });
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
    this.#intake.clear();
    this.#emptied?.();
  }
}
