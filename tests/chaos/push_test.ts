import { killWhilePushing } from "./push_scenario.ts";

Deno.test("for long: pushes while a gateway, Postgres and the push service are killed", async () => {
  await killWhilePushing({ seed: 58_005, devices: 8, rounds: 40 });
});
