/**
 * What axe finds on a page that not everybody can use.
 * @module
 */
import axe from "axe-core";
import type { Page } from "playwright-core";

/** Axe itself, to be loaded into a page. */
export const AXE = axe.source;

/** The violations on a page that has loaded {@link AXE}: for each its id, and what is wrong with which element. */
export async function violations(page: Page): Promise<string[][]> {
  return await page.evaluate(async () => {
    const { axe } = globalThis as never as {
      axe: {
        run(): Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
      };
    };
    return (await axe.run()).violations.map((
      { id, nodes },
    ) => [id, ...nodes.map((node) => `${node.html}: ${node.failureSummary}`)]);
  });
}
