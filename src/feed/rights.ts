/**
 * Rights to topics: the token's patterns, and the application's policy (`tidings.may_subscribe`) above them; and whether the
 * token still stands for anything.
 * @module
 */
import { type Identity, isReserved, maySubscribe } from "../auth/identity.ts";
import { type Clock, jitter } from "../clock.ts";
import type { InboxStore } from "../database/inbox_store.ts";
import { TidingsError } from "../errors.ts";
import { ALL, userTopic } from "./topic.ts";
import { signedOut } from "./withdrawal.ts";

/** Who may read what. */
export interface Rights {
  /**
   * Resolves when the person may read all of the topics. The policy's word counts: yes, no, or what the token says.
   * @throws {TidingsError} `forbidden`, naming the topics; `invalid_token` when the person was signed out
   */
  authorize(identity: Identity, topics: readonly string[]): Promise<void>;
  /** @throws {TidingsError} `invalid_token` when the person was signed out after the token was issued */
  stands(identity: Identity): Promise<void>;
}

/** Milliseconds that an answer to "signed out?" is believed; open sessions learn it at once, by the log. */
const BELIEVED = 1_000;
const REMEMBERED = 10_000;
/** Milliseconds that a request waits for a database that is away for a moment, as sending does. */
const PATIENCE = 5_000;

/** Rights by token and policy. */
export function createRights(
  deps: { store: Pick<InboxStore, "policy" | "signedOut">; clock: Clock },
): Rights {
  const { store, clock } = deps;
  const known = new Map<string, { at: number; signedOut: Promise<number | undefined> }>();

  function askedLately(user: string): Promise<number | undefined> {
    const now = clock.now();
    const last = known.get(user);
    if (last !== undefined && now - last.at < BELIEVED && now >= last.at) return last.signedOut;
    if (known.size >= REMEMBERED) known.clear();
    const entry = { at: now, signedOut: patiently(() => store.signedOut(user)) };
    known.set(user, entry);
    entry.signedOut.catch(() => known.delete(user));
    return entry.signedOut;
  }

  async function patiently<T>(ask: () => Promise<T>): Promise<T> {
    const until = clock.now() + PATIENCE;
    for (let attempt = 0;; attempt++) {
      try {
        return await ask();
      } catch (error) {
        const passing = error instanceof TidingsError && error.code === "unavailable";
        if (!passing || clock.now() >= until) throw error;
        await clock.sleep(jitter(50 * 2 ** Math.min(attempt, 3)));
      }
    }
  }

  async function stands(identity: Identity): Promise<void> {
    const since = await askedLately(identity.user);
    if (since !== undefined && (identity.issuedAt ?? 0) < since) throw signedOut();
  }

  return {
    stands,
    async authorize(identity, topics) {
      await stands(identity);
      const others = topics.filter((topic) => topic !== ALL && topic !== userTopic(identity.user));
      if (others.length === 0) return;
      const policy = identity.admin ? undefined : await store.policy(identity.user, others);
      const refused = others.filter((topic) => {
        const word = policy?.get(topic) ?? null;
        return isReserved(topic) || !(word ?? maySubscribe(identity, topic));
      });
      if (refused.length > 0) throw forbidden(refused, policy);
    },
  };
}

function forbidden(
  refused: readonly string[],
  policy: ReadonlyMap<string, boolean | null> | undefined,
): TidingsError {
  return new TidingsError("forbidden", `Cannot subscribe: ${refused.map(quote).join(", ")} is not allowed`, {
    errors: refused.map((topic) => ({
      field: "topics",
      message: policy?.get(topic) === false
        ? `${quote(topic)} is refused by the application's policy`
        : `${quote(topic)} is not covered by the token's claim tidings.subscribe`,
    })),
  });
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
