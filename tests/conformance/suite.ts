/**
 * What every transport of the feed has to keep, whatever the client: one suite, run once for each.
 * @module
 */
import type { Adapter } from "./client.ts";
import { cursorConformance } from "./cursor_suite.ts";
import { inboxConformance } from "./inbox_suite.ts";
import { instanceConformance } from "./instance_suite.ts";
import { itemConformance } from "./item_suite.ts";
import { requestConformance } from "./request_suite.ts";
import { resetConformance } from "./reset_suite.ts";

/** Declares the suite's tests for a transport. */
export function conformance(adapter: Adapter): void {
  const suite = {
    ...adapter,
    test: (sentence: string, run: () => Promise<void>) => Deno.test(`${adapter.name}: ${sentence}`, run),
  };
  cursorConformance(suite);
  instanceConformance(suite);
  resetConformance(suite);
  requestConformance(suite);
  itemConformance(suite);
  inboxConformance(suite);
}
