import assert from "node:assert/strict";
import type { BrowserContext, Page } from "playwright-core";
import { ScriptedGateway } from "../client/scripted_gateway.ts";
import { tokenOf } from "../client/unsigned_token.ts";
import { serveBell } from "./bell_page.ts";
import { inTime, startBrowser } from "./chromium.ts";

function shows(
  name: string,
  run: (gateway: ScriptedGateway, context: BrowserContext) => Promise<void>,
): void {
  Deno.test(`in Chromium: ${name}`, async () => {
    const gateway = await new ScriptedGateway().start();
    try {
      await serveBell(gateway, 'token-url="/token" toast-seconds="60" sound="/ding.mp3"');
      await using browser = await startBrowser();
      await run(gateway, await browser.context());
    } finally {
      await gateway.stop();
    }
  });
}

/** Opens a tab that keeps what its bell is told. */
async function tab(context: BrowserContext, gateway: ScriptedGateway): Promise<Page> {
  const page = await context.newPage();
  await page.addInitScript(() => {
    const [told, sounds]: string[][] = [[], []];
    class Silence {
      constructor(address: string) {
        sounds!.push(address);
      }
      play = () => Promise.resolve();
    }
    Object.assign(globalThis, { told, sounds, Audio: Silence });
    addEventListener("tidings-item", (event) => told!.push((event as CustomEvent).detail.id));
  });
  await page.goto(gateway.url);
  await page.locator("tidings-bell .dot").waitFor({ state: "detached" });
  return page;
}

const told = (page: Page) => page.evaluate(() => (globalThis as never as { told: string[] }).told);
const hears = (page: Page, count: number) =>
  page.waitForFunction((count) => (globalThis as never as { told: string[] }).told.length === count, count);
const toasts = (page: Page) => page.locator("tidings-bell .toast").count();

shows("all tabs share one connection, one toast, one sound and the same badge", async (gateway, context) => {
  const pages = [await tab(context, gateway), await tab(context, gateway), await tab(context, gateway)];
  assert.equal(gateway.begun.websocket, 1);
  gateway.send({ title: "To all of them" });
  for (const page of pages) {
    await hears(page, 1);
    await page.locator("tidings-bell .badge").getByText("1").waitFor();
  }
  const shown = await Promise.all(pages.map(toasts));
  assert.equal(shown.reduce((sum, count) => sum + count), 1, `toasts: ${shown}`);
  const sounds = await Promise.all(
    pages.map((page) => page.evaluate(() => (globalThis as never as { sounds: string[] }).sounds)),
  );
  assert.deepEqual(sounds.flat(), ["/ding.mp3"]);
  await pages[2]!.locator("tidings-bell .bell").click();
  await pages[2]!.getByRole("button", { name: "Mark all as read" }).click();
  for (const page of pages) await page.locator("tidings-bell .badge").waitFor({ state: "detached" });
  assert.equal(gateway.begun.websocket, 1);
});

shows(
  "when the leading tab closes, another goes on from its cursor: nothing is lost, nothing comes twice",
  async (gateway, context) => {
    const [leader, ...others] = [
      await tab(context, gateway),
      await tab(context, gateway),
      await tab(context, gateway),
    ];
    gateway.send();
    for (const page of others) await hears(page, 1);
    await leader!.close();
    // while nobody is connected
    gateway.send();
    gateway.send();
    for (const page of others) await hears(page, 3);
    gateway.send();
    for (const page of others) {
      await hears(page, 4);
      assert.deepEqual(await told(page), ["1", "2", "3", "4"]);
    }
    assert.equal(gateway.begun.websocket, 2);
    assert.equal(gateway.sessions.size, 1);
  },
);

shows("tabs of different people share nothing", async (gateway, context) => {
  await tab(context, gateway);
  gateway.mint = () => tokenOf("bob");
  await tab(context, gateway);
  assert.equal(gateway.begun.websocket, 2);
});

shows("without Web Locks each tab is for itself", async (gateway, context) => {
  await context.addInitScript(() => Object.defineProperty(navigator, "locks", { value: undefined }));
  const pages = [await tab(context, gateway), await tab(context, gateway)];
  assert.equal(gateway.begun.websocket, 2);
  gateway.send();
  for (const page of pages) await hears(page, 1);
});

shows(
  "a topic that one tab asks for comes over the shared connection, and a forbidden one is refused to it alone",
  async (gateway, context) => {
    await tab(context, gateway);
    const page = await tab(context, gateway);
    const outcome = await page.evaluate(async () => {
      const { connect } = await import(String("/client.js"));
      const client = connect({ getToken: async () => (await (await fetch("/token")).json()).token });
      const heard: string[] = [];
      client.on("item", (item: { topic: string }) => heard.push(item.topic));
      await client.subscribe("climb:route:12");
      const refused = await client.subscribe("secret:1").catch((error: { code: string }) => error.code);
      Object.assign(globalThis, { heard });
      return refused;
    });
    assert.equal(outcome, "forbidden");
    assert.equal(gateway.begun.websocket, 1);
    gateway.send({ topic: "climb:route:12" });
    await page.waitForFunction(() =>
      (globalThis as never as { heard: string[] }).heard[0] === "climb:route:12"
    );
  },
);

shows(
  "a laptop that slept for a night hears as soon as it wakes, over a connection that had died meanwhile",
  async (gateway, context) => {
    await context.clock.install({ time: Date.now() - 1_000 });
    await context.clock.pauseAt(Date.now());
    const page = await tab(context, gateway);
    gateway.forget();
    gateway.send({ title: "While asleep" });
    assert.equal(gateway.begun.websocket, 1);
    // as the lid does it: the clock jumps, and each timer that came due rings once
    await context.clock.fastForward("08:00:00");
    // and now it stands: whatever waits for it, were it a second, would wait for ever
    await gateway.until(() => gateway.begun.websocket === 2);
    await hears(page, 1);
    assert.deepEqual(await told(page), ["1"]);
  },
);

Deno.test("in Chromium: a tab left open for a day, with tokens of five minutes, stays on one connection", async () => {
  const gateway = await new ScriptedGateway().start();
  try {
    let now = Date.parse("2026-03-01T08:00:00Z");
    const minted: string[] = [];
    gateway.heartbeat = 3_000;
    gateway.mint = () => {
      minted.push(tokenOf("ann", 300, now));
      return minted.at(-1)!;
    };
    await serveBell(gateway, 'token-url="/token"');
    await using browser = await startBrowser();
    const context = await browser.context();
    const page = await context.newPage();
    await page.clock.install({ time: now - 1_000 });
    // from here on it moves only when told to: an answer under way takes no time, as none does in a day
    await page.clock.pauseAt(now);
    await page.addInitScript(countAnswers);
    await page.goto(gateway.url);
    await gateway.until(() => gateway.sessions.size === 1);
    const renewals = 24 * 60 / 4;
    for (let n = 1; n <= renewals; n++) {
      await answered(page, n);
      now += 240_000;
      await page.clock.runFor(240_000);
    }
    await answered(page, 1 + renewals);
    assert.equal(minted.length, 1 + renewals);
    const told = gateway.frames.filter((frame) => frame.op === "hello" || frame.op === "auth");
    assert.deepEqual(told.map((frame) => frame.token), minted);
    assert.equal(gateway.begun.websocket, 1);
    gateway.send({ title: "The next morning", createdAt: new Date(now).toISOString() });
    await page.locator("tidings-bell .toast").getByText("The next morning").waitFor();
  } finally {
    await gateway.stop();
  }
});

/** Runs in the page: counts the answers as its own code reads them, `welcome` and then each `ok`. */
function countAnswers(): void {
  const page = globalThis as unknown as { answers: number; WebSocket: typeof WebSocket };
  page.answers = 0;
  page.WebSocket = class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      this.addEventListener("message", ({ data }) => {
        if (!["welcome", "ok"].includes(JSON.parse(data).op)) return;
        page.answers++;
        dispatchEvent(new Event("answer"));
      });
    }
  };
}

const answered = (page: Page, count: number) =>
  inTime(
    page.evaluate((count) =>
      new Promise<void>((resolve) => {
        const look = () => (globalThis as unknown as { answers: number }).answers >= count && resolve();
        addEventListener("answer", look);
        look();
      }), count),
    `${count} answers`,
  );
