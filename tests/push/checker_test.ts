import { killWhilePushing } from "../chaos/push_scenario.ts";

Deno.test("pushes while a gateway, Postgres and the push service are killed: every device shows each once, and nothing that was read or acknowledged before", async () => {
  await killWhilePushing({ seed: 57_005, devices: 4, rounds: 16 });
});
