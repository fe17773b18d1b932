import assert from "node:assert/strict";
import type { Transport } from "../../src/client/machine.ts";
import { startBrowser } from "../browser/chromium.ts";
import { rider } from "../browser/client_page.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { type Behaviour, Path } from "./path.ts";
import { chanceOf, getThrough, walker } from "./through.ts";

interface Weather {
  name: string;
  behaviour(): Behaviour;
  /** Where the client has to end up, where chance does not decide it. */
  ends?: Transport;
  /** Notifications, one every 250 ms. */
  count: number;
}

const WEATHER: Weather[] = [
  { name: "a clear path", behaviour: () => ({}), ends: "websocket", count: 8 },
  {
    name: "a proxy that knows no upgrade",
    behaviour: () => ({ dropUpgrade: true }),
    ends: "sse",
    count: 8,
  },
  {
    name: "a proxy that accepts the upgrade and then passes nothing",
    behaviour: () => ({ muteAfterUpgrade: true }),
    ends: "sse",
    count: 8,
  },
  {
    name: "one that passes nothing after the upgrade and holds answers until they are whole",
    behaviour: () => ({ muteAfterUpgrade: true, buffer: true }),
    ends: "longpoll",
    count: 8,
  },
  {
    name: "a proxy that cuts every connection after ten seconds",
    behaviour: () => ({ cutAfter: 10_000 }),
    ends: "websocket",
    count: 85,
  },
  {
    name: "a link that adds 300 ms and breaks at random",
    behaviour: () => ({ delay: 300, lossAfter: 6_000, chance: chanceOf(7_2026) }),
    count: 40,
  },
];

for (const { name, behaviour, ends, count } of WEATHER) {
  Deno.test(`the client gets through ${name}, under Deno and in Chromium: live within ten seconds, every notification once`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    await using browser = await startBrowser();
    browser.expected.push(/WebSocket connection|Failed to load resource/);
    const paths = [await Path.to(gateway.url, behaviour()), await Path.to(gateway.url, behaviour())] as const;
    await using _walked = paths[0];
    await using _ridden = paths[1];
    await using ride = await rider(await browser.context(), paths[1].url, gateway);
    await using walk = walker(paths[0].url, gateway);
    const rough = behaviour().cutAfter !== undefined || behaviour().lossAfter !== undefined;
    const more = () => rough && paths.some(({ cuts }) => cuts < 2);
    await getThrough([walk, ride], database, { count, pause: 250, more });
    for (const traveller of ends === undefined ? [] : [walk, ride]) {
      const used = await traveller.used();
      assert.equal(used.at(-1), ends, `${traveller.name} went over ${used.join(", ")}`);
    }
  });
}
