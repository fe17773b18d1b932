/**
 * Who somebody is, and what they may read and send. Pure.
 *
 * Topics whose first segment is `tidings`, or begins with `tidings.`, are the gateway's own: nobody may use them, administrators
 * included. Patterns mean what they say: `**` covers everybody's `user:` topics too, `user:*` no other topic.
 * @module
 */
import { z } from "zod";
import { ALL, isPattern, isTopic, matchesAny, userTopic } from "../feed/topic.ts";

/** A person or a program, as a verified token or ticket named it. */
export interface Identity {
  /** The token's `sub`; `user:<sub>` is a well-formed topic. */
  readonly user: string;
  /** Milliseconds since the Unix epoch: a session ends then. Absent: the token does not expire. */
  readonly expiresAt?: number;
  /** Milliseconds since the Unix epoch. Absent: the token does not say when it was issued. */
  readonly issuedAt?: number;
  /** Patterns of topics it may read besides its own and `all`. */
  readonly subscribe: readonly string[];
  /** Patterns of topics it may send to. */
  readonly publish: readonly string[];
  /** May read, send and administer everything. */
  readonly admin: boolean;
}

/** The most patterns a token may carry, for each of `subscribe` and `publish`. */
export const MAX_PATTERNS = 100;

/** A list of topic patterns, as it comes in a token. */
export const patternList: z.ZodType<string[]> = z.array(
  z.string("expected a topic pattern").refine(isPattern, {
    error:
      'expected a topic pattern: segments joined by ":", where "*" is one segment and a last "**" the rest',
  }),
  "expected a list of topic patterns",
).max(MAX_PATTERNS, `expected at most ${MAX_PATTERNS} patterns`);

/** A user's name, as it comes in `sub`. */
export const userName: z.ZodType<string> = z.string("expected a string").refine(isUser, {
  error: 'expected a name that can stand in a topic: up to 195 characters, without white space, "," or "*"',
});

/** An identity as JSON, for where it is kept (a ticket). */
export const identitySchema: z.ZodType<Identity> = z.object({
  user: userName,
  expiresAt: z.number().optional(),
  issuedAt: z.number().optional(),
  subscribe: patternList,
  publish: patternList,
  admin: z.boolean(),
}) as unknown as z.ZodType<Identity>;

/** Whether a name can be a user: `user:<name>` has to be a topic. */
export function isUser(name: string): boolean {
  return name.isWellFormed() && isTopic(userTopic(name));
}

/** Whether a topic is the gateway's own. */
export function isReserved(topic: string): boolean {
  return /^tidings(?:[:.]|$)/.test(topic);
}

/** Whether this identity may read a topic: its own and `all` always, any other by a pattern or as an administrator. */
export function maySubscribe(identity: Identity, topic: string): boolean {
  if (!isTopic(topic) || isReserved(topic)) return false;
  return identity.admin || topic === ALL || topic === userTopic(identity.user) ||
    matchesAny(identity.subscribe, topic);
}

/** Whether this identity may send to a topic: by a pattern or as an administrator only, its own topic included. */
export function mayPublish(identity: Identity, topic: string): boolean {
  if (!isTopic(topic) || isReserved(topic)) return false;
  return identity.admin || matchesAny(identity.publish, topic);
}
