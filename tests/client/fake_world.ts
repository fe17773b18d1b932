/**
 * A world that says what the test says: whether there is a network, and what happens to the page.
 * @module
 */
import type { World, WorldEars } from "../../src/client/world.ts";

/** A world, and its hands: who listens to it, and whether it is online. */
export interface FakeWorld extends World {
  readonly ears: Set<WorldEars>;
  isOnline: boolean;
}

/** A world that is online, with a page that is looked at. */
export function fakeWorld(): FakeWorld {
  const ears = new Set<WorldEars>();
  return {
    ears,
    isOnline: true,
    online() {
      return this.isOnline;
    },
    hidden: () => false,
    network: () => "any",
    watch(added) {
      ears.add(added);
      return () => ears.delete(added);
    },
  };
}
