/**
 * What the browser knows of the world around the connection: network, visibility, sleep. Outside a browser there is only
 * the clock, and a gap in it.
 * @module
 */
import type { Clock } from "../clock.ts";

/** What a connection hears of the world. */
export interface WorldEars {
  online(): void;
  offline(): void;
  shown(): void;
  hidden(): void;
  /** The machine or the page was asleep. */
  woke(): void;
  /** The page goes away, perhaps for good. */
  leaving(): void;
}

/** The world, injected so that tests own it. */
export interface World {
  online(): boolean;
  hidden(): boolean;
  /** A name for the kind of network, for the memory of what works on it. */
  network(): string;
  /** The returned function ends it. */
  watch(ears: WorldEars): () => void;
}

/** Milliseconds between two looks at the clock, and the gap that means sleep; a hidden page's timers are slowed to one a minute. */
const LOOK = 500;
const GAP = 3_000;
const GAP_HIDDEN = 150_000;

/** The world of this page or process. */
export function realWorld(clock: Clock): World {
  const page = globalThis.document as Document | undefined;
  const world: World = {
    online: () => globalThis.navigator?.onLine !== false,
    hidden: () => page?.visibilityState === "hidden",
    network: () =>
      (globalThis.navigator as { connection?: { type?: string } } | undefined)?.connection?.type ?? "any",
    watch(ears) {
      const stops: (() => void)[] = [watchClock(clock, () => world.hidden() ? GAP_HIDDEN : GAP, ears.woke)];
      const listen = (target: EventTarget | undefined, name: string, run: (event: Event) => void) => {
        target?.addEventListener(name, run);
        stops.push(() => target?.removeEventListener(name, run));
      };
      const window = page === undefined ? undefined : globalThis as unknown as EventTarget;
      listen(window, "online", ears.online);
      listen(window, "offline", ears.offline);
      listen(page, "visibilitychange", () => world.hidden() ? ears.hidden() : ears.shown());
      listen(page, "resume", ears.woke);
      listen(window, "pageshow", (event) => (event as PageTransitionEvent).persisted && ears.woke());
      listen(window, "pagehide", ears.leaving);
      return () => stops.forEach((stop) => stop());
    },
  };
  return world;
}

/** Calls back when the clock jumped further than a timer can be late. */
function watchClock(clock: Clock, gap: () => number, woke: () => void): () => void {
  let last = clock.now();
  const look = () => {
    const now = clock.now();
    const slept = now - last > gap();
    last = now;
    cancel = clock.after(LOOK, look);
    if (slept) woke();
  };
  let cancel = clock.after(LOOK, look);
  return () => cancel();
}
