/**
 * The secret of dev mode: made at the first start and kept, so that tokens survive a restart.
 * @module
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseSecret } from "./auth/key.ts";
import { StartError } from "./errors.ts";

/** The file within the data folder; readable by its owner only. */
export const DEV_SECRET_FILE = "dev_secret";

/**
 * The secret kept in the data folder, made now when there is none. Several gateways that start at once get the same one.
 * @throws StartError when it can be neither read nor written
 */
export async function devSecret(folder: string): Promise<string> {
  const file = join(folder, DEV_SECRET_FILE);
  try {
    const secret = await keep(file, () => randomBytes(48).toString("base64url"));
    parseSecret(secret);
    return secret;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `Cannot keep the secret of dev mode in ${file}: ${reason}. Make the folder writable, delete the file, ` +
        "or set TIDINGS_JWT_SECRET.",
      { cause: error },
    );
  }
}

/** What the file holds, made now when there is none. Several that come at once get the same. */
export async function keep(file: string, make: () => string): Promise<string> {
  await mkdir(dirname(file), { recursive: true });
  if (await readFile(file).then(() => false, isAbsent)) await write(file, make());
  return (await readFile(file, "utf8")).trim();
}

/** It appears complete, or another process was first. */
async function write(file: string, text: string): Promise<void> {
  const unfinished = `${file}.${randomBytes(6).toString("hex")}`;
  try {
    await writeFile(unfinished, `${text}\n`, { mode: 0o600 });
    await link(unfinished, file);
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  } finally {
    await rm(unfinished, { force: true });
  }
}

function isAbsent(error: { code?: string }): boolean {
  return error.code === "ENOENT";
}
