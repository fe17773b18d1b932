import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MODEL = fileURLToPath(new URL("doorbell.pml", import.meta.url));

/** Searches every state of the model, with one writer, two gateways and a flag that is raised twice. */
async function search(...left: string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidings-spin-"));
  const run = async (command: string, args: string[]) => {
    const { stdout, stderr } = await new Deno.Command(command, { args, cwd: folder }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  };
  try {
    const said = await run("spin", ["-a", "-DWRITERS=1", "-DRAISES=2", ...left, MODEL]) +
      await run("gcc", ["-O1", "-DSAFETY", "-w", "-o", "pan", "pan.c"]);
    assert.equal(said, "");
    return await run("./pan", ["-E", "-m200000"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

Deno.test("the model of the doorbell loses no row in any of its states", async () => {
  const found = await search();
  assert.match(found, /errors: 0/);
  assert.doesNotMatch(found, /max search depth too small|Search not completed/);
});

for (const detail of ["LINE", "LATE", "RING_ON_RAISE", "ATOMIC", "SAME"]) {
  Deno.test(`the model loses a row when ${detail} is left out`, async () => {
    assert.match(await search(`-D${detail}=0`), /assertion violated/);
  });
}
