/**
 * What rows of the log do to the sessions that they reach: their person marked something, follows, lost a right, was signed
 * out. Each takes effect in its place in the log; none is shown as an item.
 * @module
 */
import { type RulesRecord, screenOf, toRules } from "../database/hidden_rules.ts";
import { type StretchRecord, toStretch } from "../database/stretch.ts";
import { itemOf, type Row } from "../log/row.ts";
import type { InboxChange } from "../protocol.ts";
import type { Crowd } from "./people.ts";
import type { Control, Session } from "./session.ts";
import { userTopic } from "./topic.ts";
import { revoke, signOut, type WithdrawalDeps, WITHDRAWALS } from "./withdrawal.ts";

/** What the control needs. */
export interface ControlDeps extends WithdrawalDeps {
  crowd: Pick<Crowd, "told" | "known" | "shown">;
}

/** Types of the log that steer sessions. */
const STEERS: Record<
  string,
  ((data: never, row: Row, session: Session, deps: ControlDeps) => void) | undefined
> = {
  "tidings.inbox": inbox,
  "tidings.follow": follow,
  "tidings.unfollow": unfollow,
  [WITHDRAWALS.revoke]: (data: { topic?: string }, row, session, deps) =>
    revoke(data, row.topic.slice(userTopic("").length), session, deps),
  [WITHDRAWALS.signOut]: (data: { before: number }, _row, session) => signOut(data, session),
};

/** The control of all sessions. */
export function createControl(deps: ControlDeps): Control {
  return (row, session) => {
    const steer = STEERS[row.type];
    if (steer === undefined) return;
    steer((itemOf(row).data ?? {}) as never, row, session, deps);
  };
}

interface InboxData {
  changes?: InboxChange[];
  unread?: number;
  unseen?: number;
  hidden?: RulesRecord;
}

function inbox(data: InboxData, row: Row, session: Session, { crowd }: ControlDeps): void {
  if (data.hidden !== undefined) session.screen = screenOf(toRules(data.hidden));
  const { changes, unread, unseen } = data;
  if (unread === undefined || unseen === undefined) return crowd.told(session);
  // Of what happened long ago, the counts of today are better than those of that moment.
  const count = crowd.known(session, row) ?? { unread, unseen };
  session.inbox({ ...count, ...(changes === undefined ? {} : { changes }) });
  crowd.told(session, count);
}

function follow(data: StretchRecord, _row: Row, session: Session): void {
  const { id, topic, since } = toStretch(data);
  session.follow(id, topic, { epoch: session.position.epoch, ...since });
}

function unfollow(data: StretchRecord, _row: Row, session: Session, { crowd }: ControlDeps): void {
  const { id, topic, until } = toStretch(data);
  if (until === undefined) return;
  const end = { epoch: session.position.epoch, ...until };
  crowd.shown(session, data, end, session.unfollow(id, topic, end));
}
