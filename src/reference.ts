/**
 * The reference tables of README, made from what the program itself uses: the settings of settings.ts and the codes of errors.ts.
 * @module
 */
import type { z } from "zod";
import { ERRORS } from "./errors.ts";
import { metaOf } from "./setting.ts";
import { SETTINGS } from "./settings.ts";

/** Every generated table by the name that marks its place in README. */
export const TABLES: Readonly<Record<string, () => string>> = {
  settings: settingsTable,
  errors: errorsTable,
};

/**
 * The text with every table between `<!-- NAME:begin -->` and `<!-- NAME:end -->` made anew.
 * @throws RangeError when a place is missing
 */
export function withTables(text: string): string {
  for (const [name, make] of Object.entries(TABLES)) {
    const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
    const [from, to] = [text.indexOf(begin), text.indexOf(end)];
    if (from === -1 || to < from) throw new RangeError(`Cannot place the table: no ${begin} … ${end}`);
    text = `${text.slice(0, from + begin.length)}\n${make()}\n${text.slice(to)}`;
  }
  return text;
}

/** The settings as a Markdown table. */
function settingsTable(): string {
  const rows = Object.entries(SETTINGS).map(([name, schema]) => {
    const { help, otherwise } = metaOf(schema);
    return `| \`${name}\` | ${help} | ${otherwise ?? defaultOf(schema)} |`;
  });
  return ["| setting | what it does | when absent |", "|---|---|---|", ...rows].join("\n");
}

/** The error codes as a Markdown table. */
function errorsTable(): string {
  const rows = Object.entries(ERRORS).map(([code, { status, close, title }]) =>
    `| \`${code}\` | ${status} | ${close} | ${title} |`
  );
  return ["| code | HTTP status | WebSocket close code | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

function defaultOf(schema: z.ZodType): string {
  const { success, data } = schema.safeParse(undefined);
  return success && data !== undefined ? `\`${data}\`` : "not set";
}
