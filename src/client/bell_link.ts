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
