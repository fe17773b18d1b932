/**
 * Topics and the patterns that grant rights to them. Pure.
 *
 * A topic is segments joined by `:`; a segment is any characters but `:`, `,`, `*`, white space and control characters. In a
 * pattern `*` stands for exactly one segment and a final `**` for one or more.
 * @module
 */
import { LIMITS } from "../notification.ts";

/** Everybody's topic. */
export const ALL = "all";

// deno-lint-ignore no-control-regex -- control characters are what it refuses
const TOPIC = /^[^\s:,*\u0000-\u001f\u007f-\u009f]+(?::[^\s:,*\u0000-\u001f\u007f-\u009f]+)*$/;

/** What a topic must look like, for messages. */
export const TOPIC_EXPECTED =
  `expected 1 to ${LIMITS.topic} characters: segments joined by ":", without white space, "," or "*"`;

/** Whether this is a well-formed topic. */
export function isTopic(value: string): boolean {
  return value.length <= LIMITS.topic && value.isWellFormed() && TOPIC.test(value);
}

/** The topic of one person. */
export function userTopic(user: string): string {
  return `user:${user}`;
}

/** Whether this is a well-formed pattern. */
export function isPattern(value: string): boolean {
  if (value.length > LIMITS.topic) return false;
  const segments = value.split(":");
  return segments.every((segment, index) =>
    segment === "*" || (segment === "**" && index === segments.length - 1) || isTopic(segment)
  );
}

/** Whether a pattern covers a topic. */
export function matches(pattern: string, topic: string): boolean {
  const patterns = pattern.split(":");
  const segments = topic.split(":");
  for (const [index, expected] of patterns.entries()) {
    if (expected === "**" && index === patterns.length - 1) return segments.length > index;
    if (index >= segments.length || (expected !== "*" && expected !== segments[index])) return false;
  }
  return segments.length === patterns.length;
}

/** Whether any of the patterns covers the topic. */
export function matchesAny(patterns: readonly string[], topic: string): boolean {
  return patterns.some((pattern) => matches(pattern, topic));
}
