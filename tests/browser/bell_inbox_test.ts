import assert from "node:assert/strict";
import { bell, rows, shows, toasts } from "./bell_scene.ts";

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
