/**
 * A cursor is an MVCC snapshot: an exact position in the log. Pure.
 *
 * A row is behind a cursor when its transaction had ended in the snapshot: `xid < xmax` and not one of the gaps. A gap is a
 * transaction that was in progress, or that is read only up to one of its ids. So every set of rows that can have been
 * delivered has a cursor, and cutting, joining and comparing are done transaction by transaction.
 *
 * Written `<epoch>-<xmax>[-<xid>[.<id>]…]`, gaps ascending: URL-safe, opaque to clients. Numbers are safe integers: 2^53
 * transactions are more than a cluster lives to see.
 * @module
 */

/** A transaction below xmax that is not, or not wholly, behind the cursor. */
export interface Gap {
  readonly xid: number;
  /** The last id of the transaction that is behind the cursor; 0 when none is. */
  readonly id: number;
}

/** An exact position in the log. */
export interface Cursor {
  /** Names the database history that the transaction ids belong to. */
  readonly epoch: string;
  /** The first transaction id of which nothing is behind the cursor. */
  readonly xmax: number;
  /** Ascending by xid, all below xmax. */
  readonly gaps: readonly Gap[];
}

/** A row's place in the log. */
export interface Place {
  readonly xid: number;
  readonly id: number;
}

/** Gaps that a written cursor carries at most. */
export const MAX_GAPS = 64;

const CURSOR = /^([a-z0-9]{1,16})-([1-9]\d{0,15}|0)((?:-[1-9]\d{0,15}(?:\.[1-9]\d{0,15})?)*)$/;
const LONGEST = 17 + 17 + MAX_GAPS * 34;

/** Reads a cursor that came from outside. Undefined when it is none. */
export function parseCursor(text: string): Cursor | undefined {
  const match = text.length <= LONGEST ? CURSOR.exec(text) : null;
  if (match === null) return undefined;
  const [, epoch = "", xmaxText = "", rest = ""] = match;
  const xmax = Number(xmaxText);
  const gaps = rest === "" ? [] : rest.slice(1).split("-").map((part) => {
    const [xid = "", id = "0"] = part.split(".");
    return { xid: Number(xid), id: Number(id) };
  });
  const ascending = gaps.every((gap, index) => gap.xid < (gaps[index + 1]?.xid ?? xmax));
  const safe = Number.isSafeInteger(xmax) && gaps.every((gap) => Number.isSafeInteger(gap.id));
  return ascending && safe && gaps.length <= MAX_GAPS ? { epoch, xmax, gaps } : undefined;
}

/**
 * Writes a cursor for a client. With more than {@link MAX_GAPS} gaps the highest are given up by lowering xmax to the first
 * of them: a few rows come twice, with the same id.
 */
export function formatCursor(cursor: Cursor): string {
  const { epoch, gaps } = cursor;
  const xmax = gaps[MAX_GAPS]?.xid ?? cursor.xmax;
  let text = `${epoch}-${xmax}`;
  for (const { xid, id } of gaps.length > MAX_GAPS ? gaps.slice(0, MAX_GAPS) : gaps) {
    text += id === 0 ? `-${xid}` : `-${xid}.${id}`;
  }
  return text;
}

/** The cursor of what `pg_current_snapshot()` prints: `xmin:xmax:xip,xip`. */
export function fromSnapshot(epoch: string, snapshot: string): Cursor {
  const [, xmax = "", xip = ""] = snapshot.split(":");
  const gaps = xip === "" ? [] : xip.split(",").map((xid) => ({ xid: Number(xid), id: 0 })).sort(byXid);
  return { epoch, xmax: Number(xmax), gaps };
}

/**
 * The cursor with nothing behind it from a transaction id on. A position is cut after the last row it has read: xids beyond it
 * that ended without a row may be handed out again when the server crashes before it wrote them down.
 */
export function cutAt(cursor: Cursor, xid: number): Cursor {
  if (xid >= cursor.xmax) return cursor;
  return { epoch: cursor.epoch, xmax: xid, gaps: cursor.gaps.filter((gap) => gap.xid < xid) };
}

/** Whether a row is behind the cursor. */
export function isBehind(cursor: Cursor, place: Place): boolean {
  return place.id <= reach(cursor, place.xid);
}

/** Whether everything that is behind `other` is behind `cursor`. */
export function covers(cursor: Cursor, other: Cursor): boolean {
  if (cursor === other) return true;
  // Between the two, every transaction must be a gap of the other that nothing was read of.
  const unread = other.gaps.filter((gap) => gap.xid >= cursor.xmax && gap.id === 0).length;
  if (other.xmax - cursor.xmax > unread) return false;
  return cursor.gaps.every((gap) => reach(other, gap.xid) <= gap.id);
}

/** What is behind either of the two. */
export function merge(a: Cursor, b: Cursor): Cursor {
  const gaps = new Map<number, Gap>();
  for (const { xid } of [...a.gaps, ...b.gaps]) {
    const id = Math.max(reach(a, xid), reach(b, xid));
    if (id !== Infinity) gaps.set(xid, { xid, id });
  }
  return { epoch: a.epoch, xmax: Math.max(a.xmax, b.xmax), gaps: [...gaps.values()].sort(byXid) };
}

/**
 * The cursor after one row of a batch that lies between two cursors and is read in (xid, id) order: transactions up to the
 * row's follow the later cursor, those beyond it the earlier one, and its own is read up to the row.
 */
export function splice(earlier: Cursor, later: Cursor, at: Place): Cursor {
  const gaps: Gap[] = later.gaps.filter((gap) => gap.xid < at.xid);
  gaps.push({ xid: at.xid, id: at.id });
  for (const gap of earlier.gaps) if (gap.xid > at.xid) gaps.push(gap);
  return { epoch: later.epoch, xmax: Math.max(earlier.xmax, at.xid + 1), gaps };
}

/**
 * The cursor with the first row of a transaction behind it as well, and everything else that is not behind it still after it.
 * Undefined when something of the transaction is behind it already, or when it would have more than so many gaps.
 */
export function withFirst(cursor: Cursor, { xid, id }: Place, most: number): Cursor | undefined {
  const { epoch, xmax, gaps } = cursor;
  if (reach(cursor, xid) > 0) return undefined;
  if (xid < xmax) return { epoch, xmax, gaps: gaps.map((gap) => gap.xid === xid ? { xid, id } : gap) };
  if (gaps.length + (xid - xmax) >= most) return undefined;
  const between = Array.from({ length: xid - xmax }, (_, index) => ({ xid: xmax + index, id: 0 }));
  return { epoch, xmax: xid + 1, gaps: [...gaps, ...between, { xid, id }] };
}

/** The cursor with all of a transaction behind it. */
export function withAll(cursor: Cursor, xid: number): Cursor {
  return { ...cursor, gaps: cursor.gaps.filter((gap) => gap.xid !== xid) };
}

/**
 * Whether nothing that retention purged, up to this transaction id, was missed. A gap below it does no harm while it is as open
 * at the present position as it is in the cursor: of a transaction that has not ended nothing can have been purged.
 */
export function isPast(cursor: Cursor, horizon: number, present: Cursor): boolean {
  return cursor.xmax > horizon &&
    cursor.gaps.every((gap) => gap.xid > horizon || reach(present, gap.xid) === gap.id);
}

/** The last id of a transaction that is behind the cursor: Infinity for all of it, 0 for none. */
function reach(cursor: Cursor, xid: number): number {
  if (xid >= cursor.xmax) return 0;
  const { gaps } = cursor;
  let low = 0;
  let high = gaps.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const gap = gaps[middle]!;
    if (gap.xid === xid) return gap.id;
    if (gap.xid < xid) low = middle + 1;
    else high = middle - 1;
  }
  return Infinity;
}

function byXid(a: Gap, b: Gap): number {
  return a.xid - b.xid;
}
