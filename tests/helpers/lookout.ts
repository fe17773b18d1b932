/**
 * Waiting for a condition on something that says whenever anything happened to it.
 * @module
 */

/** Those who wait, and what they wait for. */
export class Lookout {
  readonly #looks = new Set<() => void>();

  /** Something happened: every condition is looked at. */
  happened(): void {
    for (const look of [...this.#looks]) look();
  }

  /** Resolves as soon as the condition holds; at once if it does. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#looks.delete(look);
        resolve();
      };
      this.#looks.add(look);
      look();
    });
  }
}
