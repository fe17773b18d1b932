import assert from "node:assert/strict";
import { TidingsError } from "../../src/errors.ts";
import { createHub } from "../../src/feed/hub.ts";
import { createShownKeeper, type Shown } from "../../src/feed/shown.ts";
import { manualClock } from "../helpers/manual_clock.ts";
import { waitFor } from "../helpers/wait.ts";

const at = (xmax: number) => ({ epoch: "e", xmax, gaps: [] });
const shown: Shown = {
  user: "ann",
  stretch: { id: "1", topic: "club", since: { xmax: "1", xip: [], at: [] } },
  until: at(10),
  position: at(20),
};

/** A keeper whose store fails with these, one after the other, and then no more. */
function keeper(...failures: Error[]) {
  const clock = manualClock();
  const hub = createHub();
  hub.startAt(at(10), 0);
  const seen = { asked: 0, failed: [] as unknown[] };
  const keeping = createShownKeeper({
    hub,
    clock,
    chance: () => 0.5,
    store: {
      keepShown() {
        seen.asked++;
        const error = failures.shift();
        return error === undefined ? Promise.resolve(true) : Promise.reject(error);
      },
    },
    failed: (error) => seen.failed.push(error),
  });
  return { clock, keeping, seen };
}

Deno.test("keeping what was shown is tried again after what passes by itself", async () => {
  const held = Object.assign(new Error("lock timeout"), { code: "55P03" });
  const { clock, keeping, seen } = keeper(held, new TidingsError("unavailable", "away"), held);
  await keeping.start();
  keeping.keep(shown);
  for (let asked = 1; asked < 4; asked++) {
    await waitFor(() => seen.asked === asked && clock.waiting === 1);
    clock.advance(1_000);
  }
  await waitFor(() => seen.asked === 4);
  await keeping.stop();
  assert.deepEqual(seen, { asked: 4, failed: [] });
});

Deno.test("keeping what was shown is given up, and told, at once when the database refuses it", async () => {
  const refused = Object.assign(new Error("invalid input syntax"), { code: "22P02" });
  const { clock, keeping, seen } = keeper(refused);
  await keeping.start();
  keeping.keep(shown);
  await keeping.stop();
  assert.deepEqual(seen, { asked: 1, failed: [refused] });
  assert.equal(clock.waiting, 0);
});
