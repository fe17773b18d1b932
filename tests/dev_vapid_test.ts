import assert from "node:assert/strict";
import webpush from "web-push";
import { DEV_VAPID_FILE, devVapid } from "../src/dev_vapid.ts";
import { StartError } from "../src/errors.ts";
import { temporaryFolder } from "./helpers/temporary_folder.ts";

Deno.test("devVapid() makes one pair of keys and keeps it, however many ask at once", async () => {
  await using folder = await temporaryFolder("vapid");
  const data = folder.at("data");
  const all = await Promise.all(Array.from({ length: 5 }, () => devVapid(data)));
  for (const keys of [...all, await devVapid(data)]) assert.deepEqual(keys, all[0]);
  const { subject, publicKey, privateKey } = all[0]!;
  webpush.setVapidDetails(subject, publicKey, privateKey);
  await Deno.writeTextFile(`${data}/${DEV_VAPID_FILE}`, "{}");
  await assert.rejects(devVapid(data), StartError);
});
