/**
 * Rows that are delivered together, and the cursors inside them. Made once, shared by everybody who gets it: what a transport
 * encodes of it is kept with it.
 * @module
 */
import { type Cursor, formatCursor, merge, splice } from "./cursor.ts";
import type { Row } from "./row.ts";

/** Rows between two positions, in (xid, id) order. */
export interface Stretch {
  readonly rows: readonly Row[];
  /** Everything before the first row. */
  readonly from: Cursor;
  /** Everything up to the end. */
  readonly to: Cursor;
}

/** One stretch of the log, or several in a row. */
export class Batch {
  readonly rows: readonly Row[];
  readonly #stretches: readonly Stretch[];
  readonly #held: Cursor | undefined;
  readonly #end: Cursor;
  #cursor: string | undefined;
  #encoded: Map<unknown, unknown> | undefined;

  /**
   * @param stretches the rows, stretch by stretch
   * @param end the position when all is delivered
   * @param held what the receiver holds besides; undefined: nothing that the stretches do not cover
   */
  constructor(stretches: readonly Stretch[], end: Cursor, held?: Cursor) {
    this.#stretches = stretches;
    this.#held = held;
    this.#end = held === undefined ? end : merge(held, end);
    this.rows = stretches.length === 1 ? stretches[0]!.rows : stretches.flatMap((stretch) => stretch.rows);
  }

  /** The position when all is delivered. */
  get end(): Cursor {
    return this.#end;
  }

  /** The end, written. */
  get cursor(): string {
    return this.#cursor ??= formatCursor(this.#end);
  }

  /** The position after a row. */
  positionAt(index: number): Cursor {
    if (index === this.rows.length - 1) return this.#end;
    let start = 0;
    for (const { rows, from, to } of this.#stretches) {
      const row = rows[index - start];
      if (row !== undefined) {
        const cut = splice(from, to, row);
        return this.#held === undefined ? cut : merge(this.#held, cut);
      }
      start += rows.length;
    }
    return this.#end;
  }

  /** The position after a row, written. */
  cursorAt(index: number): string {
    return index === this.rows.length - 1 ? this.cursor : formatCursor(this.positionAt(index));
  }

  /** The first rows only, ending at the place of the last of them. */
  first(count: number): Batch {
    return count >= this.rows.length ? this : this.slice(0, count);
  }

  /** Some of the rows in a run, ending at the place of the last of them. */
  slice(from: number, until: number): Batch {
    const kept: Stretch[] = [];
    let start = 0;
    for (const stretch of this.#stretches) {
      const rows = stretch.rows.slice(Math.max(0, from - start), Math.max(0, until - start));
      if (rows.length > 0) kept.push({ ...stretch, rows });
      start += stretch.rows.length;
    }
    return new Batch(kept, until >= this.rows.length ? this.#end : this.positionAt(until - 1), this.#held);
  }

  /** The rows that `keep` takes; the end stays. `held` is what the receiver holds besides. */
  filter(keep: (row: Row) => boolean, held?: Cursor): Batch {
    const stretches = this.#stretches.map((stretch) => ({ ...stretch, rows: stretch.rows.filter(keep) }));
    const both = held === undefined || this.#held === undefined
      ? held ?? this.#held
      : merge(held, this.#held);
    return new Batch(stretches, this.#end, both);
  }

  /** What `make` makes of this batch, made once per `key`. */
  encoded<T>(key: unknown, make: (batch: Batch) => T): T {
    this.#encoded ??= new Map();
    let made = this.#encoded.get(key) as T | undefined;
    if (made === undefined) this.#encoded.set(key, made = make(this));
    return made;
  }
}
