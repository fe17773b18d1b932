/**
 * A client on a scripted gateway, and what it told.
 * @module
 */
import { connect, type ConnectOptions, type Item, type TidingsClient } from "../../src/client/mod.ts";
import { pageStore } from "../../src/client/memory.ts";
import type { Transport } from "../../src/client/machine.ts";
import { Lookout } from "../helpers/lookout.ts";
import { ScriptedGateway } from "./scripted_gateway.ts";
import { tokenOf } from "./unsigned_token.ts";

export class Told {
  readonly items: Item[] = [];
  readonly states: string[] = [];
  readonly resets: string[] = [];
  readonly errors: string[] = [];
  readonly counts: number[] = [];
  readonly client: TidingsClient;
  readonly #lookout = new Lookout();

  constructor(gateway: ScriptedGateway, options: ConnectOptions = {}) {
    this.client = connect({
      url: gateway.url,
      ...(options.getToken ? {} : { token: tokenOf("ann") }),
      storage: pageStore(),
      chance: () => 0.01,
      ...options,
    });
    this.client.on("item", (item) => this.#note(() => this.items.push(item)));
    this.client.on("state", (state) => this.#note(() => this.states.push(state.state)));
    this.client.on("reset", ({ reason }) => this.#note(() => this.resets.push(reason)));
    this.client.on("error", (error) => this.#note(() => this.errors.push(error.code)));
    this.client.on("inbox", ({ unread }) => this.#note(() => this.counts.push(unread)));
  }

  #note(run: () => void): void {
    run();
    this.#lookout.happened();
  }

  /** Resolves as soon as the condition holds; looked at whenever the client told something. */
  until(condition: () => boolean): Promise<void> {
    return this.#lookout.until(condition);
  }

  /** Resolves when it is live, over this transport if one is named. */
  live(transport?: Transport): Promise<void> {
    return this.until(() => {
      const { state, transport: used } = this.client.snapshot;
      return state === "live" && (transport === undefined || used === transport);
    });
  }

  /** The next frame of this kind. */
  frame(op: string): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.client.on("frame", ({ direction, frame }) => {
        if (direction !== "in" || frame.op !== op) return;
        stop();
        // when the client has dealt with it
        setTimeout(resolve);
      });
    });
  }

  /** The ids of what it told, in order. */
  ids(): string[] {
    return this.items.map((item) => item.id);
  }
}

/** Declares a test of `connect()` with a gateway of its own. */
export function shows(name: string, run: (gateway: ScriptedGateway) => Promise<void>): void {
  Deno.test(`connect(): ${name}`, async () => {
    const gateway = await new ScriptedGateway().start();
    try {
      await run(gateway);
    } finally {
      await gateway.stop();
    }
  });
}
