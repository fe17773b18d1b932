import assert from "node:assert/strict";
import { testDatabase } from "./helpers/database.ts";
import { checkPresence } from "./helpers/presence_checker.ts";

const SEEDS = [5_001, 5_002];

for (const seed of SEEDS) {
  Deno.test(`people come and go on two gateways, one is killed: lists, sessions and what watchers heard are the truth (seed ${seed})`, async () => {
    await using database = await testDatabase();
    const report = await checkPresence({ seed, database, grace: 1 });
    assert(
      report.opened > 60 && report.closed > 30 && report.killed > 5 && report.told > 300,
      JSON.stringify(report),
    );
  });
}
