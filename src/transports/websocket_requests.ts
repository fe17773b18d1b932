/**
 * What a client asks of its open session over WebSocket, and the answers.
 *
 * Invariants:
 * - A topic that the client named, the token that counts at that moment allows; a fresh token has to allow all of them.
 * - It publishes no faster than the rate allows.
 * @module
 */
import type { Identity } from "../auth/identity.ts";
import { TidingsError } from "../errors.ts";
import type { Opened, Since } from "../feed/feed.ts";
import { checkWatchable, type PresenceHold, presenceTopic } from "../feed/presence.ts";
import { PUBLISH_RATE, TokenBucket } from "../feed/rate.ts";
import type { Session } from "../feed/session.ts";
import { ALL, userTopic } from "../feed/topic.ts";
import type { ClientFrame, ServerFrame } from "../protocol.ts";
import { checkTopics, invalid, MAX_TOPICS, parseSince, type TransportDeps } from "./negotiate.ts";

/** The requests of one session. */
export class SessionRequests {
  readonly #deps: TransportDeps;
  readonly #session: Session;
  readonly #presence: PresenceHold;
  readonly #renewed: (identity: Identity) => void;
  #identity: Identity;
  /** The topics that the client itself named. */
  readonly #asked: Set<string>;
  /** What it may publish. */
  readonly #allowance: TokenBucket;

  /** `topics`: those that the session was opened with. `renewed` hears of a fresh token. */
  constructor(
    { session, presence }: Pick<Opened, "session" | "presence">,
    identity: Identity,
    topics: readonly string[],
    deps: TransportDeps,
    renewed: (identity: Identity) => void,
  ) {
    this.#deps = deps;
    this.#session = session;
    this.#presence = presence;
    this.#identity = identity;
    this.#renewed = renewed;
    this.#asked = new Set(topics);
    this.#allowance = new TokenBucket(PUBLISH_RATE, deps.clock.now());
    session.onWithdraw((withdrawn) => withdrawn.forEach((topic) => this.#asked.delete(topic)));
  }

  /**
   * Does what a frame asks for, and resolves to the answer, without its `ref`.
   * @throws {TidingsError} why not; with `protocol_error` the session has to end
   */
  async answer(frame: ClientFrame): Promise<ServerFrame> {
    const { actions, authorize, credentials } = this.#deps;
    const session = this.#session;
    const identity = this.#identity;
    switch (frame.op) {
      case "hello":
        throw new TidingsError("protocol_error", "Cannot say hello twice: send auth with a fresh token");
      case "auth": {
        const fresh = await credentials.verifier.verify(frame.token);
        if (fresh.user !== identity.user) {
          throw new TidingsError("forbidden", "Cannot change the user of a session: open another");
        }
        await authorize(fresh, [...this.#asked]);
        this.#identity = fresh;
        this.#renewed(fresh);
        session.issuedAt = fresh.issuedAt;
        return { op: "ok" };
      }
      case "subscribe": {
        const topics = checkTopics(frame.topics);
        await authorize(identity, topics);
        const since = parseSince(frame.since);
        if (this.#asked.union(new Set(topics)).size > MAX_TOPICS) {
          throw invalid("topics", `expected at most ${MAX_TOPICS} topics in one session`);
        }
        const watches = topics.map((topic) => ({ topic: presenceTopic(topic) }));
        if (frame.presence === true) checkWatchable(topics);
        for (const topic of topics) this.#asked.add(topic);
        await this.#subscribe(topics.filter((topic) => !session.has(topic)), since);
        // joins and leaves from here on: what was is asked for with GET …/presence
        if (frame.presence === true) session.subscribe(watches);
        else session.unsubscribe(watches.map(({ topic }) => topic));
        for (const topic of topics) this.#presence.join(topic, frame.presence === true);
        if (frame.presence === true) await this.#presence.told();
        return { op: "ok" };
      }
      case "unsubscribe": {
        const topics = checkTopics(frame.topics);
        const always = topics.find((topic) => topic === ALL || topic === userTopic(identity.user));
        if (always !== undefined) throw invalid("topics", `"${always}" is always part of the feed`);
        session.unsubscribe([...topics, ...topics.map(presenceTopic)]);
        for (const topic of topics) {
          this.#asked.delete(topic);
          this.#presence.part(topic);
        }
        return { op: "ok" };
      }
      case "publish": {
        const { op: _op, ref: _ref, ...publication } = frame;
        this.#pace();
        return { op: "ok", ids: await actions.publish(identity, publication) };
      }
      case "mark": {
        const { op: _op, ref: _ref, ...mark } = frame;
        await actions.mark(identity, mark);
        return { op: "ok" };
      }
      case "ack":
        await actions.acknowledge(identity, session, frame.cursor, frame.visible === true);
        return { op: "ok" };
      case "ping":
        return { op: "pong" };
    }
  }

  #pace(): void {
    const wait = this.#allowance.take(1, this.#deps.clock.now());
    if (wait === 0) return;
    throw new TidingsError("too_many_requests", "Cannot publish so fast: wait, and send less", {
      retryAfter: Math.ceil(wait / 1_000),
    });
  }

  async #subscribe(topics: string[], since: Since): Promise<void> {
    if (topics.length === 0) return;
    const session = this.#session;
    const start = await this.#deps.feed.locate(since);
    if (typeof start === "string" || start.epoch !== session.position.epoch) {
      session.subscribe(topics.map((topic) => ({ topic })));
      if (since.at === "now") return;
      throw new TidingsError("cursor_reset", "Cannot go back to this cursor: the topics begin here instead", {
        cursor: session.cursor,
        reason: typeof start === "string" ? start : "history",
      });
    }
    // the session may be behind that: what was committed before the question is not news
    if (since.at === "now") session.subscribe(topics.map((topic) => ({ topic, since: start })));
    else await session.backfill(topics, start);
  }
}
