/**
 * Typed events, by listener and by iteration. A listener that throws stops nobody else; an iteration that falls too far
 * behind ends with the error `overflow`.
 * @module
 */
import { TidingsClientError } from "./problem.ts";

/** Listeners by event; `Map` names the events and their values. */
export class Emitter<Map> {
  readonly #listeners = new globalThis.Map<keyof Map, Set<(value: never) => void>>();

  /** The returned function takes the listener away again. */
  on<K extends keyof Map>(event: K, listener: (value: Map[K]) => void): () => void {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set);
    set.add(listener);
    return () => void set.delete(listener);
  }

  emit<K extends keyof Map>(event: K, value: Map[K]): void {
    for (const listener of [...this.#listeners.get(event) ?? []]) {
      try {
        (listener as (value: Map[K]) => void)(value);
      } catch (error) {
        // the page's own mistake: reported as such, and the feed goes on
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}

/** Values from a source, for one `for await`. At most `most` wait to be read. `closed`: there will be none. */
export function iterate<T>(
  most: number,
  begin: (push: (value: T) => void, end: () => void) => () => void,
  closed: boolean,
): AsyncIterableIterator<T> {
  const values: T[] = [];
  let waiting: { resolve(result: IteratorResult<T>): void; reject(error: unknown): void } | null = null;
  let over = false;
  let error: TidingsClientError | null = null;
  const finish = () => {
    over = true;
    stop();
    waiting?.resolve({ done: true, value: undefined });
    waiting = null;
  };
  const push = (value: T) => {
    if (over) return;
    if (waiting !== null) {
      waiting.resolve({ done: false, value });
      waiting = null;
    } else if (values.length < most) {
      values.push(value);
    } else {
      error = new TidingsClientError(
        "overflow",
        `Cannot keep up: ${most} notifications wait to be read; read faster`,
      );
      finish();
    }
  };
  const stop = begin(push, () => over || finish());
  if (closed) finish();
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next() {
      const value = values.shift();
      if (value !== undefined) return Promise.resolve({ done: false, value });
      if (error !== null) {
        const thrown = error;
        error = null;
        return Promise.reject(thrown);
      }
      if (over) return Promise.resolve({ done: true, value: undefined });
      if (waiting !== null) return Promise.reject(new TypeError("Cannot read: another read is waiting"));
      return new Promise((resolve, reject) => waiting = { resolve, reject });
    },
    return() {
      values.length = 0;
      if (!over) finish();
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}
