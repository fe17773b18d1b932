import {
  killGateways,
  restartDatabase,
  rollingRestart,
  type Size,
  terminateConnections,
} from "./chaos/scenarios.ts";

const SHORT: Omit<Size, "seed"> = { writers: 12, transactions: 5, clients: 12, rounds: 2 };
const SEEDS = { terminate: 57_001, restart: 57_002, kill: 57_003, rolling: 57_004 };

Deno.test("nothing is lost or doubled when every connection of the gateways is terminated", async () => {
  await terminateConnections({ ...SHORT, seed: SEEDS.terminate, rounds: 4 });
});

Deno.test("nothing is lost or doubled when PostgreSQL crashes, stops and starts again", async () => {
  await restartDatabase({ ...SHORT, seed: SEEDS.restart });
});

Deno.test("nothing is lost or doubled when gateways are killed", async () => {
  await killGateways({ ...SHORT, seed: SEEDS.kill, rounds: 1 });
});

Deno.test("nothing is lost or doubled by a rolling restart under load", async () => {
  await rollingRestart({ ...SHORT, seed: SEEDS.rolling });
});
