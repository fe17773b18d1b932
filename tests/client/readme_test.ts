import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../src/client/", import.meta.url));

Deno.test("the client's README names each part, custom property and attribute of the bell, and none that is not there", async () => {
  const names = (await readdir(folder)).filter((name) => name.startsWith("bell"));
  const source = (await Promise.all(names.map((name) => readFile(`${folder}${name}`, "utf8")))).join();
  const readme = await readFile(`${folder}README.md`, "utf8");
  const all = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, found]) => found!);
  const sorted = (names: string[]) => [...new Set(names)].sort();

  const parts = all(source, /\bpart="([^"]+)"/g).flatMap((names) => names.split(" "));
  const listed = all(/^Parts: [^.]+\./m.exec(readme)![0], /`([^`]+)`/g);
  assert.deepEqual(sorted(listed), sorted(parts));

  const properties = /(--tidings-[a-z-]+)/g;
  assert.deepEqual(sorted(all(readme, properties)), sorted(all(source, properties)));

  for (const attribute of all(source, /attribute: "([^"]+)"/g)) {
    assert.ok(readme.includes(`\`${attribute}\``), attribute);
  }
});
