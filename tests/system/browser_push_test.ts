import { serve } from "@hono/node-server";
import { Hono } from "hono";
import assert from "node:assert/strict";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium } from "playwright-core";
import { bundleScript, SCRIPTS } from "../../src/api/bundle.ts";
import { systemClock } from "../../src/clock.ts";
import { dispatcher } from "../../src/push/dispatcher.ts";
import { guard } from "../../src/push/guard.ts";
import { createPushStore } from "../../src/push/store.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import { webPush } from "../../src/push/webpush.ts";
import { pushRoutes } from "../api/push_app.ts";
import { FLAGS } from "../browser/executable.ts";
import { testDatabase } from "../helpers/database.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";
import { browserPushService } from "./browser_push_service.ts";
import { desktop } from "./desktop.ts";

Deno.test("a browser that is away is reached: Chromium subscribes, decrypts what is pushed, shows it on the desktop, and a click there opens the page and marks it read", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await using service = await browserPushService();
  await using screen = await desktop();
  const provider = webPush({
    vapid: { ...makeVapidKeys(), subject: "mailto:a@b.example" },
    clock: systemClock,
    guard: guard({ hosts: [service.origin] }),
  });
  const pushes = dispatcher({ store: createPushStore(sql), providers: [provider], grace: 0, pause: 50 });
  const app = new Hono();
  for (const name of ["worker.js", "push.js"]) {
    const script = await bundleScript(SCRIPTS[name]!);
    app.get(`/${name}`, (c) => c.body(script, 200, { "content-type": "text/javascript" }));
  }
  app.get("/app/*", (c) => c.html("<!doctype html><title>App</title><link rel=icon href=data:,>"));
  app.route("/", pushRoutes(sql, [provider]));
  const server = await new Promise<Server>((ready) => {
    const made = serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, () => ready(made)) as Server;
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  await using profile = await temporaryFolder("profile");
  // a profile of its own, because a private window has no push
  const context = await chromium.launchPersistentContext(profile.path, {
    executablePath: "/usr/bin/chromium",
    args: [...FLAGS, ...service.flags],
    env: { ...Deno.env.toObject(), ...screen.env },
    headless: true,
  });
  try {
    await pushes.start();
    await context.grantPermissions(["notifications"], { origin });
    const page = await context.newPage();
    await page.goto(`${origin}/app/start`);
    const endpoint = await page.evaluate(async ({ service, client }) => {
      const { enablePush } = await import(client);
      let endpoint = "";
      // Chromium names its push service's own host, which the stand-in is not
      const asAnn: typeof fetch = (input, init) => {
        const body = String(init?.body ?? "");
        endpoint ||= /"endpoint":"([^"]+)"/.exec(body)?.[1] ?? "";
        return fetch(input, {
          ...init,
          headers: { ...init?.headers, as: "ann" },
          ...(body === ""
            ? {}
            : { body: body.replace(/"endpoint":"https:\/\/[^/]+/, `"endpoint":"${service}`) }),
        });
      };
      await enablePush({ fetch: asAnn, token: "not looked at here", device: "laptop" });
      return endpoint;
    }, { service: service.origin, client: "/push.js" });
    assert.match(endpoint, /^https:\/\/(fcm\.googleapis|jmt17\.google)\.com\/fcm\/send\//);
    assert.deepEqual([...await sql`select user_id, id from tidings.device`], [{
      user_id: "ann",
      id: "laptop",
    }]);

    // nobody has the page open any more
    await page.goto("about:blank");
    const text = "Come and play. ".repeat(300);
    const [row] =
      await sql`select tidings.send('user:ann', 'Match made', ${text}, link => '/app/match/7', push => true) as id`;
    const notification = await screen.until("Match made");
    assert(notification.body.includes(text.trim().slice(0, 100)), "what was cut from the push was fetched");
    assert.equal(service.posted.length, 1);
    assert(service.posted[0]!.body.length <= 4_096);
    await sql`select tidings.send('user:ann', 'Another', push => true)`;
    await screen.until("Another");

    const opened = context.waitForEvent("page");
    screen.click(notification);
    await (await opened).waitForURL(`${origin}/app/match/7`);
    let events: string[] = [];
    while (!events.includes("marked")) {
      events = (await sql`select event from tidings.trace(${row?.id}, 'ann')`).map(({ event }) => event);
    }
    assert.deepEqual(events.filter((event) => event !== "push read").sort(), [
      "committed",
      "marked",
      "not delivered",
      "push queued",
      "push sent",
      "push shown",
    ]);
    assert.deepEqual(screen.shown.map(({ summary }) => summary), ["Another"]);
  } finally {
    await pushes.stop();
    await context.close();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});
