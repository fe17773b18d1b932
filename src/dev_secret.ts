/**
 * The secret of dev mode: made at the first start and kept, so that tokens survive a restart.
 * @module
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
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
    await mkdir(folder, { recursive: true });
    await writeFile(file, `${randomBytes(48).toString("base64url")}\n`, { flag: "wx", mode: 0o600 }).catch(
      (error: { code?: string }) => {
        if (error.code !== "EEXIST") throw error;
      },
    );
    const secret = (await readFile(file, "utf8")).trim();
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
