import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { pack } from "../../src/build.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

Deno.test("the packed client is a package that npm accepts and Node imports", async () => {
  await using folder = await temporaryFolder("pack");
  const tarball = await pack(folder.at("dist"));
  await writeFile(
    folder.at("package.json"),
    '{ "name": "somebody", "private": true, "type": "module" }',
  );
  await run(folder.path, "npm", "install", "--offline", "--no-audit", "--no-fund", "--omit=peer", tarball);
  const script = `
      import { connect, TRANSPORTS } from "@tidings/client";
      const client = connect({ url: "http://127.0.0.1:1", token: "x.y.z" });
      client.close();
      console.log(client.snapshot.state, TRANSPORTS.join());`;
  assert.equal(
    await run(folder.path, "node", "--input-type=module", "-e", script),
    "closed websocket,sse,longpoll\n",
  );
});

async function run(cwd: string, command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  const text = new TextDecoder();
  assert.ok(success, text.decode(stderr));
  return text.decode(stdout);
}
