import assert from "node:assert/strict";
import type { BrowserContext, Page } from "playwright-core";
import { testDatabase } from "../helpers/database.ts";
import { startGateway, type TestGateway } from "../helpers/gateway.ts";
import { type ClientPage, clientPage, heard, live } from "./client_page.ts";
import { startBrowser } from "./chromium.ts";

const RIGHTS = { subscribe: ["climb:**"], publish: ["user:*", "climb:**"] };

function shows(
  name: string,
  run: (scene: { gateway: TestGateway; context: BrowserContext; page: Page }) => Promise<void>,
): void {
  Deno.test(`in Chromium, signed in by an HttpOnly cookie: ${name}`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database, { env: { TIDINGS_COOKIE: "session" } });
    await using browser = await startBrowser();
    browser.expected.push(/status of 40[13]/);
    const context = await browser.context();
    await run({ gateway, context, page: await clientPage(context, gateway.url) });
  });
}

/** As the application's own sign-in does it: no script ever sees the token. */
async function signIn(context: BrowserContext, gateway: TestGateway, user: string, ttl = 600): Promise<void> {
  const value = await gateway.token(user, RIGHTS, ttl);
  await context.addCookies([{ name: "session", value, url: gateway.url, httpOnly: true, sameSite: "Lax" }]);
}

for (const transport of ["websocket", "sse", "longpoll"] as const) {
  shows(`${transport} sends, hears, adds topics and marks`, async ({ gateway, context, page }) => {
    await signIn(context, gateway, "ann");
    await live(page, { transports: [transport], topics: ["climb:1"] });
    assert.equal(await page.evaluate(() => document.cookie), "");
    const done = await page.evaluate(async () => {
      const { client } = globalThis as unknown as ClientPage;
      await client.subscribe("climb:2");
      const refused = await client.subscribe("private:1").catch((error: { code: string }) => error.code);
      const [id] = await client.publish({ to: "user:ann", title: "to myself" });
      await client.publish({ to: ["climb:1", "climb:2"], title: "on the wall" });
      await client.mark(id!, "read");
      const { items } = await client.inbox();
      return [refused, await client.count(), items.map(({ title, state }) => [title, state])];
    });
    assert.deepEqual(done, ["forbidden", { unread: 0, unseen: 0 }, [["to myself", "read"]]]);
    await heard(page, ["to myself", "on the wall", "on the wall"]);
    assert.equal((await live(page)).transport, transport);
  });

  shows(`${transport} counts the token of a page that has one, whoever the cookie is`, async (scene) => {
    const { gateway, context, page } = scene;
    await signIn(context, gateway, "ann");
    const token = await gateway.token("bob", RIGHTS);
    const { user } = await live(page, { transports: [transport], token });
    assert.equal(user, "bob");
    await page.evaluate(async () => {
      const { client } = globalThis as unknown as ClientPage;
      await client.publish({ to: ["user:ann"], title: "not for bob" });
      await client.publish({ to: ["user:bob"], title: "for bob" });
    });
    await heard(page, ["for bob"]);
  });

  shows(`${transport} goes on when the application renews the cookie`, async ({ gateway, context, page }) => {
    await signIn(context, gateway, "ann", 3);
    const over = Date.now() + 3_000;
    await live(page, { transports: [transport] });
    await page.evaluate(() =>
      (globalThis as unknown as ClientPage).client.publish({ to: "user:ann", title: "before" })
    );
    await heard(page, ["before"]);
    await signIn(context, gateway, "ann");
    await page.waitForFunction((over) => Date.now() > over, over);
    await page.evaluate(() =>
      (globalThis as unknown as ClientPage).client.publish({ to: "user:ann", title: "after" })
    );
    await heard(page, ["before", "after"]);
  });
}

shows("whoever is not signed in is told so, and nothing else happens", async ({ page }) => {
  const code = await page.evaluate(async () => {
    const { connect } = await import(String("/client.js"));
    const client = connect({ transports: ["sse"] });
    return await new Promise((resolve) =>
      client.on("error", (error: { code: string }) => resolve(error.code))
    );
  });
  assert.equal(code, "token_required");
});
