/**
 * Cuts connections whose peer stopped reading, whatever is spoken on them: one sweep looks at all sockets.
 *
 * A socket is stalled when bytes wait in its outgoing buffer and none of them has left for `timeout`. A peer that reads
 * slowly but steadily is left alone. Progress is seen per write, since a socket counts a write's bytes as gone when the whole
 * write is gone: **whoever writes to a guarded socket keeps single writes to about {@link WRITE_UNIT} bytes** and waits for
 * `drain` in between, or a slow reader of one enormous write looks like one who reads nothing.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import { type Clock, systemClock } from "./clock.ts";
import type { Service } from "./service.ts";

/** Bytes in one write that still let slow progress be seen. */
export const WRITE_UNIT = 16 * 1024;

/** The part of `node:net`'s Socket that the guard needs. */
export interface GuardedSocket {
  /** All bytes ever written, those that still wait included. */
  readonly bytesWritten: number;
  /** Bytes that wait. */
  readonly writableLength: number;
  destroy(): unknown;
}

/** How long, how often, by which clock. Milliseconds. */
export interface StallOptions {
  /** @default 30_000 */
  timeout?: number;
  /** Between two sweeps. @default 1_000 */
  interval?: number;
  clock?: Clock;
}

/** What was seen of one socket. */
interface Progress {
  drained: number;
  /** When `drained` last changed, or nothing waited. */
  at: number;
  onStall: (() => void) | undefined;
}

/** The guard of all sockets of one server. */
export class StallGuard implements Service {
  readonly name = "stall guard";
  readonly #timeout: number;
  readonly #interval: number;
  readonly #clock: Clock;
  readonly #sockets = new Map<GuardedSocket, Progress>();
  #cancel: (() => void) | undefined;

  constructor(options: StallOptions = {}) {
    this.#timeout = options.timeout ?? 30_000;
    this.#interval = options.interval ?? 1_000;
    this.#clock = options.clock ?? systemClock;
  }

  /** How many sockets are watched. */
  get size(): number {
    return this.#sockets.size;
  }

  /** Begins to watch a socket. */
  watch(socket: GuardedSocket): void {
    this.#sockets.set(socket, { drained: drained(socket), at: this.#clock.now(), onStall: undefined });
  }

  /** Forgets a socket; to be called when it closes. */
  forget(socket: GuardedSocket): void {
    this.#sockets.delete(socket);
  }

  /**
   * Registers what to do just before a stalled socket is destroyed; the last one registered counts, `undefined` takes it
   * back. Does nothing for a socket that is not watched.
   */
  onStall(socket: GuardedSocket, run: (() => void) | undefined): void {
    const progress = this.#sockets.get(socket);
    if (progress !== undefined) progress.onStall = run;
  }

  /** Looks at every socket once and destroys the stalled ones; returns how many. */
  sweep(): number {
    const now = this.#clock.now();
    let cut = 0;
    for (const [socket, progress] of this.#sockets) {
      const gone = drained(socket);
      if (socket.writableLength === 0 || gone !== progress.drained) {
        progress.drained = gone;
        progress.at = now;
      } else if (now - progress.at >= this.#timeout) {
        this.#sockets.delete(socket);
        cut++;
        try {
          progress.onStall?.();
        } catch (error) {
          getLogger(["tidings", "http"]).error("A stalled connection's owner failed: {error}", { error });
        }
        socket.destroy();
      }
    }
    return cut;
  }

  start(): Promise<void> {
    this.#schedule();
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
    return Promise.resolve();
  }

  #schedule(): void {
    this.#cancel = this.#clock.after(this.#interval, () => {
      const cut = this.sweep();
      if (cut > 0) {
        getLogger(["tidings", "http"]).info("Cut {cut} connections that read nothing for {seconds} s", {
          cut,
          seconds: this.#timeout / 1_000,
        });
      }
      this.#schedule();
    });
  }
}

function drained(socket: GuardedSocket): number {
  return socket.bytesWritten - socket.writableLength;
}
