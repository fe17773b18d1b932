/**
 * STOMP frames, versions 1.0 to 1.2: an incremental, bounded parser and an encoder. Pure.
 *
 * Strict where leniency would let two readers of one byte stream disagree: lengths, NULs, escapes, UTF-8, bare carriage
 * returns. Lenient where every client in use needs it: a colon inside a header's value, a carriage return before a line
 * feed in any version, white space around names and values in 1.0 and in CONNECT. A parser that has thrown stays broken
 * and throws the same again. What it holds never exceeds `limits`, whatever arrives.
 *
 * Sources: stomp.github.io, specifications 1.0, 1.1, 1.2.
 * @module
 */
import { TidingsError } from "../errors.ts";

/** The versions spoken, best last. */
export const STOMP_VERSIONS = ["1.0", "1.1", "1.2"] as const;

/** A version of the protocol. */
export type StompVersion = typeof STOMP_VERSIONS[number];

/** One frame. Header names are unique when parsed: of repeated ones the first counts, as the specification demands. */
export interface StompFrame {
  command: string;
  headers: Readonly<Record<string, string>>;
  body: Uint8Array;
}

/** What a parser holds at most. */
export interface StompLimits {
  /** Headers in one frame. */
  headerCount: number;
  /** Bytes of the command and all header lines of one frame, line ends included. */
  headerBytes: number;
  /** Bytes of one body. */
  bodyBytes: number;
}

/** Enough for the largest notification there can be. */
export const STOMP_LIMITS: StompLimits = { headerCount: 64, headerBytes: 16 * 1024, bodyBytes: 512 * 1024 };

/** Everything that can be wrong with a frame; the name is the `field` of the error, the text its message. */
export const FRAME_ERRORS = {
  command: "expected a command of 1 to 16 capital letters on a line of its own",
  header: "expected <name>:<value>, with a name",
  "header-count": "too many headers in one frame",
  "header-bytes": "the command and headers are too large",
  "carriage-return": "expected a line feed after a carriage return",
  nul: "expected a blank line before the body, found NUL among the headers",
  utf8: "expected UTF-8 in the command and headers",
  escape: "expected only the escapes that this version defines",
  "content-length": "expected decimal digits, and no more than 9 of them",
  terminator: "expected NUL after content-length bytes",
  "body-bytes": "the body is too large",
} as const;

/** The name of something wrong with a frame. */
export type FrameErrorName = keyof typeof FRAME_ERRORS;

/** Receives what the parser finds, in order, while it reads. */
export interface FrameSink {
  frame(frame: StompFrame): void;
  /** A line end between frames. */
  beat(): void;
}

const LF = 10;
const CR = 13;
const NUL = 0;
const TOO_LARGE: readonly FrameErrorName[] = ["header-count", "header-bytes", "body-bytes"];
const EMPTY = new Uint8Array(0);
const COMMAND = /^[A-Z]{1,16}$/;
const DIGITS = /^[0-9]{1,9}$/;

/** Reads frames out of bytes that arrive in any pieces. */
export class StompParser {
  /** Escapes are read as this version defines them; set it when the version is agreed. @default "1.2" */
  version: StompVersion = "1.2";
  limits: StompLimits;
  #state: "between" | "head" | "body" = "between";
  #line = new Bytes();
  #headBytes = 0;
  #headerCount = 0;
  #command = "";
  #headers: Record<string, string> = {};
  /** Bytes the body still lacks; undefined: it ends at the first NUL. */
  #remaining: number | undefined;
  #body = new Bytes();
  #failure: { error: unknown } | undefined;

  constructor(limits: StompLimits = STOMP_LIMITS) {
    this.limits = limits;
  }

  /** Whether a frame has begun and not ended: a client that stays so is stalling. */
  get incomplete(): boolean {
    return this.#state !== "between";
  }

  /** Bytes held for the frame that has begun. */
  get held(): number {
    return this.#headBytes + this.#body.length;
  }

  /**
   * Reads one piece. Throws `protocol_error` or `too_large` with the FrameErrorName in `details.errors[0].field`, after
   * the frames before the bad one went to the sink; what the sink throws ends the reading as well.
   */
  push(chunk: Uint8Array, sink: FrameSink): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    try {
      let at = 0;
      while (at < chunk.length) {
        if (this.#state === "between") at = this.#between(chunk, at, sink);
        else if (this.#state === "head") at = this.#head(chunk, at);
        else at = this.#bodyPart(chunk, at, sink);
      }
    } catch (error) {
      this.#failure = { error };
      this.#reset();
      throw error;
    }
  }

  #between(chunk: Uint8Array, at: number, sink: FrameSink): number {
    const byte = chunk[at];
    if (byte === LF) {
      if (this.#line.length > 0) this.#line.take();
      sink.beat();
      return at + 1;
    }
    // a carriage return that no line feed follows is no line end; it is held until the next byte tells
    if (this.#line.length > 0) throw frameError("carriage-return");
    if (byte === CR) {
      this.#line.add(chunk.subarray(at, at + 1));
      return at + 1;
    }
    this.#state = "head";
    return at;
  }

  #head(chunk: Uint8Array, at: number): number {
    const end = chunk.indexOf(LF, at);
    const piece = chunk.subarray(at, end < 0 ? chunk.length : end);
    this.#headBytes += piece.length + (end < 0 ? 0 : 1);
    if (this.#headBytes > this.limits.headerBytes) throw frameError("header-bytes");
    if (piece.includes(NUL)) throw frameError("nul");
    this.#line.add(piece);
    if (this.#command === "" && this.#line.length > 17) throw frameError("command");
    if (end < 0) return chunk.length;
    this.#headLine(decodeLine(this.#line.take()));
    return end + 1;
  }

  #headLine(line: string): void {
    if (this.#command === "") {
      if (!COMMAND.test(line)) throw frameError("command");
      this.#command = line;
      return;
    }
    if (line === "") return this.#beginBody();
    if (++this.#headerCount > this.limits.headerCount) throw frameError("header-count");
    const colon = line.indexOf(":");
    if (colon < 1) throw frameError("header");
    const version = this.#command === "CONNECT" || this.#command === "CONNECTED" ? "1.0" : this.version;
    const name = unescape(line.slice(0, colon), version);
    const value = unescape(line.slice(colon + 1), version);
    if (!Object.hasOwn(this.#headers, name)) set(this.#headers, name, value);
  }

  #beginBody(): void {
    this.#state = "body";
    const announced = this.#headers["content-length"];
    if (announced === undefined) return;
    const text = announced.trim();
    if (!DIGITS.test(text)) throw frameError("content-length");
    this.#remaining = Number(text);
    if (this.#remaining > this.limits.bodyBytes) throw frameError("body-bytes");
  }

  #bodyPart(chunk: Uint8Array, at: number, sink: FrameSink): number {
    if (this.#remaining === undefined) {
      const end = chunk.indexOf(NUL, at);
      const piece = chunk.subarray(at, end < 0 ? chunk.length : end);
      if (this.#body.length + piece.length > this.limits.bodyBytes) throw frameError("body-bytes");
      this.#body.add(piece);
      if (end < 0) return chunk.length;
      this.#emit(sink);
      return end + 1;
    }
    if (this.#remaining > 0) {
      const piece = chunk.subarray(at, at + this.#remaining);
      this.#body.add(piece);
      this.#remaining -= piece.length;
      return at + piece.length;
    }
    if (chunk[at] !== NUL) throw frameError("terminator");
    this.#emit(sink);
    return at + 1;
  }

  #emit(sink: FrameSink): void {
    const frame = { command: this.#command, headers: this.#headers, body: this.#body.take() };
    this.#reset();
    sink.frame(frame);
  }

  #reset(): void {
    this.#state = "between";
    this.#line = new Bytes();
    this.#headBytes = 0;
    this.#headerCount = 0;
    this.#command = "";
    this.#headers = {};
    this.#remaining = undefined;
    this.#body = new Bytes();
  }
}

/**
 * One frame as text for a WebSocket text message, with `content-length` in bytes where there is a body. What a version
 * cannot say in a header (a line end in 1.0, a carriage return in 1.1, NUL in all) becomes a space: no value ever adds a
 * header or ends a frame.
 */
export function encodeFrame(
  command: string,
  headers: Readonly<Record<string, string>>,
  body = "",
  version: StompVersion = "1.2",
): string {
  const escaping = command === "CONNECT" || command === "CONNECTED" ? "1.0" : version;
  let text = command + "\n";
  for (const [name, value] of Object.entries(headers)) {
    if (name === "content-length") continue;
    text += `${escape(name, escaping)}:${escape(value, escaping)}\n`;
  }
  if (body !== "") text += `content-length:${Buffer.byteLength(body)}\n`;
  return `${text}\n${body}\0`;
}

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeLine(bytes: Uint8Array): string {
  const line = bytes.at(-1) === CR ? bytes.subarray(0, -1) : bytes;
  if (line.includes(CR)) throw frameError("carriage-return");
  try {
    return strictDecoder.decode(line);
  } catch (cause) {
    throw frameError("utf8", cause);
  }
}

const UNESCAPED: Record<StompVersion, Readonly<Record<string, string>>> = {
  "1.0": {},
  "1.1": { "\\\\": "\\", "\\n": "\n", "\\c": ":" },
  "1.2": { "\\\\": "\\", "\\n": "\n", "\\c": ":", "\\r": "\r" },
};

function unescape(text: string, version: StompVersion): string {
  if (version === "1.0") return text.trim();
  if (!text.includes("\\")) return text;
  return text.replace(/\\[^]?/g, (pair) => {
    const plain = UNESCAPED[version][pair];
    if (plain === undefined) throw frameError("escape");
    return plain;
  });
}

const UNSPEAKABLE = { "1.0": /[\n\r\0]/g, "1.1": /[\r\0]/g, "1.2": /\0/g };
const ESCAPED: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r" };

const PLAIN = /^[^\n\r\0\\:]*$/;

function escape(text: string, version: StompVersion): string {
  if (PLAIN.test(text)) return text;
  const speakable = text.replace(UNSPEAKABLE[version], " ");
  return version === "1.0" ? speakable : speakable.replace(/[\\\n:\r]/g, (char) => ESCAPED[char] ?? char);
}

/** Sets `__proto__` like any other name. */
function set(headers: Record<string, string>, name: string, value: string): void {
  Object.defineProperty(headers, name, { value, enumerable: true, configurable: true, writable: true });
}

function frameError(name: FrameErrorName, cause?: unknown): TidingsError {
  const message = FRAME_ERRORS[name];
  return new TidingsError(
    TOO_LARGE.includes(name) ? "too_large" : "protocol_error",
    `Cannot read the STOMP frame: ${message}`,
    { errors: [{ field: name, message }], ...(cause === undefined ? {} : { cause }) },
  );
}

/** Bytes that grow by doubling, so that a frame sent byte by byte costs no more than one sent at once. */
class Bytes {
  #held = EMPTY;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#held.length) {
      const grown = new Uint8Array(Math.max(length, this.#held.length * 2));
      grown.set(this.#held.subarray(0, this.#length));
      this.#held = grown;
    }
    this.#held.set(piece, this.#length);
    this.#length = length;
  }

  take(): Uint8Array {
    const taken = this.#held.subarray(0, this.#length);
    this.#held = EMPTY;
    this.#length = 0;
    return taken;
  }
}
