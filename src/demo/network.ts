/**
 * A network with a switch: what the client is given instead of the browser's own, so that the demo can cut it.
 * @module
 */
import type { World, WorldEars } from "../client/world.ts";

/** A network of one member. */
export class Network {
  /** Ends every request that was made since the network was cut the last time. */
  #cut = new AbortController();
  readonly #sockets = new Set<WebSocket>();
  readonly #ears = new Set<WorldEars>();
  /** False: cut. */
  up = true;

  /** Ends whatever is open, as a tunnel does, and lets nothing new through. */
  cut(): void {
    this.up = false;
    this.#cut.abort();
    this.#cut = new AbortController();
    for (const socket of this.#sockets) socket.close();
  }

  mend(): void {
    this.up = true;
    for (const ears of this.#ears) ears.online();
  }

  readonly fetch: typeof fetch = async (input, init = {}) => {
    if (!this.up) throw new TypeError("The network is cut");
    const { signal } = this.#cut;
    return await fetch(input, {
      ...init,
      signal: init.signal ? AbortSignal.any([init.signal, signal]) : signal,
    });
  };

  /** A WebSocket that knows this network. */
  get WebSocket(): typeof WebSocket {
    // deno-lint-ignore no-this-alias -- the class below has a `this` of its own
    const network = this;
    return class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        if (!network.up) throw new TypeError("The network is cut");
        super(url, protocols);
        network.#sockets.add(this);
        this.addEventListener("close", () => network.#sockets.delete(this));
      }
    };
  }

  /** The world, with this network in it. */
  world(real: World): World {
    return {
      online: () => real.online(),
      hidden: () => real.hidden(),
      network: () => "demo",
      watch: (ears) => {
        this.#ears.add(ears);
        const stop = real.watch(ears);
        return () => {
          this.#ears.delete(ears);
          stop();
        };
      },
    };
  }
}
