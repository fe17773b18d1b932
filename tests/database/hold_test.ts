import assert from "node:assert/strict";
import { systemClock } from "../../src/clock.ts";
import { hold } from "../../src/database/hold.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

/** Makes processes until it is terminated, and says when the first one ran. */
const SPAWNER = `for (let first = true;; first = false) {
  await new Deno.Command("true").output();
  if (first) postMessage("first");
}`;

Deno.test("a folder that was released can be taken at once, whatever processes are being made beside it", async () => {
  await using folder = await temporaryFolder("hold");
  const address = URL.createObjectURL(new Blob([SPAWNER], { type: "text/typescript" }));
  const workers = Array.from({ length: 2 }, () => new Worker(address, { type: "module" }));
  try {
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.onmessage = resolve)));
    for (let round = 0; round < 500; round++) (await hold(folder.path, systemClock)).release();
    const held = await hold(folder.path, systemClock);
    await assert.rejects(hold(folder.path, systemClock), /another gateway holds it \(pid \d+ on /);
    held.release();
  } finally {
    for (const worker of workers) worker.terminate();
    URL.revokeObjectURL(address);
  }
});
