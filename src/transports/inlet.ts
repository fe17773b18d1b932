/**
 * The frames of one WebSocket client, let in one after the other.
 *
 * Invariants:
 * - Until it is known who sends, 8 KiB are read and one frame is let in; what comes after it waits in the network.
 * - Frames are worked on in order. While as many wait as may, nothing more is read from the socket: the client is slowed down.
 * - More frames than the rate allows end the session.
 * @module
 */
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { Clock } from "../clock.ts";
import { TidingsError } from "../errors.ts";

/** Bounds on what a client sends. */
export const INLET = {
  /** Bytes before it has said who it is. */
  hello: 8 * 1024,
  /** Frames, and their bytes, that wait to be worked on before no more are read. */
  waiting: 64,
  waitingBytes: 1024 * 1024,
  /** Frames a second in the long run, and at once. */
  rate: 50,
  burst: 200,
} as const;

/** Who works on the frames. */
export interface InletDeps {
  clock: Clock;
  /** Works on one frame. Must not reject. */
  work(text: string): Promise<void>;
  /** Something came, whatever it was. */
  heard(): void;
  /** What was sent goes beyond a bound, or is no text: the session has to end. */
  refuse(error: TidingsError): void;
}

/** The inlet of one connection. */
export class Inlet {
  readonly #ws: WebSocket;
  readonly #deps: InletDeps;
  #line: Promise<void> = Promise.resolve();
  #waiting = 0;
  #waitingBytes = 0;
  #known = false;
  #closed = false;
  /** Ends the counting of bytes before it is known who sends. */
  #unbound: () => void = () => undefined;
  #allowance: number = INLET.burst;
  #refilled: number;

  constructor(ws: WebSocket, socket: Socket, deps: InletDeps) {
    this.#ws = ws;
    this.#deps = deps;
    this.#refilled = deps.clock.now();
    ws.on("message", (data, binary) => this.#receive(data as Buffer, binary));
    this.#boundHello(socket);
  }

  /** It is known who sends: the wide bounds hold. */
  trust(): void {
    this.#known = true;
    this.#unbound();
  }

  /** Works on something of our own in line with the frames. */
  run(work: () => Promise<void>): void {
    this.#enqueue(work, 0);
  }

  /** Lets nothing in any more; what comes is dropped. */
  close(): void {
    this.#closed = true;
    this.#unbound();
    // the peer's close frame has to be read
    this.#ws.resume();
  }

  /** Counts bytes as they come, so that a `hello` in many fragments is not gathered first. */
  #boundHello(socket: Socket): void {
    let bytes = 0;
    const count = (chunk: Buffer) => {
      // ws has looked at the chunk already: hello is whole, and what follows it waits
      if (this.#waiting > 0) return;
      bytes += chunk.length;
      if (bytes > INLET.hello) this.#deps.refuse(helloTooLarge());
    };
    socket.on("data", count);
    this.#unbound = () => {
      socket.off("data", count);
      this.#unbound = () => undefined;
    };
  }

  #receive(bytes: Buffer, binary: boolean): void {
    if (this.#closed) return;
    const { refuse, heard, work } = this.#deps;
    heard();
    if (binary) {
      return refuse(new TidingsError("protocol_error", "Cannot read the frame: expected text, got binary"));
    }
    if (!this.#known && this.#waiting === 0 && bytes.length > INLET.hello) return refuse(helloTooLarge());
    if (!this.#mayReceive()) {
      return refuse(
        new TidingsError("too_many_requests", `Cannot read on: more than ${INLET.rate} frames a second`, {
          retryAfter: 1,
        }),
      );
    }
    const text = bytes.toString();
    this.#enqueue(() => this.#closed ? Promise.resolve() : work(text), bytes.length);
  }

  #mayReceive(): boolean {
    const now = this.#deps.clock.now();
    const earned = Math.max(0, now - this.#refilled) * INLET.rate / 1_000;
    this.#allowance = Math.min(INLET.burst, this.#allowance + earned);
    this.#refilled = now;
    if (this.#allowance < 1) return false;
    this.#allowance--;
    return true;
  }

  #enqueue(work: () => Promise<void>, bytes: number): void {
    this.#waiting++;
    this.#waitingBytes += bytes;
    if (this.#full && !this.#closed) this.#ws.pause();
    this.#line = this.#line.then(work).then(() => {
      this.#waiting--;
      this.#waitingBytes -= bytes;
      if (this.#ws.isPaused && !this.#full) this.#ws.resume();
    });
  }

  get #full(): boolean {
    if (!this.#known) return this.#waiting > 0;
    return this.#waiting >= INLET.waiting || this.#waitingBytes >= INLET.waitingBytes;
  }
}

function helloTooLarge(): TidingsError {
  return new TidingsError("too_large", `Cannot read hello: expected at most ${INLET.hello} bytes`);
}
