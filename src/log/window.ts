/**
 * The last seconds of the log, in memory: a cursor inside it costs no query. Pure.
 *
 * Bounded by age, rows and bytes; what falls out is read from the database again by whoever needs it.
 * @module
 */
import { Batch, type Stretch } from "./batch.ts";
import { covers, type Cursor, isBehind, splice } from "./cursor.ts";
import type { Row } from "./row.ts";

/** Bounds of the window. */
export interface WindowLimits {
  /** Milliseconds. @default 30000 */
  age: number;
  /** @default 20000 */
  rows: number;
  /** Characters of JSON. @default 32 MiB */
  bytes: number;
}

/** The defaults. */
export const WINDOW: WindowLimits = { age: 30_000, rows: 20_000, bytes: 32 * 1024 * 1024 };

/** Characters of JSON in one page, about: the row that passes it is the last. */
export const PAGE_BYTES = 1024 * 1024;

interface Kept {
  stretch: Stretch;
  at: number;
  bytes: number;
}

/** The window. It always reaches up to the hub's position. */
export class Window {
  readonly #limits: WindowLimits;
  #kept: Kept[] = [];
  #rows = 0;
  #bytes = 0;
  #start: Cursor;

  constructor(start: Cursor, limits: Partial<WindowLimits> = {}) {
    this.#start = start;
    this.#limits = { ...WINDOW, ...limits };
  }

  /** A cursor that covers this is inside. */
  get start(): Cursor {
    return this.#start;
  }

  get size(): number {
    return this.#rows;
  }

  /** Appends a stretch. Stretches follow each other without a gap; those without rows, which are most, only make old ones go. */
  add(stretch: Stretch, now: number): void {
    if (stretch.rows.length > 0) {
      const bytes = stretch.rows.reduce((sum, row) => sum + row.json.length, 0);
      this.#kept.push({ stretch, at: now, bytes });
      this.#rows += stretch.rows.length;
      this.#bytes += bytes;
    }
    const { age, rows: most, bytes: heaviest } = this.#limits;
    let dropped = 0;
    for (const oldest of this.#kept) {
      if (this.#rows <= most && this.#bytes <= heaviest && now - oldest.at <= age) break;
      this.#rows -= oldest.stretch.rows.length;
      this.#bytes -= oldest.bytes;
      this.#start = oldest.stretch.to;
      dropped++;
    }
    if (dropped > 0) this.#kept.splice(0, dropped);
  }

  /**
   * The next rows after a cursor that `wants` takes, at most `limit` of them and about {@link PAGE_BYTES}; undefined when
   * the cursor is not inside. `head` is the position that the window reaches up to.
   */
  read(after: Cursor, head: Cursor, wants: (row: Row) => boolean, limit: number): Batch | undefined {
    if (!covers(after, this.#start)) return undefined;
    const stretches: Stretch[] = [];
    let room = limit;
    let bytes = PAGE_BYTES;
    for (const { stretch } of this.#kept) {
      if (covers(after, stretch.to)) continue;
      const rows: Row[] = [];
      for (const row of stretch.rows) {
        if (!wants(row) || isBehind(after, row)) continue;
        rows.push(row);
        bytes -= row.json.length;
        if (rows.length < room && bytes > 0) continue;
        stretches.push({ ...stretch, rows });
        const last = row === stretch.rows.at(-1);
        return new Batch(stretches, last ? stretch.to : splice(stretch.from, stretch.to, row), after);
      }
      room -= rows.length;
      if (rows.length > 0) stretches.push({ ...stretch, rows });
    }
    return new Batch(stretches, head, after);
  }
}
