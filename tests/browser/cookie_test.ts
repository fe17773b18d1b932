import assert from "node:assert/strict";
import type { BrowserContext, Page } from "playwright-core";
import { LEEWAY } from "../../src/auth/token.ts";
import type { ConnectOptions, Snapshot } from "../../src/client/mod.ts";
import { TRANSPORTS } from "../../src/client/mod.ts";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";
import { startGateway, type TestGateway } from "../helpers/gateway.ts";
import { type JumpClock, jumpClock } from "../helpers/jump_clock.ts";
import { startBrowser } from "./chromium.ts";
import { type ClientPage, clientPage, heard, live } from "./client_page.ts";

const RIGHTS = { subscribe: ["climb:**"], publish: ["user:*", "climb:**"] };

interface Scene {
  gateway: TestGateway;
  database: TestDatabase;
  context: BrowserContext;
  page: Page;
  /** The gateway's. */
  clock: JumpClock;
  /** Somebody whom no other scene knows. */
  user: string;
  connect(options?: ConnectOptions): Promise<Snapshot>;
}

/** The same over each transport, each in a browser profile of its own. */
function shows(name: string, run: (scene: Scene) => Promise<void>, transports = TRANSPORTS): void {
  Deno.test(`in Chromium, signed in by an HttpOnly cookie: ${name}`, async () => {
    await using database = await testDatabase();
    const clock = jumpClock();
    await using gateway = await startGateway(database, { clock, env: { TIDINGS_COOKIE: "session" } });
    await using browser = await startBrowser();
    browser.expected.push(/status of 40[13]/);
    for (const transport of transports) {
      const context = await browser.context();
      const page = await clientPage(context, gateway.url);
      const connect = async (options: ConnectOptions = {}) => {
        const snapshot = await live(page, { transports: [transport], ...options });
        assert.equal(snapshot.transport, transport);
        return snapshot;
      };
      await run({ gateway, database, context, page, clock, user: `ann-${transport}`, connect });
      await context.close();
    }
  });
}

/** As the application's own sign-in does it: no script ever sees the token. */
async function signIn({ context, gateway, user }: Scene, ttl = 600): Promise<void> {
  const value = await gateway.token(user, RIGHTS, ttl);
  await context.addCookies([{ name: "session", value, url: gateway.url, httpOnly: true, sameSite: "Lax" }]);
}

const publish = (page: Page, to: string, title: string) =>
  page.evaluate(
    ({ to, title }) => (globalThis as unknown as ClientPage).client.publish({ to, title }),
    { to, title },
  );

shows("each transport sends, hears, adds topics and marks", async (scene) => {
  const { page, user, connect } = scene;
  await signIn(scene);
  await connect({ topics: ["climb:1"] });
  assert.equal(await page.evaluate(() => document.cookie), "");
  const done = await page.evaluate(async (user) => {
    const { client } = globalThis as unknown as ClientPage;
    await client.subscribe("climb:2");
    const refused = await client.subscribe("private:1").catch((error: { code: string }) => error.code);
    const [id] = await client.publish({ to: `user:${user}`, title: "to myself" });
    await client.publish({ to: ["climb:1", "climb:2"], title: "on the wall" });
    await client.mark(id!, "read");
    const { items } = await client.inbox();
    return [refused, await client.count(), items.map(({ title, state }) => [title, state])];
  }, user);
  assert.deepEqual(done, ["forbidden", { unread: 0, unseen: 0 }, [["to myself", "read"]]]);
  await heard(page, ["to myself", "on the wall", "on the wall"]);
  await connect();
});

shows(
  "over each transport a token that the page has itself counts more, whoever the cookie is",
  async (scene) => {
    const { gateway, page, user, connect } = scene;
    await signIn(scene);
    const { user: who } = await connect({ token: await gateway.token("bob", RIGHTS), since: "now" });
    assert.equal(who ?? "bob", "bob");
    await publish(page, `user:${user}`, "not for bob");
    await publish(page, "user:bob", "for bob");
    await heard(page, ["for bob"]);
  },
);

shows("each transport goes on when the application renews the cookie", async (scene) => {
  const { page, user, clock, database, connect } = scene;
  await signIn(scene, 60);
  await connect();
  await publish(page, `user:${user}`, "before");
  await heard(page, ["before"]);
  await signIn(scene);
  await clock.jump(60_000 + LEEWAY * 1_000, () => database.sql`select pg_sleep(0.01)`);
  await publish(page, `user:${user}`, "after");
  await heard(page, ["before", "after"]);
});

shows("whoever is not signed in is told so", async ({ page }) => {
  const code = await page.evaluate(async () => {
    const { connect } = await import(String("/client.js"));
    const client = connect();
    return await new Promise((resolve) =>
      client.on("error", (error: { code: string }) => resolve(error.code))
    );
  });
  assert.equal(code, "token_required");
}, ["websocket"]);
