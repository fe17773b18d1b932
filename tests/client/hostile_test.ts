import assert from "node:assert/strict";
import type { Transport } from "../../src/client/machine.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { type Behaviour, Path } from "./path.ts";
import { chanceOf, getsThrough } from "./through.ts";

interface Weather {
  name: string;
  behaviour: Behaviour;
  /** Where the client has to end up, where chance does not decide it. */
  ends?: Transport;
  /** Notifications, one every 250 ms. */
  count: number;
}

const WEATHER: Weather[] = [
  { name: "a clear path", behaviour: {}, ends: "websocket", count: 8 },
  { name: "a proxy that knows no upgrade", behaviour: { dropUpgrade: true }, ends: "sse", count: 8 },
  {
    name: "a proxy that accepts the upgrade and then passes nothing",
    behaviour: { muteAfterUpgrade: true },
    ends: "sse",
    count: 8,
  },
  {
    name: "one that passes nothing after the upgrade and holds answers until they are whole",
    behaviour: { muteAfterUpgrade: true, buffer: true },
    ends: "longpoll",
    count: 8,
  },
  {
    name: "a proxy that cuts every connection after ten seconds",
    behaviour: { cutAfter: 10_000 },
    ends: "websocket",
    count: 90,
  },
  {
    name: "a link that adds 300 ms and breaks at random",
    behaviour: { delay: 300, lossAfter: 6_000, chance: chanceOf(7_2026) },
    count: 60,
  },
];

for (const { name, behaviour, ends, count } of WEATHER) {
  Deno.test(`the client gets through ${name}: live within ten seconds, every notification once`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    await using path = await Path.to(gateway.url, behaviour);
    const used = await getsThrough(path.url, gateway, database, { count, pause: 250 });
    if (ends !== undefined) assert.equal(used.at(-1), ends, `went over ${used.join(", ")}`);
    if (behaviour.cutAfter !== undefined || behaviour.lossAfter !== undefined) {
      assert.ok(path.cuts >= 2, `${path.cuts} cuts`);
    }
  });
}
