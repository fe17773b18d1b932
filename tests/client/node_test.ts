import assert from "node:assert/strict";
import { symlink } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";
import { Path } from "./path.ts";
import { CASES } from "./suite.ts";

for (const [name, argument] of [["with the ws package", "ws"], ["without any WebSocket", "none"]] as const) {
  Deno.test(`the client keeps every promise in Node, ${name}`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    await using shaky = await Path.to(gateway.url, { cutAfter: 1_000 });
    const rights = { subscribe: ["climb:**"], publish: ["user:*", "climb:**"] };
    const tokens = createServer((request, response) => {
      const { searchParams } = new URL(request.url!, "http://localhost");
      gateway.token(searchParams.get("user")!, rights, Number(searchParams.get("seconds")))
        .then((token) => response.end(token), (error) => response.writeHead(500).end(String(error)));
    });
    await new Promise<void>((resolve) => tokens.listen(0, "127.0.0.1", resolve));
    await using folder = await temporaryFolder("node");
    try {
      await symlink(
        fileURLToPath(new URL("../../node_modules", import.meta.url)),
        folder.at("node_modules"),
      );
      const main = fileURLToPath(new URL("node_main.ts", import.meta.url));
      const script = folder.at("suite.mjs");
      await run(
        Deno.execPath(),
        "bundle",
        "--quiet",
        "--no-lock",
        "--external=ws",
        `--output=${script}`,
        main,
      );
      const port = (tokens.address() as AddressInfo).port;
      const output = await run("node", script, gateway.url, shaky.url, `http://127.0.0.1:${port}`, argument);
      assert.deepEqual(output.trim().split("\n"), CASES.map((promise) => `ok ${promise.name}`));
    } finally {
      tokens.closeAllConnections();
      await new Promise<void>((resolve) => tokens.close(() => resolve()));
    }
  });
}

async function run(command: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
  const text = new TextDecoder();
  assert.ok(success, text.decode(stdout) + text.decode(stderr));
  return text.decode(stdout);
}
