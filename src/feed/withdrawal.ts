/**
 * Rights that end while sessions are open: a topic is taken away, or the login itself.
 * @module
 */
import type { InboxStore } from "../database/inbox_store.ts";
import { TidingsError } from "../errors.ts";
import { isPresenceTopic } from "./presence.ts";
import type { Session } from "./session.ts";
import { ALL, userTopic } from "./topic.ts";

/** The types of the log's rows that withdraw something. */
export const WITHDRAWALS = { revoke: "tidings.revoke", signOut: "tidings.sign_out" } as const;

/** What a look at the policy needs. */
export interface WithdrawalDeps {
  store: Pick<InboxStore, "policy">;
  /** The look failed: the session loses all its topics but its own, because a right may have ended. */
  failed(error: unknown): void;
}

/** Takes a topic away, or without one, whatever the application's policy refuses now. */
export function revoke(data: { topic?: string }, user: string, session: Session, deps: WithdrawalDeps): void {
  if (data.topic !== undefined) return session.withdraw([data.topic]);
  const topics = session.topics.filter((topic) =>
    topic !== ALL && topic !== userTopic(user) && !isPresenceTopic(topic)
  );
  if (topics.length === 0) return;
  const asked = deps.store.policy(user, topics).then((allowed) => {
    session.withdraw(topics.filter((topic) => allowed.get(topic) === false));
  }).catch((error) => {
    deps.failed(error);
    session.withdraw(topics);
  });
  // What comes after it waits for the answer.
  session.holdFor(asked);
}

/** Ends a session whose token is from before. */
export function signOut(data: { before: number }, session: Session): void {
  if ((session.issuedAt ?? 0) < data.before) session.close(signedOut());
}

/** The token is from before the person was signed out. */
export function signedOut(): TidingsError {
  return new TidingsError(
    "invalid_token",
    "Cannot accept the token: its person was signed out after it was issued; log in again",
  );
}
