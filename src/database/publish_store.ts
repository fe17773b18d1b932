/**
 * Sends batches of publications; the work is in `sql/006_publish.sql`.
 *
 * Every failure is said as what it means for the batch: whether nothing was sent for certain, and whether trying again can help.
 * @module
 */
import type postgres from "postgres";
import { type ErrorCode, TidingsError } from "../errors.ts";
import { type Database, isContended, sqlState } from "./postgres.ts";

/** What a request sends: one line for each publication, all or nothing. */
export interface BatchRow {
  /** At least one. */
  topics: readonly string[];
  type?: string;
  title?: string;
  body?: string;
  link?: string;
  data?: unknown;
  sender?: string;
  priority?: string;
  collapse_key?: string;
  dedupe_key?: string;
  /** Seconds. */
  ttl?: number;
  transient?: boolean;
  /** RFC 3339. */
  deliver_at?: string;
  push?: boolean;
}

/** What makes repeating a request safe. */
export interface IdempotencyKey {
  /** Whose key it is: keys of different owners never meet. */
  owner: string;
  key: string;
  /** A digest of the request. */
  fingerprint: string;
}

/** One request of a batch. */
export interface BatchRequest {
  idempotency?: IdempotencyKey;
  rows: readonly BatchRow[];
}

/** What became of one request. `reused`: its key belongs to another request, and nothing was sent. */
export type Outcome =
  | { outcome: "sent" | "replayed"; ids: string[] }
  | { outcome: "reused" };

/**
 * `refused`: a request of the batch is wrong, nothing was sent. `again`: nothing was sent, and trying again is likely to help.
 * `unsent`: the database could not be reached, nothing was sent. `unknown`: the connection was lost in between.
 */
export type FailureKind = "refused" | "again" | "unsent" | "unknown";

/** Why a batch was not sent. */
export class PublishFailure extends Error {
  override readonly name = "PublishFailure";
  readonly kind: FailureKind;
  /** What a client is told if it is the only one in the batch, or nothing helps. */
  readonly error: TidingsError;

  constructor(kind: FailureKind, error: TidingsError) {
    super(error.message, { cause: error.details.cause });
    this.kind = kind;
    this.error = error;
  }
}

/** Sends batches. */
export interface PublishStore {
  /**
   * Sends all requests in one statement, or none; resolves once they are committed, with an outcome for each.
   * @throws {PublishFailure}
   */
  send(requests: readonly BatchRequest[]): Promise<Outcome[]>;
  /** Forgets old idempotency keys, at most so many; returns how many. */
  purge(max: number): Promise<number>;
}

/** The store in Postgres. */
export function publishStore(database: Pick<Database, "query">): PublishStore {
  return {
    async send(requests) {
      const keys = JSON.stringify(requests.map(({ idempotency }) => idempotency ?? {}));
      const rows = JSON.stringify(
        requests.flatMap(({ rows }, request) => rows.map((row) => ({ request, ...row }))),
      );
      try {
        const [row] = await database.query<{ outcomes: Outcome[] }>((sql) =>
          sql`select tidings.publish_batch(${keys}::text::jsonb, ${rows}::text::jsonb) as outcomes`
        );
        return row?.outcomes ?? [];
      } catch (error) {
        throw toFailure(error);
      }
    },
    async purge(max) {
      const [row] = await database.query<{ gone: number }>((sql) =>
        sql`select tidings.purge_idempotency(${max}::int) as gone`
      );
      return row?.gone ?? 0;
    },
  };
}

/** How many keys one statement forgets, so that none runs long. */
const PURGE_STEP = 1_000;

/** Forgets idempotency keys that are too old, step by step, at most `steps` of them; returns how many. For a job runner. */
export async function forgetOldKeys(store: PublishStore, steps = 100): Promise<number> {
  let forgotten = 0;
  for (let step = 0; step < steps; step++) {
    const gone = await store.purge(PURGE_STEP);
    forgotten += gone;
    if (gone < PURGE_STEP) break;
  }
  return forgotten;
}

/** The statement failed and left nothing: wrong data, a violated constraint, a function's own refusal, a limit of the server. */
const REFUSED = /^(22|23|0A|54|42804|P0001)/;
/** The server said no before or instead of running the statement. */
const UNSENT =
  /^(57P03|53|25006|3D000|28|08001|08004|ECONNREFUSED|CONNECT_TIMEOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENOENT)/;

/** @throws what is neither the database's nor a failure to reach it */
function toFailure(error: unknown): PublishFailure {
  const cause = error instanceof TidingsError ? error.details.cause : error;
  const code = sqlState(cause);
  if (code !== undefined) {
    if (REFUSED.test(code)) return new PublishFailure("refused", refusal(cause as postgres.PostgresError));
    if (isContended(cause)) {
      return new PublishFailure("again", unavailable("others are changing the same rows", cause));
    }
    if (UNSENT.test(code)) {
      return new PublishFailure("unsent", unavailable("the database cannot be reached", cause));
    }
  }
  if (error instanceof TidingsError && error.code === "unavailable") {
    return new PublishFailure("unknown", outcomeUnknown(cause ?? error));
  }
  throw error;
}

function unavailable(state: string, cause: unknown): TidingsError {
  return new TidingsError("unavailable", `Cannot send: ${state}; nothing was sent, try again`, {
    retryAfter: 1,
    cause,
  });
}

function outcomeUnknown(cause: unknown): TidingsError {
  return new TidingsError(
    "unavailable",
    "Cannot tell whether it was sent: the database did not answer. With an Idempotency-Key header, or a dedupeKey in each " +
      "notification, the same request can be sent again without sending twice",
    { retryAfter: 1, cause },
  );
}

/** SQL names its constraints and words its refusals as `column: what was expected`. */
function refusal(error: postgres.PostgresError): TidingsError {
  const said = error.constraint_name ?? /^Cannot send(?: later)?: (.*)$/.exec(error.message)?.[1];
  const [, column, expected] = /^([a-z_]+)(?:: | (?=must ))(.*)$/s.exec(said ?? "") ?? [];
  const field = column === undefined ? undefined : FIELDS[column];
  const code: ErrorCode = "invalid_request";
  if (field !== undefined && expected !== undefined) {
    return new TidingsError(code, `Cannot send: ${field}: ${expected}`, {
      errors: [{ field, message: expected }],
      cause: error,
    });
  }
  const reason = /^Cannot /.test(error.message)
    ? error.message
    : "Cannot send: the database refuses what it holds";
  return new TidingsError(code, reason, { cause: error });
}

/** What columns and parameters are called outside. */
const FIELDS: Record<string, string> = {
  topic: "to",
  type: "type",
  title: "title",
  body: "body",
  link: "link",
  data: "data",
  sender: "sender",
  priority: "priority",
  collapse_key: "collapseKey",
  dedupe_key: "dedupeKey",
  ttl: "ttl",
  deliver_at: "deliverAt",
};
