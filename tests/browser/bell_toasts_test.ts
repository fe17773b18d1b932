import assert from "node:assert/strict";
import { bell, shows, toasts } from "./bell_scene.ts";

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
