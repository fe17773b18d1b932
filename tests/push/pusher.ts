/**
 * A gateway reduced to its pushes, as a process of its own that a test can kill: database, push service's origin, VAPID keys.
 * @module
 */
import { systemChance, systemClock } from "../../src/clock.ts";
import { createDatabase } from "../../src/database/postgres.ts";
import { createPushes } from "../../src/push/pushes.ts";

const [url = "", origin = "", publicKey = "", privateKey = ""] = Deno.args;
const database = createDatabase({ url, max: 4, prepare: true, name: "pusher", deadline: 3_000 }, {
  clock: systemClock,
});
await database.start();
const pushes = createPushes({
  config: { vapid: { publicKey, privateKey, subject: "mailto:a@b.example" }, hosts: [origin] },
  sql: database.sql,
  clock: systemClock,
  chance: systemChance,
  grace: 200,
  pause: 100,
  backoff: 500,
  lease: 2_000,
});
await pushes.service.start();
console.log("ready");
