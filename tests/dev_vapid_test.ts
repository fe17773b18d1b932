import assert from "node:assert/strict";
import webpush from "web-push";
import { DEV_VAPID_FILE, devVapid } from "../src/dev_vapid.ts";
import { StartError } from "../src/errors.ts";

Deno.test("devVapid() makes one pair of keys and keeps it, however many ask at once", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const all = await Promise.all(Array.from({ length: 5 }, () => devVapid(`${folder}/data`)));
    for (const keys of [...all, await devVapid(`${folder}/data`)]) assert.deepEqual(keys, all[0]);
    const { subject, publicKey, privateKey } = all[0]!;
    webpush.setVapidDetails(subject, publicKey, privateKey);
    await Deno.writeTextFile(`${folder}/data/${DEV_VAPID_FILE}`, "{}");
    await assert.rejects(devVapid(`${folder}/data`), StartError);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
