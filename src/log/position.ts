/**
 * A position in the log without the name of its history: as it is kept in rows, and written in JSON for SQL and by SQL.
 * @module
 */
import type { Cursor } from "./cursor.ts";

/** A position in the log without the name of its history. */
export type Position = Omit<Cursor, "epoch">;

/** A position as SQL writes and reads it: what is in `xip` is its gaps, and `at` up to where each is behind it. */
export interface PositionRecord {
  xmax: string;
  xip: string[];
  at: string[];
}

/** The position that SQL wrote. */
export function toPosition({ xmax, xip, at }: PositionRecord): Position {
  return { xmax: Number(xmax), gaps: xip.map((xid, index) => ({ xid: Number(xid), id: Number(at[index]) })) };
}

/** The position as SQL reads it. */
export function toPositionRecord({ xmax, gaps }: Position): PositionRecord {
  return {
    xmax: String(xmax),
    xip: gaps.map(({ xid }) => String(xid)),
    at: gaps.map(({ id }) => String(id)),
  };
}
