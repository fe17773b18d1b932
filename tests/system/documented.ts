/**
 * What documents tell people to paste into a terminal, pasted: the blocks that are marked as tried, against a gateway as
 * `task start` runs it, with a database and a folder of its own.
 * @module
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Process, start, startCommand } from "../helpers/process.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A block of a document. */
export interface Block {
  text: string;
  /** It does not end by itself: it waits for what the others send. */
  listens: boolean;
}

/** The blocks of a document that are marked by `<!-- tried -->`. */
export async function blocksOf(document: string): Promise<Block[]> {
  const text = await readFile(join(ROOT, document), "utf8");
  return [...text.matchAll(/<!-- tried(: listen)? -->\n+```sh\n([^]*?)```/g)]
    .map(([, listens, text = ""]) => ({ text, listens: listens !== undefined }));
}

/** A gateway that the blocks are pasted for. */
export interface Documented extends AsyncDisposable {
  gateway: Process;
  url: string;
  /** Runs a block, with other texts in the place of some; a failed curl or psql ends it with a code. */
  paste(block: string, instead?: Record<string, string>): Process;
}

/** Starts one, with further settings. */
export async function documented(env: Record<string, string> = {}): Promise<Documented> {
  const folder = await temporaryFolder("documented");
  const data = folder.path;
  const gateway = start("src/main.ts", [], { TIDINGS_DATA: data, PORT: "0", ...env });
  const dispose = async () => {
    await gateway[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  };
  try {
    const [, url = ""] = await gateway.until(/Tidings is at (\S+)/);
    const [token = ""] = await gateway.until(/^eyJ\S+$/m);
    await gateway.until(/psql/);
    const all = {
      "http://localhost:8080": url,
      ".data/": `${data}/`,
      "npx -y deno@2.9.6": "deno",
      "curl ": "curl -sS --fail-with-body ",
      "psql ": "psql -v ON_ERROR_STOP=1 ",
    };
    return {
      gateway,
      url,
      paste(block, instead = {}) {
        let text = block;
        for (const [from, to] of Object.entries({ ...all, ...instead })) text = text.replaceAll(from, to);
        return startCommand("bash", ["-ec", text], { TOKEN: token, TIDINGS_DATA: data }, ROOT);
      },
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}
