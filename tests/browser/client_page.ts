/**
 * A page of a gateway's own origin with the real client on it, in a real Chromium.
 * @module
 */
import assert from "node:assert/strict";
import type { BrowserContext, Page } from "playwright-core";
import { bundleScript } from "../../src/api/bundle.ts";
import type { ConnectOptions, Snapshot, TidingsClient, Transport } from "../../src/client/mod.ts";
import type { Traveller } from "../client/through.ts";
import type { TestGateway } from "../helpers/gateway.ts";
import { inTime } from "./chromium.ts";

/** What the page keeps of its client. */
export interface ClientPage {
  client: TidingsClient;
  titles: (string | undefined)[];
  /** What it was live over, in turn. */
  used: Transport[];
  /** Milliseconds from connecting to being live. */
  took: number;
  /** Where the test gives one, the way to a token. */
  freshToken?: () => Promise<string>;
}

const script = bundleScript("src/client/mod.ts");

/** Opens an empty page of this origin; the page itself and its script are there however bad the way to the gateway is. */
export async function clientPage(context: BrowserContext, url: string): Promise<Page> {
  // a page that no network brought may not open a WebSocket to this machine unasked
  await context.grantPermissions(["local-network-access"]);
  const page = await context.newPage();
  const html = '<!doctype html><html lang="en"><title>A page</title><link rel="icon" href="data:,">';
  const body = await script;
  await page.route("**/page-of-a-test", (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.route("**/client.js", (route) => route.fulfill({ contentType: "text/javascript", body }));
  await page.goto(new URL("/page-of-a-test", url).href);
  return page;
}

/** Connects the page, once; resolves as soon as it is live. */
export async function live(page: Page, options: ConnectOptions = {}): Promise<Snapshot> {
  const connected = page.evaluate(async (options) => {
    const here = globalThis as unknown as ClientPage;
    if (here.client === undefined) {
      const { connect } = await import(String("/client.js")) as typeof import("../../src/client/mod.ts");
      const began = performance.now();
      const { freshToken } = here;
      Object.assign(here, { titles: [], used: [] });
      here.client = connect({ ...options, ...(freshToken ? { getToken: () => freshToken() } : {}) });
      here.client.on("item", ({ title }) => {
        here.titles.push(title);
        dispatchEvent(new Event("told"));
      });
      here.client.on("state", ({ state, transport }) => {
        if (state === "live") {
          here.used.push(transport!);
          here.took ??= performance.now() - began;
        }
        dispatchEvent(new Event("told"));
      });
    }
    const { client } = here;
    await new Promise<void>((resolve) => {
      const look = () => client.snapshot.state === "live" && resolve();
      addEventListener("told", look);
      look();
    });
    return client.snapshot;
  }, options);
  return await inTime(connected, "live");
}

/** The titles, as soon as there are as many. */
export async function titles(page: Page, count: number): Promise<(string | undefined)[]> {
  const told = page.evaluate((count) =>
    new Promise<(string | undefined)[]>((resolve) => {
      const { titles } = globalThis as unknown as ClientPage;
      const look = () => titles.length >= count && resolve(titles);
      addEventListener("told", look);
      look();
    }), count);
  return await inTime(told, `${count} notifications`);
}

/** Waits until as many notifications came as there are titles, and compares. */
export async function heard(page: Page, expected: string[]): Promise<void> {
  assert.deepEqual(await titles(page, expected.length), expected);
}

/** A client in a browser, on its way through `url`. */
export async function rider(context: BrowserContext, url: string, gateway: TestGateway): Promise<Traveller> {
  const page = await clientPage(context, url);
  await page.exposeFunction("freshToken", () => gateway.token("ann"));
  const here = <K extends keyof ClientPage>(key: K) =>
    page.evaluate((key) => (globalThis as unknown as ClientPage)[key as "took"], key) as Promise<unknown>;
  return {
    name: "in Chromium",
    async live() {
      await live(page);
      return await here("took") as number;
    },
    titles: (count) => titles(page, count),
    used: () => here("used") as Promise<Transport[]>,
    [Symbol.asyncDispose]: () => page.close(),
  };
}
