/**
 * The feed by long-poll (and short-poll, `wait=0`): a session that ends with its first rows. `ETag` is the cursor.
 * @module
 */
import type { Identity } from "../auth/identity.ts";
import { TidingsError } from "../errors.ts";
import type { Reconnectable, Since } from "../feed/feed.ts";
import type { Session } from "../feed/session.ts";
import type { Sink } from "../feed/sink.ts";
import type { Batch } from "../log/batch.ts";
import { formatCursor } from "../log/cursor.ts";
import {
  atExpiry,
  invalid,
  opener,
  parseNumber,
  parseSince,
  topicsOf,
  type TransportDeps,
  watchOf,
} from "./negotiate.ts";

/** Seconds a poll may wait. */
export const WAIT = { usual: 25, most: 60 } as const;
/** Items of one answer. */
export const LIMIT = { usual: 100, most: 1_000 } as const;

/** A poll's request. */
export interface PollRequest {
  query: URLSearchParams;
  identity: Identity;
  lastEventId: string | undefined;
  ifNoneMatch: string | undefined;
  userAgent: string | undefined;
  /** Aborted when the client is gone. */
  signal: AbortSignal;
}

/** What a poll is answered with. */
export interface PollAnswer {
  status: 200 | 304;
  headers: Record<string, string>;
  body: string | null;
}

/** Answers one poll. @throws {TidingsError} `cursor_reset` with the cursor to go on from */
export async function longPoll(request: PollRequest, deps: TransportDeps): Promise<PollAnswer> {
  const { query, identity, signal } = request;
  const topics = topicsOf(query);
  const wait = parseNumber(query.get("wait"), "wait", WAIT.usual, 0, WAIT.most);
  const watch = watchOf(query, topics);
  if (watch && wait === 0) {
    throw invalid("presence", "expected a wait of at least 1 beside it: a short poll watches nothing");
  }
  const limit = parseNumber(query.get("limit"), "limit", LIMIT.usual, 1, LIMIT.most);
  const tag = request.ifNoneMatch?.match(/^(?:W\/)?"([^"]*)"$/)?.[1];
  const since = sinceOf(request, tag);
  await deps.authorize(identity, topics);

  const answer = new Answer(wait === 0);
  const { session, reset } = await deps.feed.open(
    {
      ...opener(identity),
      topics,
      since,
      page: limit,
      transport: "longpoll",
      // a short poll is no presence: it is gone before anybody could be told
      ...(wait === 0 ? {} : { client: { userAgent: request.userAgent }, watch }),
    },
    answer,
  );
  const cancels: (() => void)[] = [];
  try {
    if (reset !== undefined) throw cursorReset(session.cursor, reset);
    const gone = () => answer.done.resolve();
    if (signal.aborted) gone();
    signal.addEventListener("abort", gone, { once: true });
    cancels.push(
      () => signal.removeEventListener("abort", gone),
      deps.clock.after(wait === 0 ? WAIT.usual * 1_000 : wait * 1_000, gone),
      atExpiry(identity, deps.clock, gone),
    );
    session.open();
    await answer.done.promise;
    if (answer.error !== undefined) throw answer.error;
    const inbox = await deps.count(identity.user);
    return toAnswer(answer.batch?.first(limit), session, inbox, { since, tag, leaving: answer.leaving });
  } finally {
    for (const cancel of cancels) cancel();
    session.end();
  }
}

/** `Last-Event-ID` wins over `since`, and both over the cursor that the client holds as a tag. */
function sinceOf({ query, lastEventId, ifNoneMatch }: PollRequest, tag: string | undefined): Since {
  if (lastEventId !== undefined) return parseSince(lastEventId, "Last-Event-ID");
  const text = query.get("since");
  if (text !== null || ifNoneMatch === undefined) return parseSince(text);
  return parseSince(tag ?? ifNoneMatch, "If-None-Match");
}

/** Takes the first rows, or the first other reason to answer. */
class Answer implements Sink, Reconnectable {
  readonly done = Promise.withResolvers<void>();
  batch: Batch | undefined;
  error: TidingsError | undefined;
  leaving = false;
  readonly #atOnce: boolean;

  constructor(atOnce: boolean) {
    this.#atOnce = atOnce;
  }

  items(batch: Batch): boolean {
    this.batch ??= batch;
    this.done.resolve();
    return false;
  }

  live(): void {
    if (this.#atOnce) this.done.resolve();
  }

  inbox(): boolean {
    this.done.resolve();
    return true;
  }

  reset(reason: "history" | "retention" | "unknown", cursor: string): void {
    this.error = cursorReset(cursor, reason);
    this.done.resolve();
  }

  close(error: TidingsError): void {
    this.error = error;
    this.done.resolve();
  }

  reconnect(): void {
    this.leaving = true;
    this.done.resolve();
  }
}

function toAnswer(
  batch: Batch | undefined,
  session: Session,
  inbox: { unread: number; unseen: number },
  { since, tag, leaving }: { since: Since; tag: string | undefined; leaving: boolean },
): PollAnswer {
  const cursor = batch?.cursor ?? session.cursor;
  const headers: Record<string, string> = { "cache-control": "no-store", etag: `"${cursor}"` };
  if (leaving) headers["connection"] = "close";
  if (
    batch === undefined && tag !== undefined && since.at === "cursor" && formatCursor(since.cursor) === tag
  ) {
    return { status: 304, headers, body: null };
  }
  headers["content-type"] = "application/json";
  const items = batch?.rows.map((row) => row.json).join(",") ?? "";
  const body = `{"cursor":${JSON.stringify(cursor)},"items":[${items}],"inbox":${JSON.stringify(inbox)}}`;
  return { status: 200, headers, body };
}

function cursorReset(cursor: string, reason: "history" | "retention" | "unknown"): TidingsError {
  const why = {
    history: "it belongs to another history of the database",
    retention: "notifications after it have been purged",
    unknown: "it was not issued by this database",
  }[reason];
  return new TidingsError(
    "cursor_reset",
    `Cannot go on from this cursor: ${why}; reload, then go on from the given cursor`,
    {
      cursor,
      reason,
    },
  );
}
