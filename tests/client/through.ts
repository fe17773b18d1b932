/**
 * Whether clients get through some path to a gateway, whatever stands in between.
 * @module
 */
import assert from "node:assert/strict";
import { pageStore } from "../../src/client/memory.ts";
import type { Transport } from "../../src/client/machine.ts";
import { connect } from "../../src/client/mod.ts";
import type { TestDatabase } from "../helpers/database.ts";
import type { TestGateway } from "../helpers/gateway.ts";
import { waitFor } from "../helpers/wait.ts";

/** A client on its way, as `ann`. */
export interface Traveller extends AsyncDisposable {
  /** For messages. */
  name: string;
  /** Resolves to the milliseconds that it took to be live. */
  live(): Promise<number>;
  /** The titles, as soon as there are as many. */
  titles(count: number): Promise<(string | undefined)[]>;
  /** What it was live over, in turn. */
  used(): Promise<Transport[]>;
}

/** A small generator, so that a run can be repeated. */
export function chanceOf(seed: number): () => number {
  return () => {
    seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return seed / 2 ** 32;
  };
}

/** A client of this process. */
export function walker(url: string, gateway: TestGateway): Traveller {
  const began = performance.now();
  let liveAfter = Infinity;
  const titles: (string | undefined)[] = [];
  const used: Transport[] = [];
  const client = connect({
    url,
    getToken: () => gateway.token("ann"),
    storage: pageStore(),
    chance: chanceOf(8_2026),
  });
  client.on("state", ({ state, transport }) => {
    if (state !== "live") return;
    liveAfter = Math.min(liveAfter, performance.now() - began);
    used.push(transport!);
  });
  client.on("item", ({ title }) => titles.push(title));
  return {
    name: "under Deno",
    async live() {
      await waitFor(() => liveAfter < Infinity, 20_000);
      return liveAfter;
    },
    async titles(count) {
      await waitFor(() => titles.length >= count, 20_000);
      return titles;
    },
    used: () => Promise.resolve(used),
    [Symbol.asyncDispose]() {
      client.close();
      return Promise.resolve();
    },
  };
}

/**
 * All are live within ten seconds, and hear every notification once and in order. One notification every `pause` milliseconds: `count`
 * of them, and on while there is `more` to be seen.
 */
export async function getThrough(
  travellers: readonly Traveller[],
  database: TestDatabase,
  { count, pause, more = () => false }: { count: number; pause: number; more?: () => boolean },
): Promise<void> {
  for (const traveller of travellers) {
    const took = await traveller.live();
    assert.ok(took < 10_000, `${traveller.name} live after ${took} ms`);
  }
  const expected: string[] = [];
  for (let n = 0; n < count || more(); n++) {
    assert.ok(n < 4 * count, "what was to be seen never came");
    if (n > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    expected.push(`number ${n}`);
    await database.sql`select tidings.send('user:ann', ${`number ${n}`})`;
  }
  for (const traveller of travellers) {
    assert.deepEqual(await traveller.titles(expected.length), expected, traveller.name);
  }
}
