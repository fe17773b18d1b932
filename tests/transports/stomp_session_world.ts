/**
 * A STOMP session machine and its frames, as tests want them.
 * @module
 */
import assert from "node:assert/strict";
import { TidingsError } from "../../src/errors.ts";
import type { Item } from "../../src/notification.ts";
import { type StompFrame, StompParser, type StompVersion } from "../../src/transports/stomp_frame.ts";
import { type StompEffect, StompSession } from "../../src/transports/stomp_session.ts";
import type { StompSubscription } from "../../src/transports/stomp_subscription.ts";

/** Of every session here. */
export const SETTINGS = {
  prefixes: { user: ["/user", "/member"], topic: ["/topic"], publish: ["/app", "/publish"] },
  shape: "item" as const,
  heartbeat: 10_000,
  server: "tidings/test",
};

const text = new TextEncoder();

/** A frame as the parser gives it. */
export function frame(command: string, headers: Record<string, string> = {}, body = ""): StompFrame {
  return { command, headers, body: text.encode(body) };
}

/** A session that is open. */
export function open(version: StompVersion = "1.2", connect: Record<string, string> = {}): StompSession {
  const session = new StompSession(SETTINGS);
  session.receive(
    frame("CONNECT", { ...(version === "1.0" ? {} : { "accept-version": version }), ...connect }),
  );
  session.accept("s1", "42");
  return session;
}

/** The frames that effects write, parsed again. */
export function written(
  effects: StompEffect[],
  version: StompVersion,
): { command: string; headers: Record<string, string>; body: string }[] {
  const frames: { command: string; headers: Record<string, string>; body: string }[] = [];
  for (const effect of effects) if (effect.do === "write") frames.push(parse(effect.text, version));
  return frames;
}

/** One frame that was written. */
export function parse(raw: string, version: StompVersion) {
  const parser = new StompParser();
  parser.version = version;
  const seen: { command: string; headers: Record<string, string>; body: string }[] = [];
  parser.push(text.encode(raw), {
    frame: (each) =>
      seen.push({
        command: each.command,
        headers: { ...each.headers },
        body: new TextDecoder().decode(each.body),
      }),
    beat() {},
  });
  const only = seen[0];
  assert(only !== undefined && seen.length === 1);
  return only;
}

/** Subscribes to a person's destination, or as the headers say. */
export function subscribe(session: StompSession, headers: Record<string, string> = {}): StompSubscription {
  const effects = session.receive(
    frame("SUBSCRIBE", { id: "a", destination: "/user/queue/notification", ...headers }),
  );
  const opened = effects.find((effect) => effect.do === "open");
  assert(opened !== undefined);
  return opened.subscription;
}

/** An item by its number. */
export const item = (id: number): Item => ({
  id: String(id),
  topic: "user:42",
  type: "notification",
  body: `n${id}`,
  createdAt: "2026-11-21T20:00:00.000Z",
});

/** The same as a row has it. */
export const json = (id: number) => ({ item: item(id), json: JSON.stringify(item(id)) });

/** Whether it is the refusal of this field. */
export function refused(field: string, code = "protocol_error") {
  return (error: unknown) =>
    error instanceof TidingsError && error.code === code && error.details.errors?.[0]?.field === field;
}
