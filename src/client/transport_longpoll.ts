/**
 * The feed by long-polling: what gets through where nothing else does. A request that a proxy cuts makes the next ones
 * shorter, until they get through.
 * @module
 */
import type { Item } from "../notification.ts";
import type { InboxChange, InboxCount } from "../protocol.ts";
import { readProblem } from "./problem.ts";
import { endingOf, feedUrl, type OpenLink, requestInit } from "./link.ts";

interface Answer {
  cursor: string;
  items: Item[];
  inbox?: InboxCount & { changes?: InboxChange[] };
}

/** Seconds that a request asks the gateway to hold, at most and at least. */
const WAIT = 25;
const SHORTEST = 2;
/** An answer that is empty and came sooner, in milliseconds, was not held: ask no faster than that. */
const HELD = 1_000;
/** Beyond the wait, a request that takes this many milliseconds more is dead. */
const GRACE = 5_000;

/** Opens the feed; welcomed by the first answer, which the gateway gives at once. */
export const openLongpoll: OpenLink = (request, ears, { fetch, clock }) => {
  const abort = new AbortController();
  let since = request.since;
  let inbox = "";
  let wait = 0;
  let most = WAIT;
  let resets = 0;

  const take = (answer: Answer) => {
    ears.alive();
    since = answer.cursor;
    if (wait === 0) {
      ears.welcomed({ cursor: answer.cursor, ...(answer.inbox ? { inbox: answer.inbox } : {}) });
    }
    ears.frame({ op: "items", cursor: answer.cursor, items: answer.items });
    const count = JSON.stringify(answer.inbox ?? null);
    if (answer.inbox !== undefined && count !== inbox) ears.frame({ op: "inbox", ...answer.inbox });
    inbox = count;
  };

  /** One request; true: go on. */
  const poll = async (began: number): Promise<boolean> => {
    const url = feedUrl({ ...request, since }, { wait: String(wait) });
    const init = requestInit(request.token, { accept: "application/json" });
    const late = new AbortController();
    const cancel = clock.after(wait * 1000 + GRACE, () => late.abort());
    try {
      const response = await fetch(url, { ...init, signal: AbortSignal.any([abort.signal, late.signal]) });
      if (response.status === 409) {
        const problem = await readProblem(response);
        if (problem?.cursor === undefined || ++resets > 1) throw new TypeError("Not the gateway's answer");
        since = problem.cursor;
        ears.frame({ op: "reset", reason: reasonOf(problem), cursor: problem.cursor });
        return true;
      }
      if (!response.ok) {
        const ending = await endingOf(response);
        if (ending.type === "lost") throw new TypeError("Not the gateway's answer");
        if (!abort.signal.aborted) ears.ended(ending);
        return false;
      }
      const answer = await response.json() as Answer;
      if (typeof answer?.cursor !== "string" || !Array.isArray(answer.items)) {
        throw new TypeError("Not the gateway's answer");
      }
      if (abort.signal.aborted) return false;
      const held = clock.now() - began;
      const idle = wait > 0 && answer.items.length === 0 && held < HELD;
      resets = 0;
      take(answer);
      wait = most;
      if (idle) await clock.sleep(HELD - held, abort.signal);
      return true;
    } finally {
      cancel();
    }
  };

  const run = async () => {
    for (let go = true; go && !abort.signal.aborted;) {
      const began = clock.now();
      try {
        go = await poll(began);
      } catch {
        if (abort.signal.aborted) return;
        const lasted = clock.now() - began;
        // held for a while and then cut: a proxy's limit, so stay below it from now on
        if (wait > SHORTEST && lasted > 1_000) {
          most = Math.max(SHORTEST, Math.min(Math.floor(lasted / 1500), Math.floor(wait / 2)));
          wait = most;
          continue;
        }
        ears.ended({ type: "lost" });
        go = false;
      }
    }
    abort.abort();
  };
  void run();
  return { patience: undefined, close: () => abort.abort() };
};

function reasonOf(problem: { code: string } & object): "history" | "retention" | "unknown" {
  const { reason } = problem as { reason?: unknown };
  return reason === "history" || reason === "retention" ? reason : "unknown";
}
