/**
 * The end of something long-lived: it comes once, and whoever asked is told.
 * @module
 */

/** The end of one thing. */
export class Ending {
  #over = false;
  /** Made when it is asked for: most never are. */
  #abort: AbortController | undefined;
  readonly #runs: (() => void)[] = [];

  get over(): boolean {
    return this.#over;
  }

  /** Aborted when the end comes. */
  get signal(): AbortSignal {
    this.#abort ??= new AbortController();
    if (this.#over) this.#abort.abort();
    return this.#abort.signal;
  }

  /** Runs once when the end comes; at once when it has. */
  on(run: () => void): void {
    if (this.#over) run();
    else this.#runs.push(run);
  }

  /** The end is here. False: it was before. */
  come(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#abort?.abort();
    for (const run of this.#runs.splice(0)) run();
    return true;
  }
}
