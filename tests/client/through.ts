/**
 * Whether a client gets through some path to a gateway, whatever stands in between.
 * @module
 */
import assert from "node:assert/strict";
import { pageStore } from "../../src/client/memory.ts";
import { connect } from "../../src/client/mod.ts";
import type { Transport } from "../../src/client/machine.ts";
import type { TestDatabase } from "../helpers/database.ts";
import type { TestGateway } from "../helpers/gateway.ts";
import { waitFor } from "../helpers/wait.ts";

/** A small generator, so that a run can be repeated. */
export function chanceOf(seed: number): () => number {
  return () => {
    seed = (seed * 1_664_525 + 1_013_904_223) % 2 ** 32;
    return seed / 2 ** 32;
  };
}

/**
 * Live within ten seconds, every notification once and in order; the answer is what it went over. One notification every
 * `pause` milliseconds.
 */
export async function getsThrough(
  url: string,
  gateway: TestGateway,
  database: TestDatabase,
  { count, pause }: { count: number; pause: number },
): Promise<Transport[]> {
  const began = performance.now();
  let liveAfter = Infinity;
  const titles: string[] = [];
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
  client.on("item", (item) => titles.push(item.title!));
  try {
    await waitFor(() => liveAfter < Infinity, 10_000);
    const expected: string[] = [];
    for (let n = 0; n < count; n++) {
      if (n > 0) await new Promise((resolve) => setTimeout(resolve, pause));
      expected.push(`number ${n}`);
      await database.sql`select tidings.send('user:ann', ${`number ${n}`})`;
    }
    await waitFor(() => titles.length >= count, 20_000);
    assert.deepEqual(titles, expected);
    return used;
  } finally {
    client.close();
  }
}
