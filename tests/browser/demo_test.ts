import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { ACTIONS, type Member } from "../../src/demo/actions.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { AXE, violations } from "./axe.ts";
import { startBrowser, type TestBrowser } from "./chromium.ts";

function shows(name: string, run: (page: Page, browser: TestBrowser, url: string) => Promise<void>): void {
  Deno.test(`the demo ${name}`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database, { env: { TIDINGS_DEV: "1" } });
    await using browser = await startBrowser();
    const context = await browser.context({
      viewport: { width: 1180, height: 800 },
      reducedMotion: "reduce",
    });
    const page = await context.newPage();
    await page.goto(gateway.url);
    await page.getByText("live over WebSocket").nth(1).waitFor();
    await run(page, browser, gateway.url);
  });
}

const member = (page: Page, name: string) => page.locator(`demo-member[member="${name}"]`);
const toast = (page: Page, name: string) => member(page, name).locator("tidings-bell .toast");

/** An evening in the gym: who does what, who hears of it, and how. */
const EVENING: [Member, string, Member, string][] = [
  ["1", "Challenge", "2", "Ada challenges you"],
  ["2", "Accept", "1", "Your match is on"],
  ["1", "I am ready", "2", "Your opponent is ready"],
  ["2", "Cancel", "1", "Your match was cancelled"],
  ["1", "Post", "2", "Ada posted"],
  ["2", "Like", "1", "Bo likes your post"],
  ["1", "Climb", "2", "Ada completed Yellow slab"],
  ["1", "Be faster", "1", "A new record"],
  ["2", "Swap places", "1", "You are number 2 now"],
  ["1", "Ask the coach", "1", "The coach writes your plan"],
];

shows("rings the other one's bell with the statement that it shows, for every button", async (page) => {
  assert.deepEqual(EVENING.map(([, label]) => label), ACTIONS.map(({ label }) => label));
  for (const [who, label, hears, title] of EVENING) {
    await member(page, who).getByRole("button", { name: label, exact: true }).click();
    const statement = await member(page, who).locator("pre.sql").textContent();
    assert.match(
      statement!,
      label === "Ask the coach" ? /^select tidings\.send/ : /^(insert into|update) climbing\./,
    );
    await toast(page, hears).getByText(title).first().waitFor();
  }
  assert.equal(await page.locator(".error").count(), 0);
});

shows("says why nothing happened", async (page) => {
  await member(page, "2").getByRole("button", { name: "Accept", exact: true }).click();
  await member(page, "2").getByRole("alert").getByText("Nobody has challenged you").waitFor();
});

shows("goes over each transport that is forced, with the cursor kept", async (page) => {
  for (
    const [label, state] of [["SSE", "SSE"], ["Long-poll", "Long-poll"], ["WebSocket", "WebSocket"]] as const
  ) {
    await member(page, "2").getByRole("button", { name: label, exact: true }).click();
    await member(page, "2").getByText(`live over ${state}`).waitFor();
    await member(page, "1").getByRole("button", { name: "Post", exact: true }).click();
    await toast(page, "2").getByText("Ada posted").waitFor();
    await toast(page, "2").locator(".icon").first().click();
    assert.match((await member(page, "2").locator(".cursor code").textContent())!, /^[0-9a-z]+-\d+/);
  }
  // each frame, in both directions, and no token for whoever looks over a shoulder
  const frames = member(page, "2").locator(".frames");
  await frames.locator("li.in").getByText('{"op":"items"').first().waitFor();
  await frames.locator("li.out").getByText('{"op":"ack"').first().waitFor();
  await frames.locator("li.out").getByText('{"op":"hello","token":"…"').first().waitFor();
});

shows("delivers what was missed while the network was cut, and while the tab was closed", async (page) => {
  await member(page, "2").getByRole("button", { name: "Cut the network" }).click();
  await member(page, "1").getByRole("button", { name: "Challenge", exact: true }).click();
  await member(page, "2").getByText("no network, trying").waitFor();
  await member(page, "2").getByRole("button", { name: "Mend the network" }).click();
  await toast(page, "2").getByText("Ada challenges you").waitFor();

  await member(page, "2").getByRole("button", { name: "Close the tab" }).click();
  await member(page, "2").getByText("tab closed").waitFor();
  await member(page, "1").getByRole("button", { name: "Cancel", exact: true }).click();
  await member(page, "1").locator(".frames li").first().waitFor();
  await member(page, "2").getByRole("button", { name: "Open it again" }).click();
  await toast(page, "2").getByText("Your match was cancelled").waitFor();
  assert.equal(await toast(page, "2").count(), 1);
});

shows(
  "keeps each member's inbox: the bell counts, shows, marks, and still knows after a reload",
  async (page) => {
    const alex = member(page, "2").locator("tidings-bell");
    for (const label of ["Challenge", "Cancel", "Climb", "Ask the coach"]) {
      await member(page, "1").getByRole("button", { name: label, exact: true }).click();
    }
    await alex.locator(".badge").getByText("4", { exact: true }).waitFor();
    await alex.locator(".bell").click();
    await alex.locator("ul[part=list] .item").nth(3).waitFor();
    const titles = await alex.locator("ul[part=list] .title").allTextContents();
    assert.deepEqual(titles, [
      "Ada completed Yellow slab",
      "Your match was cancelled",
      "Ada challenges you",
      "Ada posted",
    ]);
    await alex.getByRole("button", { name: "Mark as read: Ada challenges you" }).click();
    await alex.locator(".badge").getByText("3", { exact: true }).waitFor();
    await alex.getByRole("button", { name: "Archive: Your match was cancelled" }).click();
    await alex.locator(".badge").getByText("2", { exact: true }).waitFor();
    await page.reload();
    await alex.locator(".badge").getByText("2", { exact: true }).waitFor();
    await alex.locator(".bell").click();
    await alex.getByRole("button", { name: "Unread", exact: true }).click();
    await alex.locator("ul[part=list]").getByText("Ada completed Yellow slab").waitFor();
    assert.equal(await alex.locator("ul[part=list] .item").count(), 2);
    await alex.getByRole("button", { name: "Mark all as read" }).click();
    await alex.locator(".badge").waitFor({ state: "detached" });
  },
);

shows("fits a phone without scrolling sideways, both bells in sight, and axe finds nothing", async (page) => {
  for (const viewport of [{ width: 390, height: 844 }, { width: 1180, height: 800 }]) {
    await page.setViewportSize(viewport);
    const { wide, bells } = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth - innerWidth,
      bells: [...document.querySelectorAll("tidings-bell")].filter((bell) => {
        const { top, bottom } = bell.getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight;
      }).length,
    }));
    assert.ok(wide <= 0, `${wide} px too wide`);
    assert.equal(bells, 2);
    // evaluated as the tests' own, where the page's policy does not reach
    await page.addInitScript(AXE);
    await page.reload();
    await page.getByText("live over WebSocket").nth(1).waitFor();
    assert.deepEqual(await violations(page), [], `${viewport.width} px wide`);
  }
});

Deno.test("the demo is in dev mode only, and no other site can use it", async () => {
  await using database = await testDatabase();
  await using plain = await startGateway(database);
  for (const path of ["/", "/demo/token?member=2", "/demo.js"]) {
    const response = await fetch(`${plain.url}${path}`);
    assert.equal(response.status, 404, path);
    await response.body?.cancel();
  }
  await using dev = await startGateway(database, { env: { TIDINGS_DEV: "1" } });
  const post = (headers: Record<string, string>, body: unknown) =>
    fetch(`${dev.url}/demo/run`, { method: "POST", headers, body: JSON.stringify(body) });
  const json = { "content-type": "application/json" };
  const wanted: [Promise<Response>, number][] = [
    [post({ ...json, "sec-fetch-site": "cross-site" }, { action: "match_made", member: "2" }), 403],
    [post({ "content-type": "text/plain" }, { action: "match_made", member: "2" }), 415],
    [post(json, { action: "drop table", member: "2" }), 400],
    [post(json, { action: "match_made", member: "mallory" }), 400],
    [post(json, { action: "answer", member: "2", progress: 7 }), 400],
    [post(json, { action: "match_made", member: "2" }), 200],
    [fetch(`${dev.url}/demo/token?member=mallory`), 400],
  ];
  for (const [response, status] of wanted) {
    assert.equal((await response).status, status);
    await (await response).body?.cancel();
  }
});
