import axe from "axe-core";
import assert from "node:assert/strict";
import type { BrowserContextOptions, Page } from "playwright-core";
import { ScriptedGateway } from "../client/scripted_gateway.ts";
import { serveBell } from "./bell_page.ts";
import { startBrowser, type TestBrowser } from "./chromium.ts";

interface Scene {
  gateway: ScriptedGateway;
  browser: TestBrowser;
  page: Page;
  open(options?: BrowserContextOptions): Promise<Page>;
  /** Opens one whose clock stands, and moves when it is told to. */
  openAt(): Promise<Page>;
}

function shows(name: string, run: (scene: Scene) => Promise<void>, attributes = 'token-url="/token"'): void {
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

const bell = (page: Page) => page.locator("tidings-bell .bell");
const toasts = (page: Page) => page.locator("tidings-bell .toast");
const rows = (page: Page) => page.locator("tidings-bell ul[part=list] .item");

shows(
  "rings: a badge, a toast that leaves by itself after two seconds, and a word to screen readers",
  async ({ gateway, openAt }) => {
    const page = await openAt();
    assert.equal(await bell(page).getAttribute("aria-label"), "Notifications");
    gateway.send({ title: "Match found", body: "Saturday at ten" });
    await toasts(page).getByText("Match found").waitFor();
    assert.equal(await page.locator("tidings-bell .badge").textContent(), "1");
    assert.equal(await bell(page).getAttribute("aria-label"), "Notifications, 1 unread");
    assert.equal(
      await page.locator("tidings-bell [role=status]").textContent(),
      "Match found. Saturday at ten",
    );
    await page.clock.runFor(1_900);
    assert.equal(await toasts(page).count(), 1);
    await page.clock.runFor(200);
    await toasts(page).waitFor({ state: "detached" });
  },
);

shows("keeps a toast while somebody points at it", async ({ gateway, openAt }) => {
  const page = await openAt();
  gateway.send({ title: "Read me slowly" });
  await toasts(page).hover();
  await page.clock.runFor(20_000);
  assert.equal(await toasts(page).count(), 1);
  await page.mouse.move(10, 300);
  await page.clock.runFor(2_100);
  await toasts(page).waitFor({ state: "detached" });
});

shows(
  "opens the inbox in pages; what was looked at is seen, and read, unread, archived at a click",
  async ({ gateway, page }) => {
    for (let n = 1; n <= 45; n++) {
      gateway.send({
        title: `Number ${n}`,
        createdAt: "2026-01-01T00:00:00.000Z",
      });
    }
    await bell(page).click();
    await rows(page).nth(19).waitFor();
    assert.equal(await rows(page).count(), 20);
    await gateway.until(() => gateway.count.unseen === 25);
    await page.getByRole("button", { name: "Show older" }).click();
    await rows(page).nth(39).waitFor();
    await page.getByRole("button", { name: "Show older" }).click();
    await rows(page).nth(44).waitFor();
    assert.equal(await page.getByRole("button", { name: "Show older" }).count(), 0);
    assert.deepEqual([gateway.count.unseen, gateway.count.unread], [0, 45]);

    await rows(page).first().hover();
    await page.getByRole("button", { name: "Mark as read: Number 45" }).click();
    await gateway.until(() => gateway.states.get("45") === "read");
    await page.getByRole("button", { name: "Mark as unread: Number 45" }).click();
    await gateway.until(() => gateway.states.get("45") === "seen");
    await page.getByRole("button", { name: "Archive: Number 45" }).click();
    await gateway.until(() => gateway.states.get("45") === "archived");
    await page.getByText("Number 45", { exact: true }).waitFor({ state: "detached" });

    await page.getByRole("button", { name: "Archived", exact: true }).click();
    await page.getByText("Number 45", { exact: true }).waitFor();
    assert.equal(await rows(page).count(), 1);
    await page.getByRole("button", { name: "Mark all as read" }).click();
    await gateway.until(() => gateway.count.unread === 0);
    await page.locator("tidings-bell .badge").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Unread", exact: true }).click();
    await page.getByText("All caught up").waitFor();
  },
);

shows("shows what arrives, and what was marked elsewhere, on an open panel", async ({ gateway, page }) => {
  gateway.send({ title: "First" });
  await bell(page).click();
  await page.locator("tidings-bell .item.unread").getByText("First").waitFor();
  gateway.send({ title: "Newer" });
  await rows(page).getByText("Newer").waitFor();
  assert.deepEqual(await rows(page).locator(".title").allTextContents(), ["Newer", "First"]);
  gateway.mark({ ids: ["1"], state: "read" });
  await page.locator("tidings-bell .item:not(.unread)").getByText("First").waitFor();
});

shows("loads the inbox anew when the cursor could not be used", async ({ gateway, page }) => {
  gateway.send({ title: "Read meanwhile" });
  await bell(page).click();
  await page.locator("tidings-bell .item.unread").getByText("Read meanwhile").waitFor();
  // while nobody was told
  gateway.states.set("1", "read");
  gateway.tell({ op: "reset", reason: "retention", cursor: gateway.cursor });
  await page.locator("tidings-bell .item:not(.unread)").getByText("Read meanwhile").waitFor();
});

shows("takes titles for text and follows no link that runs", async ({ gateway, page }) => {
  gateway.send({
    title: "<img src=x onerror=document.title='harmed'>",
    body: "<b>bold</b>",
    link: "javascript:document.title='harmed'",
  });
  gateway.send({ title: "A safe one", link: "/?opened" });
  await bell(page).click();
  await rows(page).nth(1).waitFor();
  assert.equal(await rows(page).locator("img, b").count(), 0);
  const [safe, unsafe] = [rows(page).nth(0), rows(page).nth(1)];
  assert.equal(await unsafe.locator("a").count(), 0);
  await unsafe.locator(".open").click();
  await gateway.until(() => gateway.states.get("1") === "read");
  assert.equal(await page.title(), "A page");
  assert.equal(await safe.locator("a").getAttribute("href"), `${gateway.url}?opened`);
  await safe.locator("a").click();
  await page.waitForURL("**/?opened");
  await gateway.until(() => gateway.states.get("2") === "read");
});

shows("leaves the way to the page when the page wants it", async ({ gateway, page }) => {
  const opened = page.evaluate(() =>
    new Promise<string>((resolve) =>
      addEventListener("tidings-open", (event) => {
        event.preventDefault();
        resolve((event as CustomEvent).detail.link);
      })
    )
  );
  gateway.send({ title: "To the application's own router", link: "/routes/12" });
  await toasts(page).locator("a").click();
  assert.equal(await opened, "/routes/12");
  assert.equal(page.url(), gateway.url);
});

shows("is worked by the keyboard alone, and gives the focus back", async ({ gateway, page }) => {
  for (const title of ["One", "Two", "Three"]) gateway.send({ title, createdAt: "2026-01-01T00:00:00.000Z" });
  const focused = () =>
    page.evaluate(() => {
      const inside = document.activeElement?.shadowRoot?.activeElement;
      return inside?.querySelector(".title")?.textContent ?? inside?.getAttribute("class") ??
        document.activeElement?.tagName;
    });
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "bell");
  await page.keyboard.press("Enter");
  await rows(page).nth(2).waitFor();
  for (
    const [key, title] of [["ArrowDown", "Three"], ["ArrowDown", "Two"], ["End", "One"], ["ArrowUp", "Two"], [
      "Home",
      "Three",
    ]]
  ) {
    await page.keyboard.press(key!);
    assert.equal(await focused(), title, `after ${key}`);
  }
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await gateway.until(() => gateway.states.get("3") === "archived");
  await page.getByText("Three", { exact: true }).waitFor({ state: "detached" });
  assert.equal(await focused(), "Two");
  await page.getByRole("button", { name: "Mark all as read" }).press("Enter");
  await gateway.until(() => gateway.count.unread === 0);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("tidings-bell .panel").count(), 0);
  assert.equal(await focused(), "bell");
  await bell(page).click();
  await page.mouse.click(50, 400);
  await page.locator("tidings-bell .panel").waitFor({ state: "detached" });
});

shows("replaces progress in place, until the job is done", async ({ gateway, page }) => {
  const job = (progress: number) =>
    gateway.send({
      topic: "user:ann",
      title: `Answer: ${progress * 100} %`,
      transient: true,
      collapseKey: "answer",
      data: { progress },
    });
  job(0.25);
  await toasts(page).getByText("Answer: 25 %").waitFor();
  job(0.75);
  await toasts(page).getByText("Answer: 75 %").waitFor();
  assert.equal(await toasts(page).count(), 1);
  const bar = page.locator("tidings-bell progress");
  assert.equal(await bar.evaluate((element) => (element as HTMLProgressElement).value), 0.75);
  await bell(page).click();
  await page.locator("tidings-bell ul[part=jobs] progress").waitFor();
  await page.keyboard.press("Escape");
  job(1);
  await toasts(page).waitFor({ state: "detached" });
  assert.deepEqual(gateway.count, { unread: 0, unseen: 0 });
});

shows(
  "asks for permission on a click only; then the browser's own notification tells who does not look, and leads there",
  async ({ gateway, browser, page: first }) => {
    // the headless shell that npm carries has no notifications at all: there, something stands in for them
    const real = await first.evaluate(() => Notification.permission) !== "denied";
    const context = await browser.context();
    await context.addInitScript(watchNotifications, real);
    const page = await context.newPage();
    await page.goto(gateway.url);
    await gateway.until(() => gateway.sessions.size === 2);
    const log = () => page.evaluate(() => (globalThis as unknown as Watched).log);
    gateway.send({ title: "Before" });
    await toasts(page).waitFor();
    assert.deepEqual(await log(), []);
    await bell(page).click();
    await context.grantPermissions(["notifications"], { origin: new URL(gateway.url).origin });
    assert.deepEqual(await log(), []);
    await page.getByRole("button", { name: "Notify me on this device" }).click();
    await page.getByRole("button", { name: "Notify me on this device" }).waitFor({ state: "detached" });
    assert.deepEqual(await log(), ["asked"]);
    await page.keyboard.press("Escape");
    gateway.send({ title: "While looking" });
    await toasts(page).getByText("While looking").waitFor();
    await page.evaluate(() => Object.assign(globalThis, { hiddenNow: true }));
    gateway.send({ title: "While away", body: "it rang", link: "/?answered" });
    await page.waitForFunction(() => (globalThis as unknown as Watched).log.length === 2);
    assert.deepEqual((await log())[1], ["While away", "it rang", "tidings:3"]);
    await page.evaluate(() => (globalThis as unknown as Watched).last.dispatchEvent(new Event("click")));
    await page.waitForURL("**/?answered");
    await gateway.until(() => gateway.states.get("3") === "read");
  },
);

interface Watched {
  log: unknown[];
  last: Notification;
}

/** Runs in the page: keeps what was asked and shown, and lets the test say whether somebody looks. */
function watchNotifications(real: boolean): void {
  const log: unknown[] = [];
  Object.assign(globalThis, { log, hiddenNow: false });
  class StandIn extends EventTarget {
    static permission = "default";
    static requestPermission() {
      StandIn.permission = "granted";
      return Promise.resolve("granted");
    }
    onclick: (() => void) | null = null;
    constructor(_title: string, _options: NotificationOptions) {
      super();
      this.addEventListener("click", () => this.onclick?.());
      queueMicrotask(() => this.dispatchEvent(new Event("show")));
    }
    close() {}
  }
  const base = (real ? Notification : StandIn) as typeof Notification;
  class WatchedNotification extends base {
    static override requestPermission() {
      log.push("asked");
      return base.requestPermission();
    }
    constructor(title: string, options: NotificationOptions) {
      super(title, options);
      this.addEventListener("show", () => {
        Object.assign(globalThis, { last: this });
        log.push([title, options.body, options.tag]);
      });
    }
  }
  Object.assign(globalThis, { Notification: WatchedNotification });
  Object.defineProperty(document, "visibilityState", {
    get: () => (globalThis as unknown as { hiddenNow: boolean }).hiddenNow ? "hidden" : "visible",
  });
}

shows("says how the connection stands", async ({ gateway, page, browser }) => {
  browser.expected.push(/WebSocket connection|ERR_|Failed to load resource/);
  await bell(page).click();
  await page.locator("tidings-bell .footer").getByText("Connected", { exact: true }).waitFor();
  await page.context().setOffline(true);
  await page.locator("tidings-bell .footer").getByText("Offline").waitFor();
  await page.context().setOffline(false);
  await page.locator("tidings-bell .footer").getByText("Connected", { exact: true }).waitFor();
  gateway.send({ title: "After" });
  await rows(page).getByText("After").waitFor();
});

shows("speaks Korean, and what a page wants it to say", async ({ gateway, page }) => {
  await page.evaluate(() => document.documentElement.lang = "ko");
  gateway.send({ title: "루트 완등" });
  await toasts(page).waitFor();
  assert.equal(await bell(page).getAttribute("aria-label"), "알림, 읽지 않음 1개");
  await page.evaluate(() =>
    Object.assign(document.querySelector("tidings-bell")!, { texts: { markAll: "다 봤어요" } })
  );
  await bell(page).click();
  await page.getByRole("button", { name: "다 봤어요" }).waitFor();
  await page.getByText("방금").or(page.getByText("초 전")).or(page.getByText("지금")).first().waitFor();
});

shows("is styled by custom properties and parts", async ({ gateway, page }) => {
  gateway.send({ title: "One" });
  await page.addStyleTag({
    content: "tidings-bell { --tidings-badge: rgb(0, 128, 0) } tidings-bell::part(badge) { font-size: 20px }",
  });
  const style = await page.locator("tidings-bell .badge").evaluate((badge) => {
    const { backgroundColor, fontSize } = getComputedStyle(badge);
    return { backgroundColor, fontSize };
  });
  assert.deepEqual(style, { backgroundColor: "rgb(0, 128, 0)", fontSize: "20px" });
});

shows(
  "has no violation that axe finds: light, dark, right-to-left, Korean, phone, full and empty",
  async ({ gateway, open }) => {
    const looks: [BrowserContextOptions, string, string][] = [
      [{ colorScheme: "light" }, "en", "ltr"],
      [{ colorScheme: "dark" }, "en", "rtl"],
      [{ colorScheme: "light", viewport: { width: 390, height: 780 } }, "ko", "ltr"],
    ];
    for (const full of [false, true]) {
      for (const [options, lang, dir] of looks) {
        const page = await open({ ...options, reducedMotion: "reduce" });
        await page.evaluate(({ lang, dir }) => Object.assign(document.documentElement, { lang, dir }), {
          lang,
          dir,
        });
        await check(page, `closed ${lang} ${dir}`);
        if (full) {
          gateway.send({
            topic: "user:ann",
            title: "A job",
            transient: true,
            collapseKey: "job",
            data: { progress: 0.5 },
          });
          gateway.send({ title: "Match found", body: "Saturday", link: "/matches/1" });
          await toasts(page).nth(1).waitFor();
          await check(page, `toasts ${lang} ${dir}`);
        }
        await bell(page).click();
        await (full ? rows(page).first() : page.locator("tidings-bell .note svg")).waitFor();
        await check(page, `open ${lang} ${dir}`);
        await page.context().close();
      }
    }
  },
);

async function check(page: Page, what: string): Promise<void> {
  await page.evaluate(axe.source);
  const violations = await page.evaluate(async () => {
    const { axe } = globalThis as never as {
      axe: {
        run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
      };
    };
    return (await axe.run()).violations.map((
      { id, nodes },
    ) => [id, ...nodes.map((node) => `${node.html}: ${node.failureSummary}`)]);
  });
  assert.deepEqual(violations, [], what);
}
