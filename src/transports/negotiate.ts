/**
 * What every transport of the feed shares: reading the request, the rights to its topics, the end of its token.
 * @module
 */
import type { Identity } from "../auth/identity.ts";
import type { CredentialsDeps } from "../auth/credentials.ts";
import type { Clock } from "../clock.ts";
import { DURATION_EXPECTED, parseDuration } from "../duration.ts";
import { invalidField, TidingsError } from "../errors.ts";
import type { Feed, Opened, Since } from "../feed/feed.ts";
import { checkWatchable, isPresenceTopic } from "../feed/presence.ts";
import { isTopic, TOPIC_EXPECTED } from "../feed/topic.ts";
import { formatCursor, parseCursor } from "../log/cursor.ts";
import type { ClientFrame, InboxCount, Publication, Welcome } from "../protocol.ts";
import type { Session } from "../feed/session.ts";

/** Seconds between two signs of life. */
export const HEARTBEAT = 15;
/** Topics that one session may add. */
export const MAX_TOPICS = 100;
/** Bytes that may wait in one client's socket before it is read for no more. */
export const BUFFER = 256 * 1024;

/** What a client may do besides reading; each resolves when it is committed. */
export interface Actions {
  /** Sends; resolves to the ids. */
  publish(identity: Identity, publication: Publication): Promise<string[]>;
  /** Marks in the person's inbox. */
  mark(identity: Identity, mark: Mark): Promise<void>;
  /** The client has shown everything up to this cursor. `visible`: and somebody looks at it. */
  acknowledge(identity: Identity, session: Session, cursor: string, visible: boolean): Promise<void>;
}

/** A `mark` frame. */
export type Mark = Omit<Extract<ClientFrame, { op: "mark" }>, "op" | "ref">;

/** What a transport works with. */
export interface TransportDeps {
  feed: Feed;
  credentials: CredentialsDeps;
  /** Rejects with `forbidden` unless the person may read all of the topics. */
  authorize(identity: Identity, topics: readonly string[]): Promise<void>;
  count(user: string): Promise<InboxCount>;
  actions: Actions;
  clock: Clock;
}

/** Who opens a session, as the feed wants to know it. */
export function opener(identity: Identity): { user: string; admin: boolean; issuedAt?: number } {
  const { user, admin, issuedAt } = identity;
  return { user, admin, ...(issuedAt === undefined ? {} : { issuedAt }) };
}

/** The topics of a query: `topics=a,b`, also as several parameters. */
export function topicsOf(query: URLSearchParams): string[] {
  const text = query.getAll("topics").filter((part) => part !== "").join(",");
  return text === "" ? [] : checkTopics(text.split(","));
}

/**
 * Whether the query asks for joins and leaves of its topics: `presence=true`.
 * @throws {TidingsError} `invalid_request`, naming `presence`, when it says something else, or names no topics to watch
 */
export function watchOf(query: URLSearchParams, topics: readonly string[]): boolean {
  return readWatch(query.get("presence"), topics);
}

/** The same of a header or a field. */
export function readWatch(text: string | null | undefined, topics: readonly string[]): boolean {
  if (text === null || text === undefined || text === "" || text === "false") return false;
  if (text !== "true") throw invalid("presence", `expected true or false; got ${quote(text)}`);
  checkWatchable(topics);
  return true;
}

/** Checks topics from outside; drops repetitions. */
export function checkTopics(topics: readonly string[]): string[] {
  if (topics.length > MAX_TOPICS) throw invalid("topics", `expected at most ${MAX_TOPICS} topics`);
  const wrong = topics.find((topic) => !isTopic(topic));
  if (wrong !== undefined) throw invalid("topics", `${TOPIC_EXPECTED}; got ${quote(wrong)}`);
  return [...new Set(topics)];
}

/** Where to begin: `now`, `earliest`, a duration or a cursor. */
export function parseSince(text: string | null | undefined, field = "since"): Since {
  if (text === null || text === undefined || text === "" || text === "now") return { at: "now" };
  if (text === "earliest") return { at: "earliest" };
  const ms = parseDuration(text);
  if (ms !== undefined) return { at: "ago", ms };
  const cursor = parseCursor(text);
  if (cursor === undefined) {
    throw invalid(
      field,
      `expected a cursor, "now", "earliest" or a duration (${DURATION_EXPECTED}); got ${quote(text)}`,
    );
  }
  return { at: "cursor", cursor };
}

/** A whole number of a query. */
export function parseNumber(
  text: string | null | undefined,
  field: string,
  usual: number,
  least: number,
  most: number,
): number {
  if (text === null || text === undefined || text === "") return usual;
  const number = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (!(number >= least && number <= most)) {
    throw invalid(field, `expected a whole number from ${least} to ${most}; got ${quote(text)}`);
  }
  return number;
}

/**
 * What a client is told first. Its cursor is where the session stands; one that could not be used is given back as it came,
 * so that only the reset that follows moves the client, and whoever is cut in between hears of it the next time.
 */
export async function welcome(
  { session, reset }: Opened,
  since: Since,
  identity: Identity,
  deps: TransportDeps,
): Promise<Welcome> {
  const inbox = await deps.count(identity.user);
  const unusable = reset !== undefined && since.at === "cursor";
  return {
    session: session.id,
    user: identity.user,
    cursor: unusable ? formatCursor(since.cursor) : session.cursor,
    topics: session.topics.filter((topic) => !isPresenceTopic(topic)),
    inbox,
    heartbeat: HEARTBEAT,
    ...(identity.expiresAt === undefined ? {} : { expiresAt: new Date(identity.expiresAt).toISOString() }),
  };
}

/** The error that ends a session when its token does. */
export function expired(): TidingsError {
  return new TidingsError("token_expired", "The token has expired: come back with a fresh one");
}

/** Runs at the token's end; the returned function cancels. */
export function atExpiry(identity: Identity, clock: Clock, run: () => void): () => void {
  if (identity.expiresAt === undefined) return () => undefined;
  return clock.after(Math.max(0, identity.expiresAt - clock.now()), run);
}

/** One field of what asks for the feed is wrong. */
export function invalid(field: string, message: string): TidingsError {
  return invalidField("read the feed", field, message);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
