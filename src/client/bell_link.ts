/**
 * Links from notifications, made safe. Pure.
 * @module
 */

/** An address that may be followed: http, https, mailto or tel; undefined for anything that runs or reads what is here. */
export function safeLink(link: string | undefined, base: string): string | undefined {
  if (link === undefined || link === "" || !URL.canParse(link, base)) return undefined;
  const url = new URL(link, base);
  return ["http:", "https:", "mailto:", "tel:"].includes(url.protocol) ? url.href : undefined;
}

/** How much of a job is done, 0 to 1: `data.progress`, or `data.done` of `data.total`. */
export function progressOf(data: unknown): number | undefined {
  const { progress, done, total } = (data ?? {}) as Record<string, unknown>;
  const value = typeof progress === "number"
    ? progress
    : typeof done === "number" && typeof total === "number" && total > 0
    ? done / total
    : NaN;
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : undefined;
}
