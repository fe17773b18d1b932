import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { embedded } from "../../src/database/embedded.ts";
import { testCluster } from "../helpers/database.ts";
import { type Process, start } from "../helpers/process.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

/** A process with an embedded database, and where that listens. */
async function holder(folder: string): Promise<{ process: Process; url: string; postmaster: number }> {
  const process = start("tests/helpers/embedded_process.ts", [folder]);
  const [url] = await process.until(/postgres:\S+/);
  const file = await readFile(join(folder, "postgres", "postmaster.pid"), "utf8");
  return { process, url, postmaster: Number(file.split("\n")[0]) };
}

/** Resolves once the server has shut down cleanly: it removes this file as its last act. */
async function shutDown(folder: string): Promise<void> {
  const file = join(folder, "postgres", "postmaster.pid");
  while (await readFile(file).then(() => true, () => false)) continue;
}

function refuses(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = createConnection(Number(port), hostname, () => {
      socket.destroy();
      resolve(false);
    });
    socket.on("error", () => resolve(true));
  });
}

Deno.test("the server ends with the process that started it, though that was killed", async () => {
  await using here = await temporaryFolder("cluster");
  const { process, url } = await holder(here.path);
  assert.equal(await refuses(url), false);
  process.signal("SIGKILL");
  await process.ended;
  await shutDown(here.path);
  assert.equal(await refuses(url), true);
});

Deno.test("Ctrl-C in the terminal of a gateway does not reach its server", async () => {
  await using here = await temporaryFolder("cluster");
  const { process, postmaster } = await holder(here.path);
  const { stdout } = await new Deno.Command("ps", {
    args: ["-o", "pid=,pgid=,sid=", "-p", String(postmaster)],
  })
    .output();
  const [pid, group, session] = new TextDecoder().decode(stdout).trim().split(/\s+/).map(Number);
  assert.deepEqual([pid, group, session], [postmaster, postmaster, postmaster]);
  await process[Symbol.asyncDispose]();
  await shutDown(here.path);
});

Deno.test("a remembered port that another program took is given up for a free one", async () => {
  await using here = await temporaryFolder("cluster");
  const settings = { fsync: "off", logging_collector: "off" };
  const database = embedded({ folder: here.path, notice: () => {}, settings });
  await database.start();
  const before = new URL(database.url);
  await database.stop();
  const taken = Deno.listen({ hostname: "127.0.0.1", port: Number(before.port) });
  try {
    await database.start();
    assert.notEqual(new URL(database.url).port, before.port);
    assert.equal((await readFile(join(here.path, "database_url"), "utf8")).trim(), database.url);
  } finally {
    taken.close();
    await database.stop();
  }
});

Deno.test("a running server that is stopped and started again keeps its address, and stopping twice is allowed", async () => {
  await using server = await testCluster({ migrated: false });
  const url = server.url();
  await server.stop();
  await server.stop();
  await server.start();
  assert.equal(server.url(), url);
  await server.crash();
  await server.start();
  assert.equal(server.url(), url);
});
