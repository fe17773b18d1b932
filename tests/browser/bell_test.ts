import assert from "node:assert/strict";
import type { BrowserContextOptions, Page } from "playwright-core";
import { AXE, violations } from "./axe.ts";
import { bell, rows, shows, toasts } from "./bell_scene.ts";

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

shows(
  "breaks Korean between words, Chinese anywhere, and a word without end where the line ends",
  async ({ gateway, page }) => {
    const korean = "김민수 님이 회원님의 게시물에 댓글을 남겼습니다 확인해 주세요";
    const chinese = "从今天早上开始您可以使用新设置的黄色平板岩路线为了您的安全攀登前请务必检查";
    const endless = "대한민국실내클라이밍경기연맹전국생활체육클라이밍대회참가신청안내문".repeat(3);
    for (const text of [korean, chinese, endless]) gateway.send({ title: text, body: text });
    await bell(page).click();
    await rows(page).nth(2).waitFor();
    for (const lang of ["en", "ko"]) {
      for (let rem = 13; rem <= 24; rem += 0.5) {
        await page.evaluate(({ lang, rem }) => {
          document.documentElement.lang = lang;
          document.querySelector<HTMLElement>("tidings-bell")!.style.setProperty(
            "--tidings-width",
            `${rem}rem`,
          );
        }, { lang, rem });
        const seen = await page.locator("tidings-bell ul[part=list] .item bdi:not(time *)").evaluateAll((
          all,
        ) =>
          all.map((bdi) => {
            const text = [...bdi.childNodes].find((node) => node.nodeType === Node.TEXT_NODE)!;
            const range = document.createRange();
            const linesOf = (from: number, to: number) => {
              range.setStart(text, from);
              range.setEnd(text, to);
              return new Set([...range.getClientRects()].map(({ top }) => top)).size;
            };
            const words = [...bdi.textContent!.matchAll(/\S+/g)];
            const box = bdi.parentElement!;
            const { right } = box.getBoundingClientRect();
            range.selectNodeContents(bdi);
            return {
              text: bdi.textContent,
              broken: words.filter(({ 0: word, index }) => linesOf(index, index + word.length) > 1).map((
                [word],
              ) => word),
              lines: linesOf(0, bdi.textContent!.length),
              over: [...range.getClientRects()].some((rect) => rect.right > right + 1),
            };
          })
        );
        assert.equal(seen.length, 6);
        for (const { text, broken, lines, over } of seen) {
          const where = `${text} at ${rem}rem in ${lang}`;
          assert.ok(!over, where);
          if (text === korean) assert.deepEqual(broken, [], where);
          else assert.ok(lines > 1, where);
        }
      }
    }
    const rule = (title: string) =>
      rows(page).getByText(title).first().evaluate((bdi) => getComputedStyle(bdi).wordBreak);
    assert.deepEqual([await rule(korean), await rule(chinese)], ["keep-all", "normal"]);
  },
);

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
  await page.evaluate(AXE);
  assert.deepEqual(await violations(page), [], what);
}
