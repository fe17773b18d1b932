/**
 * What a STOMP client sends, from messages of the socket to frames.
 *
 * Invariants: frames before a bad one come before the error; a frame that has begun is whole within 30 s, or the connection
 * fails; what comes in one message with CONNECT is read in the version that CONNECT asks for.
 * @module
 */
import type { RawData } from "ws";
import { TidingsError } from "../errors.ts";
import { STOMP_LIMITS, type StompFrame, StompParser } from "./stomp_frame.ts";
import { agreeVersion } from "./stomp_header.ts";
import { STOMP_SIZES, STOMP_TIMES } from "./stomp_limits.ts";
import type { Timers } from "./timers.ts";

/** Before CONNECT. */
const LOGIN_LIMITS = { headerCount: 64, headerBytes: STOMP_SIZES.login, bodyBytes: 16 };

/** One after the other: a frame, or what stopped the parser, after which nothing comes. */
export type Taken = { frame: StompFrame } | { broken: unknown };

/** The intake of one connection. */
export class StompIntake {
  readonly #parser = new StompParser(LOGIN_LIMITS);
  readonly #timers: Timers;
  readonly #fail: (error: TidingsError) => void;
  #taken: Taken[] = [];

  constructor(timers: Timers, fail: (error: TidingsError) => void) {
    this.#timers = timers;
    this.#fail = fail;
  }

  /** Takes a message. */
  push(data: RawData): void {
    let ended = false;
    try {
      this.#parser.push(toBytes(data), {
        frame: (frame) => {
          ended = true;
          // the next frame of the same message is read in the version that this one asks for
          if (isConnect(frame)) this.#agree(frame);
          this.#taken.push({ frame });
        },
        beat: () => {},
      });
    } catch (broken) {
      this.#taken.push({ broken });
    }
    if (ended || !this.#parser.incomplete) this.#timers.cancel("frame");
    if (!this.#parser.incomplete || this.#timers.has("frame")) return;
    this.#timers.after("frame", STOMP_TIMES.frame, () => {
      const waited = `${STOMP_TIMES.frame / 1_000} s`;
      this.#fail(
        new TidingsError(
          "request_timeout",
          `Cannot wait longer: a frame began ${waited} ago and has no end`,
        ),
      );
    });
  }

  /** The next frame, or what is wrong with it. */
  shift(): Taken | undefined {
    return this.#taken.shift();
  }

  get empty(): boolean {
    return this.#taken.length === 0;
  }

  /** The client is known: its frames may be as large as anybody's. */
  trust(): void {
    this.#parser.limits = STOMP_LIMITS;
  }

  /** What was taken is no longer wanted. */
  clear(): void {
    this.#taken = [];
  }

  #agree(frame: StompFrame): void {
    try {
      this.#parser.version = agreeVersion(frame);
    } catch (error) {
      // the session will say so when it comes to this frame
      if (!(error instanceof TidingsError)) throw error;
    }
  }
}

function isConnect(frame: StompFrame): boolean {
  return frame.command === "CONNECT" || frame.command === "STOMP";
}

function toBytes(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
