import assert from "node:assert/strict";
import fc from "fast-check";
import type { Item } from "../../src/notification.ts";
import type { PushPayload } from "../../src/protocol.ts";
import { appearance, pushWorker, type ShownNotification } from "../../src/client/worker_push.ts";
import type { DeviceIdentity, WorkerStore } from "../../src/client/worker_store.ts";

const item = (id: string, more: Partial<Item> = {}): Item => ({
  id,
  topic: "user:1",
  type: "notification",
  title: `n${id}`,
  createdAt: "2026-01-01T00:00:00.000Z",
  ...more,
});
const payload = (id: string, more: Partial<PushPayload> = {}, fields: Partial<Item> = {}): string =>
  JSON.stringify({ tidings: 1, kind: "notify", item: item(id, fields), ...more });

/** A browser, as far as a worker sees it. */
function browser(
  options: {
    pages?: string[];
    identity?: DeviceIdentity;
    gateway?: (url: string, init: RequestInit) => Response;
  } = {},
) {
  const screen = new Map<string, ShownNotification & { title: string; options: Record<string, unknown> }>();
  const log: string[] = [];
  const told: unknown[] = [];
  const shownIds = new Set<string>();
  let identity = options.identity;
  const store: WorkerStore = {
    identity: () => Promise.resolve(identity),
    keepIdentity: (next) => Promise.resolve(void (identity = next)),
    wasShown: (id) => Promise.resolve(shownIds.has(id)),
    keepShown: (ids) => Promise.resolve(ids.forEach((id) => shownIds.add(id))),
  };
  const pages = (options.pages ?? []).map((url) => ({
    url,
    focus: () => Promise.resolve(log.push(`focus ${url}`)),
    navigate: (to: string) => Promise.resolve(log.push(`navigate ${url} to ${to}`)),
    postMessage: (message: unknown) => void told.push(message),
  }));
  const worker = pushWorker({
    store,
    fetch: (input, init) => {
      log.push(`${init?.method} ${input}`);
      return Promise.resolve(
        options.gateway?.(String(input), init ?? {}) ?? new Response(null, { status: 204 }),
      );
    },
    scope: {
      registration: {
        scope: "https://app.example/",
        pushManager: {
          subscribe: (asked) =>
            Promise.resolve(
              {
                toJSON: () => ({ endpoint: "https://push.example/new", asked }),
              } as unknown as PushSubscription,
            ),
        },
        showNotification(title, shown) {
          const tag = String(shown.tag);
          log.push(`show ${title}`);
          screen.set(tag, { title, options: shown, data: shown.data, close: () => screen.delete(tag) });
          return Promise.resolve();
        },
        getNotifications: () => Promise.resolve([...screen.values()]),
      },
      clients: {
        claim: () => Promise.resolve(),
        matchAll: () => Promise.resolve(pages),
        openWindow: (url) => Promise.resolve(log.push(`open ${url}`)),
      },
      navigator: {
        setAppBadge: (count) => Promise.resolve(void log.push(`badge ${count}`)),
        clearAppBadge: () => Promise.resolve(void log.push("badge 0")),
      },
      skipWaiting: () => Promise.resolve(),
      addEventListener: () => {},
    },
  });
  return {
    worker,
    screen,
    log,
    told,
    titles: () => [...screen.values()].map(({ title }) => title),
    identity: () => identity,
  };
}

const IDENTITY = { base: "https://gateway.example/t/", token: "1.secret" };

Deno.test("worker: shows a push once, whatever repeats come, one after the other or at the same time", async () => {
  const { worker, log } = browser();
  await Promise.all([worker.push(payload("1")), worker.push(payload("1"))]);
  await worker.push(payload("1"));
  await worker.push(payload("2"));
  assert.deepEqual(log.filter((line) => line.startsWith("show")), ["show n1", "show n2"]);
});

Deno.test("worker: what could not be shown is shown by the repeat", async () => {
  const { worker, screen } = browser();
  const set = screen.set;
  screen.set = () => {
    screen.set = set;
    throw new Error("not now");
  };
  await assert.rejects(worker.push(payload("1")), /not now/);
  await worker.push(payload("1"));
  assert.equal(screen.size, 1);
});

Deno.test("worker: notifications of one collapse key replace each other within their topic", async () => {
  const { worker, titles } = browser();
  for (
    const [id, topic, collapseKey] of [["1", "a", "k"], ["2", "a", "k"], ["3", "b", "k"], [
      "4",
      "a",
      undefined,
    ]] as const
  ) {
    await worker.push(payload(id, {}, { topic, ...(collapseKey ? { collapseKey } : {}) }));
  }
  assert.deepEqual(titles().sort(), ["n2", "n3", "n4"]);
});

Deno.test("worker: closes what was read elsewhere, sets the badge, and shows nothing for taking back", async () => {
  const { worker, titles, log } = browser();
  for (const id of ["1", "2", "3"]) await worker.push(payload(id, { unread: Number(id) }));
  await worker.push(payload("4", { read: ["1"], unread: 3 }));
  assert.deepEqual(titles(), ["n2", "n3", "n4"]);
  await worker.push(payload("2", { kind: "close", read: ["2"], unread: 2 }));
  await worker.message({ tidings: "read", ids: ["4", "99"], unread: 0 });
  assert.deepEqual(titles(), ["n3"]);
  assert.deepEqual(
    log.filter((line) => line.startsWith("badge")),
    [1, 2, 3, 3, 2, 0].map((count) => `badge ${count}`),
  );
  await worker.push(payload("10", { ids: ["8", "9", "10"] }));
  await worker.message({ tidings: "read", ids: ["8", "9"] });
  assert.deepEqual(titles(), ["n3", "n10"], "a digest goes when all of it was read");
  await worker.message({ tidings: "read", ids: ["10", "8", "9"] });
  assert.deepEqual(titles(), ["n3"]);
});

Deno.test("worker: closes all, or everything up to one, when it was marked so", async () => {
  const { worker, titles } = browser();
  for (const id of ["9", "10", "11"]) await worker.push(payload(id));
  await worker.message({ tidings: "read", unread: 3 });
  await worker.message({ tidings: "read", before: "10" });
  assert.deepEqual(titles(), ["n11"]);
  await worker.message({ tidings: "read", all: true });
  assert.deepEqual(titles(), []);
});

Deno.test("worker: fetches what was cut, and shows the beginning when it cannot", async () => {
  let works = true;
  const { worker, titles, log } = browser({
    identity: IDENTITY,
    gateway: (url) =>
      url.includes("?ids=") && works
        ? Response.json({ items: [item("1", { title: "whole" })] })
        : new Response(null, { status: 500 }),
  });
  await worker.push(payload("1", { cut: ["title"] }, { title: "who…" }));
  works = false;
  await worker.push(payload("2", { cut: ["title"] }, { title: "beg…" }));
  assert.deepEqual(titles(), ["whole", "beg…"]);
  assert.deepEqual(log.filter((line) => /GET|POST/.test(line)), [
    "GET https://gateway.example/t/v1/worker/notifications?ids=1",
    "POST https://gateway.example/t/v1/worker/shown",
    "GET https://gateway.example/t/v1/worker/notifications?ids=2",
    "POST https://gateway.example/t/v1/worker/shown",
  ]);
});

Deno.test("worker: a click closes it, marks it read with the device's token, and goes where it leads", async () => {
  const asked: [string, unknown, unknown][] = [];
  const gateway = (url: string, init: RequestInit) => {
    asked.push([
      url,
      (init.headers as Record<string, string>)["Tidings-Device"],
      init.body && JSON.parse(String(init.body)),
    ]);
    return Response.json({ unread: 4, unseen: 0 });
  };
  const cases: [string[], string | undefined, string[]][] = [
    [[], "/m/1", ["open https://app.example/m/1"]],
    [["https://app.example/m/1"], "/m/1", ["focus https://app.example/m/1"]],
    [["https://app.example/other"], "/m/1", [
      "focus https://app.example/other",
      "navigate https://app.example/other to https://app.example/m/1",
    ]],
    [["https://app.example/other"], "https://elsewhere.example/", ["open https://elsewhere.example/"]],
    [[], undefined, ["open https://app.example/"]],
  ];
  for (const [pages, link, expected] of cases) {
    const { worker, screen, log } = browser({ pages, identity: IDENTITY, gateway });
    await worker.push(payload("7", {}, link === undefined ? {} : { link }));
    log.length = 0;
    await worker.click([...screen.values()][0]!);
    assert.equal(screen.size, 0);
    assert.deepEqual(log.filter((line) => /^(open|focus|navigate)/.test(line)), expected);
    assert(log.includes("badge 4"));
    assert.deepEqual(asked.at(-1), ["https://gateway.example/t/v1/worker/mark", "1.secret", {
      ids: ["7"],
      state: "read",
    }]);
  }
});

Deno.test("worker: without a device's token, or when the gateway says no, an open page is asked to mark", async () => {
  for (const identity of [undefined, IDENTITY]) {
    const { worker, screen, told } = browser({
      pages: ["https://app.example/"],
      ...(identity ? { identity } : {}),
      gateway: () => new Response(null, { status: 401 }),
    });
    await worker.push(payload("7"));
    await worker.click([...screen.values()][0]!);
    assert.deepEqual(told.at(-1), { tidings: "mark", ids: ["7"], state: "read" });
  }
});

Deno.test("worker: a changed subscription is renewed at the gateway, by itself or with what the browser made", async () => {
  const bodies: unknown[] = [];
  const { worker, log } = browser({
    identity: IDENTITY,
    gateway: (_url, init) => {
      bodies.push(JSON.parse(String(init.body)));
      return new Response(null, { status: 204 });
    },
  });
  const key = new Uint8Array([4]).buffer;
  await worker.renew({
    oldSubscription: { options: { applicationServerKey: key } } as unknown as PushSubscription,
  });
  await worker.renew({
    newSubscription: {
      toJSON: () => ({ endpoint: "https://push.example/given" }),
    } as unknown as PushSubscription,
  });
  assert.deepEqual(bodies.map((body) => (body as { endpoint: string }).endpoint), [
    "https://push.example/new",
    "https://push.example/given",
  ]);
  assert.deepEqual(log, Array(2).fill("PUT https://gateway.example/t/v1/worker/subscription"));
});

Deno.test("worker: keeps who it is, and forgets it", async () => {
  const { worker, identity } = browser();
  await worker.message({ tidings: "device", ...IDENTITY });
  assert.deepEqual(identity(), IDENTITY);
  for (const odd of [null, 7, "x", {}, { tidings: "device" }]) await worker.message(odd);
  assert.deepEqual(identity(), IDENTITY);
  await worker.message({ tidings: "forget" });
  assert.equal(identity(), undefined);
});

Deno.test("worker: whatever arrives, something is on the screen", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.constantFrom("", "null", "{}", '{"tidings":2}', '{"tidings":1,"item":{}}'),
      ),
      async (text) => {
        const { worker, screen } = browser();
        await worker.push(text);
        assert.equal(screen.size, 1);
      },
    ),
    { seed: 90_210, numRuns: 300 },
  );
});

Deno.test("appearance(): a low priority is silent, and words are never missing", () => {
  assert.equal(appearance(item("1", { priority: "low", collapseKey: "k" }), ["1"]).options.silent, true);
  assert.equal(appearance(item("1", { priority: "low", collapseKey: "k" }), ["1"]).options.renotify, false);
  assert.equal(appearance(item("1", { collapseKey: "k" }), ["1"]).options.renotify, true);
  const { title: _, ...untitled } = item("1", { body: "B" });
  assert.deepEqual([appearance(untitled, ["1"]).title, appearance(untitled, ["1"]).options.body], [
    "B",
    undefined,
  ]);
});
