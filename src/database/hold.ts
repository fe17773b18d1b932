/**
 * One gateway per data folder: a lock that the operating system releases with the process, however it ends, and a note of who
 * holds it.
 * @module
 */
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { StartError } from "../errors.ts";

/** A folder that is ours until released. */
export interface Hold {
  release(): void;
}

/**
 * Takes the folder for this process.
 * @throws StartError that names the process which has it, and since when
 */
export async function hold(folder: string, clock: Clock): Promise<Hold> {
  const path = join(folder, "gateway.lock");
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true, write: true, create: true });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartError(
      `Cannot use the folder ${folder}: ${reason}. Make it writable, or set TIDINGS_DATA.`,
      {
        cause,
      },
    );
  }
  try {
    if (!await file.tryLock(true)) {
      throw new StartError(
        `Cannot use the folder ${folder}: another gateway holds it (${await holder(
          file,
        )}). Stop that one, or let ` +
          "several share one database by DATABASE_URL.",
      );
    }
    await file.truncate();
    await writeAll(
      file,
      `pid ${Deno.pid} on ${Deno.hostname()}, since ${new Date(clock.now()).toISOString()}\n`,
    );
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    release() {
      // A process that is just being made has a copy of the file until it becomes its program: closing ours would not free the lock.
      file.unlockSync();
      file.close();
    },
  };
}

/** What the holder wrote; it may be just about to. */
async function holder(file: Deno.FsFile): Promise<string> {
  const bytes = new Uint8Array(300);
  const length = await file.read(bytes) ?? 0;
  return new TextDecoder().decode(bytes.subarray(0, length)).trim() || "which has just started";
}

async function writeAll(file: Deno.FsFile, text: string): Promise<void> {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(await file.write(rest));
}
