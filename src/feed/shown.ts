/**
 * What was delivered while an unfollow was being committed. Its stretch ends where the unfollow was called; a gateway that read
 * on before it was committed has delivered beyond that, and has the inbox keep what was shown.
 * @module
 */
import { type Chance, type Clock, jitter } from "../clock.ts";
import type { InboxStore, StretchRecord } from "../database/inbox_store.ts";
import { covers, type Cursor, isBehind } from "../log/cursor.ts";
import type { Row } from "../log/row.ts";
import type { Hub } from "./hub.ts";

/** What keeping needs. */
export interface ShownDeps {
  hub: Hub;
  store: Pick<InboxStore, "keepShown">;
  clock: Clock;
  chance: Chance;
  /** It could not be kept, and is given up. */
  failed(error: unknown): void;
}

/** An ended stretch, as its unfollow told it, and how far its topic was delivered. */
export interface Shown {
  user: string;
  stretch: StretchRecord;
  until: Cursor;
  position: Cursor;
}

const RETRY = 100;
/** How often it is tried to keep what was shown, with pauses that grow, before that is given up. */
const ATTEMPTS = 30;

/** Has the inbox keep what was shown beyond the stretch, if anything was. */
export function keepShown({ user, stretch, until, position }: Shown, deps: ShownDeps): void {
  if (!mayHaveMore(until, position, stretch.topic, deps.hub)) return;
  keep(user, stretch, position, deps).catch(deps.failed);
}

/** Whether anything of the topic lies between the two; what is not in memory any more may. */
function mayHaveMore(until: Cursor, position: Cursor, topic: string, hub: Hub): boolean {
  if (covers(until, position)) return false;
  if (!covers(hub.position, position)) return true;
  const wants = (row: Row) => row.topic === topic && row.transient !== true && isBehind(position, row);
  return hub.window.read(until, position, wants, 1)?.rows.length !== 0;
}

async function keep(
  user: string,
  stretch: StretchRecord,
  position: Cursor,
  { store, clock, chance }: ShownDeps,
): Promise<void> {
  for (let attempt = 1;; attempt++) {
    try {
      await store.keepShown(user, stretch, position);
      return;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await clock.sleep(jitter(RETRY * attempt, chance));
    }
  }
}
