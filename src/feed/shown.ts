/**
 * What was delivered while an unfollow was being committed. Its stretch ends where the unfollow was called; a gateway that read
 * on before it was committed has delivered beyond that, and has the inbox keep what was shown.
 *
 * A session that ended before it read of the unfollow has its client's next cursor tell it; sql/013_follow.sql says why one whose
 * client never comes back is left.
 * @module
 */
import { type Chance, type Clock, jitter, rest } from "../clock.ts";
import type { InboxStore } from "../database/inbox_store.ts";
import { isContended } from "../database/postgres.ts";
import type { StretchRecord } from "../database/stretch.ts";
import { TidingsError } from "../errors.ts";
import { covers, type Cursor, isBehind } from "../log/cursor.ts";
import type { Row } from "../log/row.ts";
import type { Service } from "../service.ts";
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

/** Has inboxes keep what was shown. `stop` tries once more what waits, and no more. */
export interface ShownKeeper extends Service {
  /** Keeps what was shown beyond the stretch, if anything was. Does not wait. */
  keep(shown: Shown): void;
}

/** A keeper with nothing to do. */
export function createShownKeeper({ hub, store, clock, chance, failed }: ShownDeps): ShownKeeper {
  const pending = new Set<Promise<void>>();
  let over = new AbortController();

  /** Whether anything of the topic lies between the two; what is not in memory any more may. */
  function mayHaveMore({ until, position, stretch: { topic } }: Shown): boolean {
    if (covers(until, position)) return false;
    if (!covers(hub.position, position)) return true;
    const wants = (row: Row) => row.topic === topic && row.transient !== true && isBehind(position, row);
    return hub.window.read(until, position, wants, 1)?.rows.length !== 0;
  }

  async function write({ user, stretch, position }: Shown): Promise<void> {
    for (let attempt = 1;; attempt++) {
      const last = attempt === ATTEMPTS || over.signal.aborted;
      try {
        await store.keepShown(user, stretch, position);
        return;
      } catch (error) {
        if (last || !passes(error)) return failed(error);
        await rest(clock, jitter(RETRY * attempt, chance), over.signal);
      }
    }
  }

  return {
    name: "shown",
    keep(shown) {
      if (!mayHaveMore(shown)) return;
      const writing = write(shown).finally(() => pending.delete(writing));
      pending.add(writing);
    },
    start() {
      over = new AbortController();
      return Promise.resolve();
    },
    async stop() {
      over.abort();
      await Promise.all(pending);
    },
  };
}

/** A database that cannot be reached at the moment, or whose row somebody else holds. */
function passes(error: unknown): boolean {
  return error instanceof TidingsError || isContended(error);
}
