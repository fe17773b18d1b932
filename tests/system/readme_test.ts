import assert from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { start, startCommand } from "../helpers/process.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

Deno.test("README's first steps work when pasted, in their order", async () => {
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/<!-- tried(: listen)? -->\n```sh\n([^]*?)```/g)];
  assert.equal(blocks.filter(([, listens]) => listens !== undefined).length, 1);
  assert.ok(blocks.length > 5, `only ${blocks.length} blocks`);
  const data = await mkdtemp(join(tmpdir(), "tidings-readme-"));
  await chmod(data, 0o755);
  try {
    await using gateway = start("src/main.ts", [], { TIDINGS_DATA: data, PORT: "0" });
    const [, url = ""] = await gateway.until(/Tidings is at (\S+)/);
    const [token] = await gateway.until(/^eyJ\S+$/m);
    await gateway.until(/psql/);
    const paste = (block: string) =>
      startCommand(
        "bash",
        [
          "-ec",
          block.replaceAll("http://localhost:8080", url).replaceAll(".data/", `${data}/`)
            .replaceAll("npx -y deno@2.9.6", "deno").replaceAll("curl ", "curl -sS --fail-with-body ")
            .replaceAll("psql ", "psql -v ON_ERROR_STOP=1 "),
        ],
        { TOKEN: token, TIDINGS_DATA: data },
        ROOT,
      );

    const [, , listen = ""] = blocks.find(([, listens]) => listens !== undefined)!;
    await using listener = paste(listen.replace("curl", "exec curl"));
    await listener.until(/event: tidings\.welcome/);
    const said: string[] = [];
    for (const [, listens, block = ""] of blocks) {
      if (listens !== undefined) continue;
      const { code, stdout, stderr } = await paste(block).ended;
      assert.equal(code, 0, `${block}\n${stdout}\n${stderr}`);
      said.push(stdout);
    }
    for (const title of ["Lunch?", "Bob wants to climb with you", "Hello from SQL", "ann posted"]) {
      await listener.until(new RegExp(title.replace("?", "\\?")));
      assert.ok(said.some((text) => text.includes(`"title":"${title}"`)), `${title} was not found again`);
    }
    assert.match(said.at(-1)!, /^eyJ/);
    gateway.signal("SIGTERM");
    assert.equal((await gateway.ended).code, 0);
  } finally {
    await rm(data, { recursive: true, force: true });
  }
});
