import assert from "node:assert/strict";
import fc from "fast-check";
import { createHub, type Subscriber } from "../../src/feed/hub.ts";
import type { Batch } from "../../src/log/batch.ts";
import type { Row } from "../../src/log/row.ts";
import { VirtualLog } from "../helpers/virtual_log.ts";

const SEEDS = { hub: 141_421 };
const TOPICS = ["t", "u", "v", "w"];
const ORIGIN = { epoch: "e1", xmax: 1, gaps: [] };

class Listener implements Subscriber {
  batches: Batch[] = [];
  restarts = 0;
  deliver(batch: Batch): void {
    this.batches.push(batch);
  }
  restart(): void {
    this.restarts++;
  }
}

Deno.test("every subscriber gets the rows of its topics in one batch, in order; who wants the same shares it", () => {
  const wishes = fc.array(fc.subarray(TOPICS), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(
      wishes,
      fc.array(fc.constantFrom(...TOPICS, "nobody's"), { maxLength: 12 }),
      (wants, sent) => {
        const hub = createHub();
        hub.startAt(ORIGIN, 0);
        const listeners = wants.map((topics) => {
          const listener = new Listener();
          for (const topic of topics) hub.join(topic, listener);
          return { topics, listener };
        });
        const log = new VirtualLog();
        const rows: Row[] = sent.map((topic) => log.send(topic));
        hub.advance({ rows, from: ORIGIN, to: log.snapshot() }, 0, log.snapshot().xmax, 0);
        for (const { topics, listener } of listeners) {
          const mine = rows.filter((row) => topics.includes(row.topic));
          assert.deepEqual(listener.batches.map((batch) => batch.rows), mine.length === 0 ? [] : [mine]);
          for (const { topics: others, listener: other } of listeners) {
            const same = topics.join() === others.join();
            if (same) assert.equal(listener.batches[0], other.batches[0]);
          }
        }
        assert.equal(hub.topics, new Set(wants.flat()).size);
        for (const { topics, listener } of listeners) for (const topic of topics) hub.leave(topic, listener);
        assert.equal(hub.topics, 0);
      },
    ),
    { seed: SEEDS.hub, numRuns: 1_000 },
  );
});

Deno.test("the hub knows the highest snapshot of all it saw, though a page ends before it", () => {
  const hub = createHub();
  hub.startAt(ORIGIN, 0);
  hub.advance({ rows: [], from: ORIGIN, to: { epoch: "e1", xmax: 5, gaps: [] } }, 3, 900, 0);
  hub.advance({ rows: [], from: ORIGIN, to: { epoch: "e1", xmax: 6, gaps: [] } }, 4, 899, 0);
  assert.deepEqual([hub.seen, hub.position.xmax, hub.horizon], [900, 6, 4]);
});

Deno.test("watchers are told of another history, and not of a start or the same one", () => {
  const hub = createHub();
  const watcher = new Listener();
  const left = new Listener();
  hub.watch(watcher);
  hub.watch(left);
  hub.unwatch(left);
  hub.startAt(ORIGIN, 0);
  hub.startAt({ ...ORIGIN, xmax: 9 }, 0);
  assert.equal(watcher.restarts, 0);
  hub.startAt({ ...ORIGIN, epoch: "e2" }, 0);
  assert.deepEqual([watcher.restarts, left.restarts, hub.seen], [1, 0, 1]);
});
