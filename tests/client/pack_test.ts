import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pack } from "../../src/build.ts";

Deno.test("the packed client is a package that npm accepts and Node imports", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tidings-pack-"));
  try {
    const tarball = await pack(join(folder, "dist"));
    await writeFile(
      join(folder, "package.json"),
      '{ "name": "somebody", "private": true, "type": "module" }',
    );
    await run(folder, "npm", "install", "--offline", "--no-audit", "--no-fund", "--omit=peer", tarball);
    const script = `
      import { connect, TRANSPORTS } from "@tidings/client";
      const client = connect({ url: "http://127.0.0.1:1", token: "x.y.z" });
      client.close();
      console.log(client.snapshot.state, TRANSPORTS.join());`;
    assert.equal(
      await run(folder, "node", "--input-type=module", "-e", script),
      "closed websocket,sse,longpoll\n",
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  const text = new TextDecoder();
  assert.ok(success, text.decode(stderr));
  return text.decode(stdout);
}
