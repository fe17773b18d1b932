import { serve } from "@hono/node-server";
import { Hono } from "hono";
import assert from "node:assert/strict";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { chromium } from "playwright-core";
import { bundleScript, SCRIPTS } from "../../src/api/bundle.ts";
import { systemClock } from "../../src/clock.ts";
import { guard } from "../../src/push/guard.ts";
import { payloadOf } from "../../src/push/payload.ts";
import { createPushStore } from "../../src/push/store.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import { WEB_PUSH_LIMIT, webPush } from "../../src/push/webpush.ts";
import { pushRoutes } from "../api/push_app.ts";
import { testDatabase } from "../helpers/database.ts";
import { makeReceiver, subscriptionKeys } from "../push/decrypt.ts";
import { executable, FLAGS } from "./executable.ts";

Deno.test("in Chromium the worker receives a push, shows it once, and a click leads to the page and marks it read", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const provider = webPush({
    vapid: { ...makeVapidKeys(), subject: "mailto:a@b.example" },
    clock: systemClock,
    guard: guard({ hosts: ["push.example"], resolve: () => Promise.resolve(["8.8.8.8"]) }),
  });
  const app = new Hono();
  const worker = await bundleScript(SCRIPTS["worker.js"]!);
  app.get("/worker.js", (c) => c.body(worker, 200, { "content-type": "text/javascript" }));
  const client = await bundleScript(SCRIPTS["push.js"]!);
  app.get("/push.js", (c) => c.body(client, 200, { "content-type": "text/javascript" }));
  app.get("/app/*", (c) => c.html("<!doctype html><title>App</title><link rel=icon href=data:,>"));
  app.get("/state", async (c) => {
    const [receipt] = await sql`select state from tidings.receipt where user_id = 'ann'`;
    const shown = await sql`select event from tidings.push_trace where event = 'shown'`;
    return c.json({ state: receipt?.state ?? null, shown: shown.length });
  });
  app.route("/", pushRoutes(sql, [provider]));
  const server = await new Promise<Server>((ready) => {
    const made = serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, () => ready(made)) as Server;
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const browser = await chromium.launch({
    executablePath: await executable(),
    args: [...FLAGS],
    headless: true,
  });
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${origin}/app/start`);
    // the headless shell that npm carries has neither notifications nor badges, and ends whoever asks for one
    const real = await page.evaluate(() => Notification.permission) !== "denied";
    await context.grantPermissions(["notifications"], { origin });
    const registering = context.waitForEvent("serviceworker");
    await page.evaluate(async () => {
      await navigator.serviceWorker.register("/worker.js");
      if (navigator.serviceWorker.controller === null) {
        await new Promise((taken) =>
          navigator.serviceWorker.addEventListener("controllerchange", taken, { once: true })
        );
      }
    });
    const serviceWorker = await registering;
    if (!real) await serviceWorker.evaluate(standIn);

    // the page's own way, with a subscription in the place of the push service that is not there
    const device = await page.evaluate(async ({ keys, client }) => {
      const told: unknown[] = [];
      Object.assign(globalThis, { told });
      navigator.serviceWorker.addEventListener("message", ({ data }) => told.push(data));
      const subscription = {
        toJSON: () => ({ endpoint: "https://push.example/1", expirationTime: null, keys }),
      };
      PushManager.prototype.subscribe = () => Promise.resolve(subscription as unknown as PushSubscription);
      const { enablePush } = await import(client);
      const asAnn: typeof fetch = (input, init) =>
        fetch(input, { ...init, headers: { ...init?.headers, as: "ann" } });
      return await enablePush({ fetch: asAnn, token: "not looked at here" });
    }, { keys: subscriptionKeys(await makeReceiver()), client: "/push.js" });
    const [known] = await sql`select user_id, id, kind from tidings.device`;
    assert.deepEqual(known, { user_id: "ann", id: device.device, kind: "webpush" });

    const devtools = await context.newCDPSession(page);
    const registered = Promise.withResolvers<string>();
    devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
      const id = registrations[0]?.registrationId;
      if (id !== undefined) registered.resolve(id);
    });
    await devtools.send("ServiceWorker.enable");
    const registrationId = await registered.promise;

    await sql`select tidings.send('user:ann', 'Match made', repeat('Come and play. ', 1000), link => '/app/match/7',
      collapse_key => 'match:7', push => true)`;
    const store = createPushStore(sql);
    while (await store.plan(100, 0) !== 0);
    const [claim] = await store.claim(1, 60_000);
    const data = new TextDecoder().decode(payloadOf(claim!.message, WEB_PUSH_LIMIT));
    assert.match(data, /"cut":\["body"\]/);
    const shown = () =>
      serviceWorker.evaluate(async () => {
        const { registration } = globalThis as unknown as { registration: ServiceWorkerRegistration };
        return (await registration.getNotifications()).map(({ title, body, tag }) => ({ title, body, tag }))
          .sort((a, b) => a.title < b.title ? 1 : -1);
      });
    const told = () =>
      page.evaluate(() =>
        (globalThis as unknown as { told: { tidings: string }[] }).told.map(({ tidings }) => tidings)
      );
    const deliver = (data: string) =>
      devtools.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data });
    await deliver(data);
    await deliver(data);
    await store.settle(claim!, { kind: "sent" }, 0);
    // a later one arrives after both, so that the repeat was dealt with
    await deliver(
      JSON.stringify({
        tidings: 1,
        kind: "notify",
        item: { ...claim!.message.item, id: "999999", collapseKey: "last", title: "Last", body: "B" },
      }),
    );
    await page.waitForFunction(() => (globalThis as unknown as { told: unknown[] }).told.length === 2);
    assert.deepEqual(await told(), ["push", "push"]);
    assert.deepEqual(await shown(), [
      { title: "Match made", body: "Come and play. ".repeat(1_000), tag: "tidings:user:ann:match:7" },
      { title: "Last", body: "B", tag: "tidings:user:ann:last" },
    ]);
    // The debugging protocol has no click on a notification, and not every Chromium shows one where it could be clicked: so the
    // worker gets the event that a click makes. The click itself, the subscription and the decryption are shown in
    // tests/system/browser_push_test.ts, which needs a desktop.
    const moved = page.waitForURL(`${origin}/app/match/7`);
    await serviceWorker.evaluate(async (title) => {
      const scope = globalThis as unknown as { registration: ServiceWorkerRegistration } & EventTarget;
      const [notification] = (await scope.registration.getNotifications()).filter((one) =>
        one.title === title
      );
      const { ExtendableEvent } = globalThis as unknown as { ExtendableEvent: new (name: string) => Event };
      scope.dispatchEvent(Object.assign(new ExtendableEvent("notificationclick"), { notification }));
    }, "Match made");
    await moved;
    assert.deepEqual((await shown()).map(({ title }) => title), ["Last"]);
    // what is read elsewhere while a page is open leaves the screen
    await page.evaluate(async (client) => {
      const { clearRead } = await import(client);
      const listeners: ((inbox: unknown) => void)[] = [];
      clearRead({ on: (_: string, listener: (inbox: unknown) => void) => listeners.push(listener) });
      for (const listener of listeners) {
        listener({ unread: 0, changes: [{ before: "999999", state: "read" }] });
      }
    }, "/push.js");
    while ((await shown()).length > 0);
    // what the worker told the gateway: marked, and shown once
    let state = { state: null, shown: 0 };
    for (let turn = 0; (state.state === null || state.shown === 0) && turn < 1_000; turn++) {
      state = await page.evaluate(async () => await (await fetch("/state", { cache: "no-store" })).json());
    }
    assert.deepEqual(state, { state: "read", shown: 1 });
  } finally {
    await browser.close();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

/** Runs in the worker: keeps what it shows where its own code looks for it. */
function standIn(): void {
  const { registration } = globalThis as unknown as { registration: ServiceWorkerRegistration };
  let kept: Notification[] = [];
  const without = (tag: string | undefined) => kept.filter((one) => one.tag !== tag);
  registration.showNotification = (title, options = {}) => {
    const notification = { ...options, title, close: () => void (kept = without(options.tag)) };
    kept = [...without(options.tag), notification as unknown as Notification];
    return Promise.resolve();
  };
  registration.getNotifications = () => Promise.resolve(kept);
  Object.defineProperties(navigator, {
    setAppBadge: { value: undefined },
    clearAppBadge: { value: undefined },
  });
}
