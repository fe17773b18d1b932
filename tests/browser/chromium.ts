/**
 * A real Chromium for tests, and pages that tell on themselves: whatever a page writes to its console as an error, or throws,
 * fails the test that opened it.
 * @module
 */
import assert from "node:assert/strict";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";
import { executable, FLAGS } from "./executable.ts";

/** A browser, and what is opened in it. */
export interface TestBrowser extends AsyncDisposable {
  browser: Browser;
  /** A profile of its own: storage, cookies and tabs are shared within it. */
  context(options?: BrowserContextOptions): Promise<BrowserContext>;
  /** Messages of pages that are expected, such as a network that is cut on purpose. */
  expected: RegExp[];
}

const HERE = [
  ...FLAGS,
  // pages of tests are never in front of anybody
  "--disable-backgrounding-occluded-windows",
];

/** Milliseconds that anything may take on a machine that is busy with other tests. */
const PATIENCE = 60_000;

/** Starts one: the machine's, or the one that npm brings. */
export async function startBrowser(): Promise<TestBrowser> {
  const browser = await chromium.launch({
    executablePath: await executable(),
    args: HERE,
    headless: true,
    timeout: 2 * PATIENCE,
  });
  const complaints: string[] = [];
  const expected: RegExp[] = [];
  const watch = (page: Page) => {
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
  };
  return {
    browser,
    expected,
    async context(options) {
      const context = await browser.newContext(options);
      context.setDefaultTimeout(PATIENCE);
      context.on("page", watch);
      return context;
    },
    async [Symbol.asyncDispose]() {
      await browser.close();
      assert.deepEqual(complaints.filter((text) => !expected.some((pattern) => pattern.test(text))), []);
    },
  };
}

/** What a page comes to, or an error when that takes more than a minute: a page's own promises have no deadline. */
export async function inTime<T>(work: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`It never came to this: ${what}`)), PATIENCE);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
