/**
 * The VAPID keys of dev mode: made at the first start and kept, because every browser's subscription is bound to them.
 * @module
 */
import { join } from "node:path";
import { z } from "zod";
import { keep } from "./dev_secret.ts";
import { StartError } from "./errors.ts";
import { makeVapidKeys } from "./push/vapid.ts";
import type { VapidKeys } from "./push/webpush.ts";

/** The file within the data folder; readable by its owner only. */
export const DEV_VAPID_FILE = "dev_vapid.json";

const schema = z.object({ publicKey: z.string(), privateKey: z.string(), subject: z.string() });

/**
 * The keys kept in the data folder, made now when there are none. Several gateways that start at once get the same ones.
 * @throws StartError when they can be neither read nor written
 */
export async function devVapid(folder: string): Promise<VapidKeys> {
  const file = join(folder, DEV_VAPID_FILE);
  try {
    const make = () => JSON.stringify({ ...makeVapidKeys(), subject: "mailto:dev@example.com" });
    return schema.parse(JSON.parse(await keep(file, make)));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError(
      `Cannot keep the VAPID keys of dev mode in ${file}: ${reason}. Make the folder writable, delete the file, ` +
        "or set TIDINGS_VAPID_PUBLIC_KEY and the others.",
      { cause: error },
    );
  }
}
