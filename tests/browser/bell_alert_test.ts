import assert from "node:assert/strict";
import { bell, shows, toasts } from "./bell_scene.ts";

shows(
  "asks for permission on a click only; then the browser's own notification tells who does not look, and leads there",
  async ({ gateway, browser, page: first }) => {
    // the headless shell that npm carries has no notifications at all: there, something stands in for them
    const real = await first.evaluate(() => Notification.permission) !== "denied";
    const context = await browser.context();
    // whoever is asked says yes
    await context.exposeFunction(
      "grant",
      () => context.grantPermissions(["notifications"], { origin: new URL(gateway.url).origin }),
    );
    await context.addInitScript(watchNotifications, real);
    const page = await context.newPage();
    await page.goto(gateway.url);
    await gateway.until(() => gateway.sessions.size === 2);
    const log = () => page.evaluate(() => (globalThis as unknown as Watched).log);
    gateway.send({ title: "Before" });
    await toasts(page).waitFor();
    assert.deepEqual(await log(), []);
    await bell(page).click();
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
    static override async requestPermission() {
      log.push("asked");
      await (globalThis as unknown as { grant(): Promise<void> }).grant();
      return await base.requestPermission();
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
