/**
 * Reading the headers of a client's frames: required ones, bounded names, versions, heart-beats, tokens. Pure.
 * @module
 */
import { TidingsError } from "../errors.ts";
import { STOMP_VERSIONS, type StompFrame, type StompVersion } from "./stomp_frame.ts";

/** What both sides promised. Milliseconds; 0: none. */
export interface Heartbeats {
  /** How often the server sends at least. */
  send: number;
  /** How often the client promised to. */
  expect: number;
}

/** Characters of a subscription's id, a transaction's, a client-id. */
export const NAME_MAX = 200;

/** Headers of CONNECT that may carry the token, best first: Spring's habit, plain, RabbitMQ's. */
const TOKEN_HEADERS = ["authorization", "x-authorization", "token", "access_token", "passcode"];

/** The highest version that both speak; a client that names none speaks 1.0. */
export function agreeVersion(frame: StompFrame): StompVersion {
  const accepted = frame.headers["accept-version"];
  if (accepted === undefined) return "1.0";
  const offered = accepted.split(",").map((version) => version.trim());
  const best = STOMP_VERSIONS.findLast((version) => offered.includes(version));
  if (best !== undefined) return best;
  throw frameRefused(frame, "accept-version", `expected one of ${STOMP_VERSIONS.join(", ")}`);
}

/** What follows from `heart-beat:<can send>,<wants>` when this side can and wants `own`. */
export function agreeHeartbeats(frame: StompFrame, own: number): Heartbeats {
  const header = frame.headers["heart-beat"];
  if (header === undefined) return { send: 0, expect: 0 };
  const [, can, wants] = /^\s*(\d{1,9})\s*,\s*(\d{1,9})\s*$/.exec(header) ?? [];
  if (can === undefined || wants === undefined) {
    throw frameRefused(frame, "heart-beat", "expected two numbers of milliseconds: <can send>,<wants>");
  }
  return {
    send: Number(wants) === 0 || own === 0 ? 0 : Math.max(own, Number(wants)),
    expect: Number(can) === 0 || own === 0 ? 0 : Math.max(own, Number(can)),
  };
}

/** The token that a frame carries, without `Bearer`. A passcode counts only when it looks like a JWT. */
export function findToken(frame: StompFrame): string | undefined {
  const lower = new Map(Object.entries(frame.headers).map(([name, value]) => [name.toLowerCase(), value]));
  for (const name of TOKEN_HEADERS) {
    const token = lower.get(name)?.replace(/^bearer\s+/i, "").trim();
    if (token === undefined || token === "") continue;
    if (name !== "passcode" || token.split(".").length === 3) return token;
  }
  return undefined;
}

/** A header that has to be there. */
export function required(frame: StompFrame, header: string): string {
  const value = frame.headers[header];
  if (value !== undefined && value !== "") return value;
  throw frameRefused(frame, header, "expected this header");
}

/** Bounds a name that the session will keep. */
export function boundedName(frame: StompFrame, field: string, value: string): string {
  if (value.length <= NAME_MAX) return value;
  throw frameRefused(frame, field, `expected at most ${NAME_MAX} characters`);
}

/** `protocol_error`, naming the frame and the header. */
export function frameRefused(frame: StompFrame, field: string, expected: string): TidingsError {
  return new TidingsError("protocol_error", `Cannot accept ${frame.command}: ${field}: ${expected}`, {
    errors: [{ field, message: expected }],
  });
}
