/**
 * Logs: one JSON object per line, or text for a terminal, through LogTape. Loggers are got by category (`["tidings", …]`) wherever
 * they are needed; here is decided where they go.
 *
 * Invariant: whatever a line holds, tokens and passwords within URLs are masked before it is written.
 * @module
 */
import {
  configure,
  getAnsiColorFormatter,
  getConsoleSink,
  getJsonLinesFormatter,
  getTextFormatter,
  type LogRecord,
  reset,
  type TextFormatter,
} from "@logtape/logtape";
import type { Config } from "./config.ts";
import type { Service } from "./service.ts";

/** Writes logs to the console while started: warnings and errors to stderr, the rest to stdout. */
export function logging({ level, format }: Config["log"]): Service {
  return {
    name: "logging",
    async start() {
      await configure({
        sinks: { console: getConsoleSink({ formatter: masked(formatter(format)) }) },
        loggers: [
          { category: "tidings", lowestLevel: level, sinks: ["console"] },
          { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["console"] },
        ],
      });
    },
    stop: reset,
  };
}

/** Text without the tokens and the passwords in URLs that it may hold. */
export function mask(text: string): string {
  return text
    .replaceAll(/eyJ[\w-]+\.[\w-]+\.[\w-]*/g, "(token)")
    .replaceAll(/([?&]ticket=)[\w.~-]+/g, "$1(ticket)")
    .replaceAll(/([a-z][a-z0-9+.-]*:\/\/[^\s:@/"]*:)[^\s@"]*@/gi, "$1(password)@");
}

function formatter(format: Config["log"]["format"]): TextFormatter {
  const terminal = Deno.stdout.isTerminal();
  if (format === "json" || (format === "auto" && !terminal)) {
    const json = getJsonLinesFormatter();
    return (record) => json({ ...record, message: [record.message.map(bare).join("")] });
  }
  return terminal && !Deno.noColor
    ? getAnsiColorFormatter({ timestamp: "time", value: "bare" })
    : getTextFormatter({ timestamp: "date-time-timezone", value: "bare" });
}

function masked(formatter: TextFormatter): (record: LogRecord) => readonly unknown[] {
  // "%s": a "%" in the line is not a directive
  return (record) => ["%s", mask(formatter(record)).trimEnd()];
}

/** A part of a message: text as it is, anything else as Deno shows it, on one line. */
function bare(part: unknown): string {
  return typeof part === "string"
    ? part
    : Deno.inspect(part, { breakLength: Infinity, compact: true, colors: false });
}
