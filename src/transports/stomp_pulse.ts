/**
 * The signs of life of one STOMP connection: heart-beats in both directions as agreed, pings of the WebSocket that find out
 * about peers that are gone without a word, and pings behind messages whose answers prove that the messages came.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Heartbeats } from "./stomp_header.ts";
import { STOMP_TIMES } from "./stomp_limits.ts";
import type { StompSocket } from "./stomp_socket.ts";
import type { Timers } from "./timers.ts";

/** What the pings say that prove what was sent. */
const PROOF = "sent";

/** Whom the pulse is for. */
export interface PulseOwner {
  /** Whether nothing is read from the socket at the moment, so that nothing could be heard. */
  readonly deaf: boolean;
  readonly over: boolean;
  /** Sends a heart-beat. */
  beat(): void;
  /** Notes what was sent so far: the next `prove` is about it. */
  mark(): void;
  prove(): void;
  /** Nothing was heard for too long. */
  cut(): void;
}

/** The pulse of one connection. */
export class StompPulse {
  readonly #socket: StompSocket;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #owner: PulseOwner;
  /** Whether a ping is under way that proves what was sent, and whether more was sent since. */
  #proof: "none" | "asked" | "more" = "none";
  /** When the client said something; and when it did or answered a ping. */
  #said: number;
  #heard: number;
  #wrote: number;

  constructor(socket: StompSocket, clock: Clock, timers: Timers, owner: PulseOwner) {
    this.#socket = socket;
    this.#clock = clock;
    this.#timers = timers;
    this.#owner = owner;
    this.#said = this.#heard = this.#wrote = clock.now();
    socket.on("pong", (data) => this.#pong(data));
    this.#ping();
  }

  /** The client said something. */
  heard(): void {
    this.#said = this.#heard = this.#clock.now();
  }

  /** Something was written. */
  wrote(): void {
    this.#wrote = this.#clock.now();
  }

  /** A message was written, and it matters whether it came. One ping is under way at most. */
  sent(): void {
    if (this.#proof === "none") this.#askForProof();
    else this.#proof = "more";
  }

  /** Keeps what was agreed. */
  keep({ send, expect }: Heartbeats): void {
    // a little early: what is promised is a sign of life in every such time
    if (send > 0) this.#beat(send * 0.9);
    // twice the time: what is on its way is no silence. A client that promised to speak is not excused by answering pings.
    if (expect > 0) {
      this.#timers.every("expect", expect, () => this.#alive(this.#said, this.#clock.now() - expect * 2));
    }
  }

  /** So long after whatever was written last. */
  #beat(quiet: number): void {
    this.#timers.after("send", this.#wrote + quiet - this.#clock.now(), () => {
      if (this.#clock.now() - this.#wrote >= quiet) this.#owner.beat();
      this.#beat(quiet);
    });
  }

  #askForProof(): void {
    this.#proof = "asked";
    // behind all that is being sent at the moment
    queueMicrotask(() => {
      if (this.#owner.over) return;
      this.#proof = "asked";
      this.#owner.mark();
      this.#socket.ping(PROOF);
    });
  }

  #pong(data: Buffer): void {
    this.#heard = this.#clock.now();
    if (data.toString() !== PROOF || this.#proof === "none") return;
    this.#owner.prove();
    if (this.#proof === "more") this.#askForProof();
    else this.#proof = "none";
  }

  /** Whether or not heart-beats were agreed. */
  #ping(): void {
    let asked = this.#clock.now();
    this.#socket.ping();
    this.#timers.every("ping", STOMP_TIMES.ping, () => {
      if (!this.#alive(this.#heard, asked)) return false;
      asked = this.#clock.now();
      this.#socket.ping();
      return true;
    });
  }

  /** Cuts the connection unless the last sign of life is from since then. */
  #alive(sign: number, since: number): boolean {
    if (sign >= since || this.#owner.deaf) return true;
    this.#owner.cut();
    return false;
  }
}
