/**
 * The timers of one connection, by name: one of each, all cancelled at the end.
 * @module
 */
import type { Clock } from "../clock.ts";

/** Named timers. After `clear` no timer starts any more. */
export class Timers {
  readonly #clock: Clock;
  readonly #running = new Map<string, () => void>();
  #over = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Runs once after `ms`; a timer of the same name is replaced. */
  after(name: string, ms: number, run: () => void): void {
    this.cancel(name);
    if (this.#over) return;
    this.#running.set(
      name,
      this.#clock.after(Math.max(0, ms), () => {
        this.#running.delete(name);
        run();
      }),
    );
  }

  /** Runs every `ms`, until `run` says false. */
  every(name: string, ms: number, run: () => boolean): void {
    this.after(name, ms, () => {
      if (run()) this.every(name, ms, run);
    });
  }

  has(name: string): boolean {
    return this.#running.has(name);
  }

  cancel(name: string): void {
    this.#running.get(name)?.();
    this.#running.delete(name);
  }

  clear(): void {
    this.#over = true;
    for (const cancel of this.#running.values()) cancel();
    this.#running.clear();
  }
}
