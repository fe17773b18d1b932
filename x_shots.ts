import { testDatabase } from "./tests/helpers/database.ts";
import { startGateway } from "./tests/helpers/gateway.ts";
import { startBrowser } from "./tests/browser/chromium.ts";
import { ScriptedGateway } from "./tests/client/scripted_gateway.ts";
import { serveBell } from "./tests/browser/bell_page.ts";
const out = "/tmp/tidings/shots";
await using browser = await startBrowser();
const what = Deno.args[0];
if (what !== "demo") {
  const gateway = await new ScriptedGateway().start();
  await serveBell(gateway, 'token-url="/token"');
  const now = Date.now();
  const at = (m: number) => new Date(now - m * 60_000).toISOString();
  gateway.send({ title: "Route 12 was reset", body: "The yellow slab is new since this morning", createdAt: at(3000) });
  gateway.send({ title: "완등 축하합니다", body: "루트 12, 첫 시도에", createdAt: at(1500) });
  gateway.send({ title: "Bo likes your post", link: "/posts/7", createdAt: at(300) });
  gateway.send({ title: "A very long title that somebody wrote without thinking about how narrow a panel is and how little anybody reads", body: "and a body, which goes on and on and on, over several lines, so that it has to be cut somewhere after the third line, because otherwise it would fill the panel all by itself and nothing else would be seen any more at all.", createdAt: at(100) });
  gateway.send({ title: "Match found", body: "Saturday at ten, hall B", link: "/m/1", createdAt: at(5) });
  gateway.states.set("1", "read"); gateway.states.set("3", "read");
  const looks: [string, Record<string, unknown>, string, string][] = [
    ["desk-light", { viewport: { width: 1280, height: 800 }, colorScheme: "light" }, "en", "ltr"],
    ["desk-dark-rtl", { viewport: { width: 1280, height: 800 }, colorScheme: "dark" }, "ar", "rtl"],
    ["phone-ko", { viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true, isMobile: true, deviceScaleFactor: 2 }, "ko", "ltr"],
    ["phone-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true, deviceScaleFactor: 2 }, "en", "ltr"],
  ];
  for (const [name, options, lang, dir] of looks) {
    const page = await (await browser.context(options)).newPage();
    await page.goto(gateway.url);
    await page.evaluate(({ lang, dir }) => Object.assign(document.documentElement, { lang, dir }), { lang, dir });
    await page.locator("tidings-bell .badge").waitFor();
    gateway.send({ topic: "user:ann", title: "The coach writes your plan", transient: true, collapseKey: "job", data: { progress: 0.4 } });
    gateway.send({ title: "Your opponent is ready", body: "Say so too, and the match begins", link: "/m/1", transient: true });
    await page.locator("tidings-bell .toast").nth(1).waitFor();
    await new Promise((r) => setTimeout(r, 400));
    await page.screenshot({ path: `${out}/bell-${name}-toast.png` });
    await page.locator("tidings-bell .bell").click();
    await page.locator("tidings-bell ul[part=list] .item").nth(2).waitFor();
    await page.locator("tidings-bell ul[part=list] .item").nth(1).hover().catch(() => {});
    await new Promise((r) => setTimeout(r, 400));
    await page.screenshot({ path: `${out}/bell-${name}.png` });
    await page.context().close();
  }
  await gateway.stop();
}
if (what !== "bell") {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, { env: { TIDINGS_DEV: "1" } });
  const looks: [string, Record<string, unknown>][] = [
    ["desk-light", { viewport: { width: 1280, height: 800 }, colorScheme: "light" }],
    ["desk-dark", { viewport: { width: 1280, height: 800 }, colorScheme: "dark" }],
    ["phone-light", { viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
    ["phone-dark", { viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true, isMobile: true, deviceScaleFactor: 2 }],
  ];
  for (const [name, options] of looks) {
    const page = await (await browser.context(options)).newPage();
    await page.goto(gateway.url);
    await page.getByText("live over WebSocket").nth(1).waitFor();
    await page.screenshot({ path: `${out}/demo-${name}-0.png` });
    const m = (n: string) => page.locator(`demo-member[member="${n}"]`);
    await m("1").getByRole("button", { name: "Challenge", exact: true }).click();
    await m("2").locator(".toast").first().waitFor();
    await new Promise((r) => setTimeout(r, 400));
    await page.screenshot({ path: `${out}/demo-${name}-1.png` });
    await m("2").getByRole("button", { name: "Accept", exact: true }).click();
    await m("1").getByRole("button", { name: "Ask the coach", exact: true }).click();
    await new Promise((r) => setTimeout(r, 900));
    await page.screenshot({ path: `${out}/demo-${name}-2.png`, fullPage: true });
    await m("2").locator("tidings-bell .bell").click();
    await new Promise((r) => setTimeout(r, 500));
    await page.screenshot({ path: `${out}/demo-${name}-3.png` });
    await m("2").locator("tidings-bell .bell").click();
    await m("1").getByRole("button", { name: "Cancel", exact: true }).click().catch(() => {});
    await page.context().close();
  }
}
