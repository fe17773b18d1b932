/**
 * A bell on a page in Chromium, with a scripted gateway behind it.
 * @module
 */
import type { BrowserContextOptions, Page } from "playwright-core";
import { ScriptedGateway } from "../client/scripted_gateway.ts";
import { serveBell } from "./bell_page.ts";
import { startBrowser, type TestBrowser } from "./chromium.ts";

/** A bell on a page, and the gateway that rings it. */
export interface Scene {
  gateway: ScriptedGateway;
  browser: TestBrowser;
  page: Page;
  open(options?: BrowserContextOptions): Promise<Page>;
  /** Opens one whose clock stands, and moves when it is told to. */
  openAt(): Promise<Page>;
}

/** Declares a test of a bell with these attributes, on a page that is open and connected. */
export function shows(
  name: string,
  run: (scene: Scene) => Promise<void>,
  attributes = 'token-url="/token"',
): void {
  Deno.test(`<tidings-bell> ${name}`, async () => {
    const gateway = await new ScriptedGateway().start();
    try {
      await serveBell(gateway, attributes);
      await using browser = await startBrowser();
      const blank = async (options: BrowserContextOptions = {}) => {
        const context = await browser.context({ viewport: { width: 900, height: 720 }, ...options });
        return await context.newPage();
      };
      const visit = async (page: Page) => {
        const before = gateway.sessions.size;
        await page.goto(gateway.url);
        await gateway.until(() => gateway.sessions.size > before);
        return page;
      };
      const open = async (options: BrowserContextOptions = {}) => await visit(await blank(options));
      const openAt = async () => {
        const page = await blank({ reducedMotion: "reduce" });
        await page.clock.install({ time: Date.now() - 1_000 });
        await page.clock.pauseAt(Date.now());
        return await visit(page);
      };
      await run({ gateway, browser, page: await open(), open, openAt });
    } finally {
      await gateway.stop();
    }
  });
}

/** The button. */
export const bell = (page: Page) => page.locator("tidings-bell .bell");

/** What pops up, for a while. */
export const toasts = (page: Page) => page.locator("tidings-bell .toast");

/** What the open panel lists. */
export const rows = (page: Page) => page.locator("tidings-bell ul[part=list] .item");
