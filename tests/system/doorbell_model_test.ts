import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

const MODEL = fileURLToPath(new URL("doorbell.pml", import.meta.url));

/** Searches every state of the model, with one writer, two gateways and a flag that is raised twice. */
async function search(...left: string[]): Promise<string> {
  await using folder = await temporaryFolder("spin");
  const run = async (command: string, args: string[]) => {
    const { stdout, stderr } = await new Deno.Command(command, { args, cwd: folder.path }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  };
  const said = await run("spin", ["-a", "-DWRITERS=1", "-DRAISES=2", ...left, MODEL]) +
    await run("gcc", ["-O1", "-DSAFETY", "-w", "-o", "pan", "pan.c"]);
  assert.equal(said, "");
  return await run("./pan", ["-E", "-m200000"]);
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
