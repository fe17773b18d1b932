/**
 * The closed set of errors. One `code` decides the HTTP status, the WebSocket close code and whether to come back; nothing
 * else in the program maps errors to the wire.
 * @module
 */
import { CLOSE, type Problem, type ResetReason } from "./protocol.ts";

/** What a code means on each transport. */
interface Meaning {
  status: number;
  /** The close code when it ends a WebSocket. */
  close: number;
  title: string;
}

/** Every code, its HTTP status, its close code and its title. The reference in README is generated from this table. */
export const ERRORS = {
  invalid_request: { status: 400, close: CLOSE.protocolError, title: "The request is not valid" },
  invalid_token: { status: 401, close: CLOSE.badCredentials, title: "The credentials are not valid" },
  token_required: { status: 401, close: CLOSE.badCredentials, title: "Credentials are required" },
  token_expired: { status: 401, close: CLOSE.tokenExpired, title: "The token has expired" },
  forbidden: { status: 403, close: CLOSE.forbidden, title: "The token does not allow this" },
  origin_not_allowed: { status: 403, close: CLOSE.forbidden, title: "The origin is not allowed" },
  not_found: { status: 404, close: CLOSE.protocolError, title: "There is nothing here" },
  method_not_allowed: { status: 405, close: CLOSE.protocolError, title: "The method is not allowed here" },
  not_reading: { status: 408, close: CLOSE.notReading, title: "The client stopped reading" },
  request_timeout: { status: 408, close: CLOSE.notReading, title: "The request took too long to arrive" },
  cursor_reset: { status: 409, close: CLOSE.protocolError, title: "The cursor cannot be used" },
  conflict: { status: 409, close: CLOSE.protocolError, title: "The request conflicts with the state" },
  too_large: { status: 413, close: CLOSE.tooLarge, title: "The message is too large" },
  unsupported_media_type: {
    status: 415,
    close: CLOSE.protocolError,
    title: "The content type is not supported",
  },
  idempotency_key_reused: {
    status: 422,
    close: CLOSE.protocolError,
    title: "The idempotency key was used for another request",
  },
  protocol_error: { status: 400, close: CLOSE.protocolError, title: "The frame is not valid" },
  too_many_requests: { status: 429, close: CLOSE.tooMany, title: "Too many requests" },
  too_many_sessions: { status: 429, close: CLOSE.tooMany, title: "Too many sessions" },
  internal: { status: 500, close: CLOSE.internal, title: "Something went wrong here" },
  unavailable: {
    status: 503,
    close: CLOSE.restart,
    title: "The log cannot be read or written at the moment",
  },
  restarting: { status: 503, close: CLOSE.restart, title: "This gateway is restarting" },
} as const satisfies Record<string, Meaning>;

/** A stable, machine-readable error code. */
export type ErrorCode = keyof typeof ERRORS;

/** One violated field. */
export interface FieldError {
  /** A path such as `to` or `0.title`. */
  field: string;
  /** What was expected. */
  message: string;
}

/** Extra facts an error may carry to the client. */
export interface ErrorDetails {
  errors?: FieldError[];
  cursor?: string;
  reason?: ResetReason;
  /** Seconds. */
  retryAfter?: number;
  cause?: unknown;
}

/** The one error class. `message` is for people and goes to the client as `detail`; it never holds a secret or a query. */
export class TidingsError extends Error {
  override readonly name = "TidingsError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get close(): number {
    return ERRORS[this.code].close;
  }
}

/** One field of a request is wrong. `act` is what cannot be done: "send"; `message` is what was expected. */
export function invalidField(act: string, field: string, message: string, cause?: unknown): TidingsError {
  return new TidingsError("invalid_request", `Cannot ${act}: ${field}: ${message}`, {
    errors: [{ field, message }],
    cause,
  });
}

/**
 * Why the program cannot start, for the person at the terminal: each line of the message stands for itself, holds no
 * secret, and says what to do next. The program prints it and exits with 1.
 */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** RFC 9457 problem details of any error; what is not a TidingsError becomes `internal` and tells nothing of its inside. */
export function toProblem(error: unknown): Problem {
  const known = error instanceof TidingsError ? error : new TidingsError("internal", "The error was logged");
  const { status, title } = ERRORS[known.code];
  const problem: Problem = {
    type: `urn:tidings:error:${known.code}`,
    title,
    status,
    code: known.code,
    detail: known.message,
  };
  const { errors, cursor, reason, retryAfter } = known.details;
  if (errors !== undefined) problem.errors = errors;
  if (cursor !== undefined) problem.cursor = cursor;
  if (reason !== undefined) problem.reason = reason;
  if (retryAfter !== undefined) problem.retryAfter = retryAfter;
  return problem;
}
