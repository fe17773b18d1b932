/**
 * How the text of one setting becomes a value: schemas whose violations all read "expected …". Pure.
 * @module
 */
import { z } from "zod";
import { DURATION_EXPECTED, parseDuration } from "./duration.ts";

/** Facts about a setting besides its schema. */
export interface SettingMeta {
  /** For README: what it does. Markdown, one line. */
  help: string;
  /** For README: what holds when it is absent, where the schema's default does not say it. */
  otherwise?: string;
  /** Whether its value is never shown in messages. */
  secret?: boolean;
}

/** A schema with its facts. */
export function setting<Schema extends z.ZodType>(schema: Schema, meta: SettingMeta): Schema {
  return schema.meta({ ...meta });
}

/** The facts of a schema that `setting` made. */
export function metaOf(schema: z.ZodType): SettingMeta {
  return schema.meta() as unknown as SettingMeta;
}

/** Text as `parse` reads it; what it returns undefined for is a violation. */
export function parsed<Value>(
  parse: (text: string) => Value | undefined,
  expected: string,
): z.ZodType<Value, string> {
  return z.string().transform((text, context) => {
    const value = parse(text.trim());
    if (value !== undefined) return value;
    context.addIssue({ code: "custom", message: expected });
    return z.NEVER;
  });
}

/** Text as `parse` reads it; what it throws a RangeError for is a violation, with that message. */
export function accepted<Value>(parse: (text: string) => Value): z.ZodType<Value, string> {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
      return z.NEVER;
    }
  });
}

/** A whole number. */
export function integer(min: number, max: number): z.ZodType<number, string> {
  const parse = (text: string) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
    return value >= min && value <= max ? value : undefined;
  };
  return parsed(parse, `expected a whole number from ${min} to ${max}`);
}

/** A duration in milliseconds; the bounds are written as settings are. */
export function duration(min: string, max: string): z.ZodType<number, string> {
  const [least = 0, most = 0] = [min, max].map(parseDuration);
  const parse = (text: string) => {
    const value = parseDuration(text);
    return value !== undefined && value >= least && value <= most ? value : undefined;
  };
  return parsed(parse, `${DURATION_EXPECTED}, from ${min} to ${max}`);
}

/** On or off. */
export function flag(): z.ZodType<boolean, string> {
  const values: Record<string, boolean | undefined> = {
    "1": true,
    true: true,
    on: true,
    yes: true,
    "0": false,
    false: false,
    off: false,
    no: false,
  };
  return parsed((text) => values[text.toLowerCase()], "expected 1 or 0");
}

/** One of a few words. */
export function oneOf<const Word extends string>(...words: Word[]): z.ZodType<Word, string> {
  return parsed((text) => words.find((word) => word === text), `expected ${words.join(", ")}`);
}

/** Text of a form. */
export function matching(form: RegExp, expected: string): z.ZodType<string, string> {
  return parsed((text) => form.test(text) ? text : undefined, expected);
}

/** A URL with one of the schemes, as it was written. */
export function url(...protocols: string[]): z.ZodType<string, string> {
  const parse = (text: string) => {
    const protocol = URL.parse(text)?.protocol;
    return protocol !== undefined && protocols.includes(protocol) ? text : undefined;
  };
  return parsed(
    parse,
    `expected a URL that begins with ${
      protocols.map((name) => name === "mailto:" ? name : `${name}//`).join(" or ")
    }`,
  );
}

/** Entries separated by commas, white space around them ignored. */
export function list(
  max: number,
  isEntry: (entry: string) => boolean = () => true,
  expected = "expected entries separated by commas",
): z.ZodType<string[], string> {
  const parse = (text: string) => {
    const entries = text.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
    return entries.length > 0 && entries.length <= max && entries.every(isEntry) ? entries : undefined;
  };
  return parsed(parse, `${expected}; separated by commas, at most ${max}`);
}
