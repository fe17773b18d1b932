import {
  killGateways,
  restartDatabase,
  rollingRestart,
  type Size,
  terminateConnections,
} from "./scenarios.ts";

const LONG: Omit<Size, "seed"> = { writers: 30, transactions: 10, clients: 24, rounds: 12 };
const SEEDS = { terminate: 58_001, restart: 58_002, kill: 58_003, rolling: 58_004 };

Deno.test("for long: every connection of the gateways is terminated", async () => {
  console.log(await terminateConnections({ ...LONG, seed: SEEDS.terminate, rounds: 40 }));
});

Deno.test("for long: PostgreSQL crashes, stops and starts again", async () => {
  console.log(await restartDatabase({ ...LONG, seed: SEEDS.restart }));
});

Deno.test("for long: gateways are killed", async () => {
  console.log(await killGateways({ ...LONG, seed: SEEDS.kill }));
});

Deno.test("for long: rolling restarts under load", async () => {
  console.log(await rollingRestart({ ...LONG, seed: SEEDS.rolling }));
});
