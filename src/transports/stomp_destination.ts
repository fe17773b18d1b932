/**
 * STOMP destinations and the topics they stand for, as Spring's users write them. Pure.
 *
 * | destination | SUBSCRIBE | SEND |
 * |---|---|---|
 * | `<user prefix>/queue/<name>` | the person's feed: their own topic, `all`, what they follow | to the person themself |
 * | `<user prefix>/<id>/queue/<name>` | – | to `user:<id>` |
 * | `/topic/<topic>` | the topic | to the topic |
 * | `/app/<topic>`, `/publish/<topic>` | – | to the topic |
 *
 * In a topic's place dots and slashes both separate segments (`/topic/climb.route.12` and `/topic/climb/route/12` are
 * `climb:route:12`); a destination that has a colon is taken as the topic it is. `%XX` stands for a character literally,
 * so `/topic/v1%2E2` is the topic `v1.2`.
 * @module
 */
import { TidingsError } from "../errors.ts";
import { isTopic, TOPIC_EXPECTED, userTopic } from "../feed/topic.ts";

/** Which prefixes a gateway answers to; each begins with `/` and does not end with it. */
export interface StompPrefixes {
  /** @default ["/user"] */
  user: readonly string[];
  /** @default ["/topic"] */
  topic: readonly string[];
  /** @default ["/app", "/publish"] */
  publish: readonly string[];
}

/** What one may be subscribed to. */
export type Source = { kind: "person"; queue: string } | { kind: "topic"; topic: string };

/** The words used when nothing is set. */
export const STOMP_PREFIXES: StompPrefixes = {
  user: ["/user"],
  topic: ["/topic"],
  publish: ["/app", "/publish"],
};

const QUEUE = "/queue/";
const DESTINATION_MAX = 1_000;

/** What a SUBSCRIBE's destination stands for. Throws `invalid_request`, naming `destination`. */
export function parseSource(destination: string, prefixes: StompPrefixes): Source {
  const bounded = checkLength(destination);
  for (const prefix of prefixes.user) {
    if (bounded.startsWith(prefix + QUEUE)) {
      const queue = bounded.slice(prefix.length + QUEUE.length);
      if (queue !== "") return { kind: "person", queue };
    }
  }
  for (const prefix of prefixes.topic) {
    if (bounded.startsWith(`${prefix}/`)) {
      return { kind: "topic", topic: toTopic(bounded.slice(prefix.length + 1)) };
    }
  }
  const known = [
    ...prefixes.user.map((prefix) => `${prefix}${QUEUE}<name>`),
    ...prefixes.topic.map((prefix) => `${prefix}/<topic>`),
  ];
  throw refuse(`expected ${known.join(" or ")}`);
}

/** The topic that a SEND's destination stands for. Throws `invalid_request`, naming `destination`. */
export function parseTarget(destination: string, user: string, prefixes: StompPrefixes): string {
  const bounded = checkLength(destination);
  for (const prefix of prefixes.user) {
    if (!bounded.startsWith(`${prefix}/`)) continue;
    const rest = bounded.slice(prefix.length);
    if (rest.startsWith(QUEUE) && rest.length > QUEUE.length) return userTopic(user);
    const queue = rest.indexOf(QUEUE, 2);
    if (queue > 1 && rest.length > queue + QUEUE.length) {
      return checked(userTopic(decode(rest.slice(1, queue))));
    }
  }
  const targets = [...prefixes.topic, ...prefixes.publish];
  for (const prefix of targets) {
    if (bounded.startsWith(`${prefix}/`)) return toTopic(bounded.slice(prefix.length + 1));
  }
  const known = [
    ...targets.map((prefix) => `${prefix}/<topic>`),
    ...prefixes.user.map((prefix) => `${prefix}/<id>${QUEUE}<name>`),
  ];
  throw refuse(`expected ${known.join(" or ")}`);
}

function toTopic(rest: string): string {
  const topic = rest.includes(":") ? decode(rest) : rest.split(/[./]/).map(decode).join(":");
  return checked(topic);
}

function checked(topic: string): string {
  if (!isTopic(topic)) throw refuse(TOPIC_EXPECTED);
  return topic;
}

function checkLength(destination: string): string {
  if (destination.length > DESTINATION_MAX) throw refuse(`expected at most ${DESTINATION_MAX} characters`);
  return destination;
}

function decode(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw refuse("expected %XX to stand for UTF-8", cause);
  }
}

function refuse(expected: string, cause?: unknown): TidingsError {
  return new TidingsError("invalid_request", `Cannot use the destination: ${expected}`, {
    errors: [{ field: "destination", message: expected }],
    ...(cause === undefined ? {} : { cause }),
  });
}
