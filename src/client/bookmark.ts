/**
 * How far the feed was told: the cursor to go on from, and when to keep it and acknowledge it.
 * @module
 */
import type { Clock } from "../clock.ts";

/** Milliseconds between two looks at whether to keep the cursor. */
const SETTLE = 200;

/** The place in one feed. */
export class Bookmark {
  readonly #clock: Clock;
  readonly #keep: (cursor: string) => void;
  #cursor: string | undefined;
  /** Undefined: it did not move since it was kept. */
  #cancel: (() => void) | undefined;

  /** `keep` gets the cursor a moment after it moved. */
  constructor(clock: Clock, cursor: string | undefined, keep: (cursor: string) => void) {
    this.#clock = clock;
    this.#cursor = cursor;
    this.#keep = keep;
  }

  /** Undefined: nothing was told yet. */
  get cursor(): string | undefined {
    return this.#cursor;
  }

  /** What lies before this was told. An empty one, or none, is left alone. */
  move(cursor: string | undefined): void {
    if (!cursor) return;
    this.#cursor = cursor;
    this.#cancel ??= this.#clock.after(SETTLE, () => this.settle());
  }

  /** Has it kept now, if it moved. */
  settle(): void {
    if (this.#cancel === undefined) return;
    this.#cancel();
    this.#cancel = undefined;
    this.#keep(this.#cursor!);
  }
}
