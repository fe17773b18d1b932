/**
 * Keeps for `tidings.trace` which session was sent what, in few rows: a session that was sent anything is one row, written when
 * it first was, when it ends and when it acknowledges; how far this gateway is, one row a second while it moves.
 *
 * It is told, never asked, and holds up nobody: what cannot be written is tried again with the next, and beyond a bound the
 * oldest is given up.
 * @module
 */
import { getLogger } from "@logtape/logtape";
import type { Clock } from "../clock.ts";
import type { Statement } from "../database/postgres.ts";
import { covers, type Cursor } from "../log/cursor.ts";
import { toPositionRecord } from "../log/position.ts";
import type { Service } from "../service.ts";
import type { Hub } from "./hub.ts";
import type { Session } from "./session.ts";

/** What is kept of sessions. */
export interface Readings extends Service {
  /** A session opened; `since` is its position. */
  opened(session: Session, user: string, transport: string): void;
  /** Its client has shown everything up to the cursor. */
  acknowledged(session: Session, cursor: Cursor): void;
}

/** Sessions whose rows wait to be written; more are given up, the oldest first. */
const WAITING = 20_000;
/** Rows of one statement. */
const BATCH = 1_000;
const EVERY = 1_000;

interface Reading {
  id: string;
  user: string;
  transport: string;
  opened: number;
  since: Cursor;
  acked?: Cursor;
  ackedAt?: number;
  ended?: { at: number; sent: Cursor };
  /** The session's revision when it was written; undefined: it was not, or is not up to date. */
  written?: number | undefined;
}

/** Keeps readings for one gateway. */
export function createReadings(deps: { sql: Statement; hub: Hub; clock: Clock; instance: string }): Readings {
  const { sql, hub, clock, instance } = deps;
  const log = getLogger(["tidings", "trace"]);
  const open = new Map<Session, Reading>();
  const ended = new Map<Session, Reading>();
  let passed: Cursor | undefined;
  let cancel: (() => void) | undefined;
  let writing: Promise<void> = Promise.resolve();
  let stopped = true;

  function row(session: Session, one: Reading): Record<string, unknown> {
    const sent = one.ended?.sent ?? (session.live ? undefined : session.position);
    return {
      id: one.id,
      user: one.user,
      transport: one.transport,
      topics: session.topics,
      opened: one.opened,
      since: toPositionRecord(one.since),
      ...(sent === undefined ? {} : { sent: toPositionRecord(sent) }),
      ...(one.acked === undefined ? {} : { acked: toPositionRecord(one.acked), ackedAt: one.ackedAt }),
      ...(one.ended === undefined ? {} : { ended: one.ended.at }),
    };
  }

  async function write(): Promise<void> {
    const { position } = hub;
    const moved = passed === undefined || !covers(passed, position);
    const rows: [Session, Reading][] = [];
    for (const entry of ended) if (rows.push(entry) >= BATCH) break;
    for (const entry of open) {
      const [session, one] = entry;
      if (rows.length >= BATCH) break;
      if (session.wasSent && one.written !== session.revision) rows.push(entry);
    }
    if (!moved && rows.length === 0) return;
    const readings = JSON.stringify(rows.map(([session, one]) => row(session, one)));
    const before = rows.map(([session, one]) => {
      // one that is behind now is written again
      one.written = session.live || one.ended !== undefined ? session.revision : undefined;
      return one.ended;
    });
    try {
      await sql`select tidings.record_readings(${instance}, ${
        moved ? JSON.stringify(toPositionRecord(position)) : null
      }::text::jsonb,
        ${readings}::text::jsonb)`;
      passed = position;
      for (const [index, [session]] of rows.entries()) if (before[index] !== undefined) ended.delete(session);
    } catch (error) {
      for (const [, one] of rows) one.written = undefined;
      log.debug("Cannot write what was delivered, trying again: {error}", { error });
    }
  }

  function schedule(): void {
    cancel = clock.after(EVERY, () => {
      writing = write().finally(() => {
        if (!stopped) schedule();
      });
    });
  }

  return {
    name: "readings",
    opened(session, user, transport) {
      const one: Reading = {
        id: crypto.randomUUID(),
        user,
        transport,
        opened: clock.now(),
        since: session.position,
      };
      open.set(session, one);
      session.onEnd(() => {
        open.delete(session);
        if (!session.wasSent) return;
        one.ended = { at: clock.now(), sent: session.position };
        ended.set(session, one);
        if (ended.size > WAITING) ended.delete(ended.keys().next().value!);
      });
    },
    acknowledged(session, cursor) {
      const one = open.get(session);
      if (one === undefined || cursor.epoch !== hub.position.epoch) return;
      one.acked = cursor;
      one.ackedAt = clock.now();
      one.written = undefined;
    },
    start() {
      stopped = false;
      schedule();
      return Promise.resolve();
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      cancel?.();
      await writing;
      await write();
    },
  };
}
