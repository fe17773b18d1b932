/**
 * What stands between a session and its sink: it shuts when the sink takes no more, and opens when that has drained.
 *
 * Holds: whoever waits goes on only when the sink takes something; what it was owed may have filled it again. Of counts that it
 * could not take, it gets the last.
 * @module
 */
import type { Batch } from "../log/batch.ts";
import type { InboxCount } from "../protocol.ts";
import type { InboxEvent, Sink } from "./sink.ts";

/** The valve of one session. */
export class Valve {
  readonly #sink: Sink;
  #shut = false;
  #used = false;
  #ended = false;
  #owed: InboxCount | undefined;
  #resume: (() => void) | undefined;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Whether the sink takes no more at the moment. */
  get shut(): boolean {
    return this.#shut;
  }

  /** Whether any row went through. */
  get used(): boolean {
    return this.#used;
  }

  /** Lets rows through. False: it is shut now. */
  items(batch: Batch): boolean {
    this.#used = true;
    if (!this.#sink.items(batch)) this.#shut = true;
    return !this.#shut;
  }

  /** Lets news of the inbox through. False: it is shut now. */
  inbox(event: InboxEvent): boolean {
    if (!this.#sink.inbox(event)) this.#shut = true;
    return !this.#shut;
  }

  /** Keeps the counts for when it opens. */
  owe(count: InboxCount): void {
    this.#owed = count;
  }

  /** The sink has drained. */
  drained(): void {
    if (this.#ended) return;
    this.#shut = false;
    const owed = this.#owed;
    this.#owed = undefined;
    if (owed === undefined || this.inbox(owed)) this.#go();
  }

  /** Resolves when it is open, or nothing goes through any more. One waits at a time. */
  opened(): Promise<void> {
    if (!this.#shut || this.#ended) return Promise.resolve();
    return new Promise((resolve) => this.#resume = resolve);
  }

  /** Lets nothing through any more. */
  end(): void {
    this.#ended = true;
    this.#owed = undefined;
    this.#go();
  }

  #go(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  }
}
