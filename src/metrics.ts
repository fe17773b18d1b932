/**
 * What a gateway counts, for Prometheus. Labels come from closed sets, never from what a client says.
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { ResetReason } from "./protocol.ts";

/** What is counted where it happens. */
export interface Metrics {
  readonly registry: Registry;
  /** Notifications that this gateway read from the log. */
  readonly read: Counter;
  /** Of these, rows that a bell carried, which were delivered before they were read. */
  readonly carried: Counter;
  /** Times that the log could not be read. */
  readonly failed: Counter;
  /** Notifications that were sent through this gateway. */
  readonly published: Counter;
  /** Clients whose cursor could not be used. */
  readonly resets: Counter<"reason">;
  readonly pushed: Counter<"kind" | "outcome">;
  readonly scheduled: Counter;
  /** Whether the bell is heard. */
  readonly bell: Gauge;
}

/** What is asked for when somebody looks. */
export interface Observed {
  /** Connected clients, by transport. */
  sessions(): ReadonlyMap<string, number>;
  topics(): number;
  windowRows(): number;
  connections(): number;
  /** Seconds since the log was last read. */
  sinceRead(): number;
  /** Bytes of memory that the process holds. */
  memory(): number;
}

const REASONS: readonly ResetReason[] = ["history", "retention", "unknown"];

/** A registry with everything in it. */
export function createMetrics(version: string, observed: Observed): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[] = []) =>
    new Counter<Label>({ name, help, labelNames, registers });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });

  new Gauge({ name: "tidings_info", help: "The version", labelNames: ["version"], registers })
    .set({ version }, 1);
  new Gauge({
    name: "tidings_sessions",
    help: "Connected clients, by transport",
    labelNames: ["transport"],
    registers,
    collect() {
      this.reset();
      for (const [transport, count] of observed.sessions()) this.set({ transport }, count);
    },
  });
  gauge("tidings_topics", "Topics that somebody is on", observed.topics);
  gauge("tidings_window_rows", "Notifications in memory", observed.windowRows);
  gauge("tidings_connections", "Open connections", observed.connections);
  gauge("tidings_log_read_seconds", "Since the log was last read", observed.sinceRead);
  gauge("process_resident_memory_bytes", "Memory that the process holds", observed.memory);
  const resets = counter("tidings_resets_total", "Clients whose cursor could not be used, by reason", [
    "reason",
  ]);
  // known from the start, so that the first one shows as an increase
  for (const reason of REASONS) resets.inc({ reason }, 0);
  return {
    registry,
    read: counter("tidings_log_rows_total", "Notifications that this gateway read from the log"),
    carried: counter("tidings_log_carried_total", "Of these, notifications that came with the bell itself"),
    failed: counter("tidings_log_failures_total", "Times that the log could not be read"),
    published: counter("tidings_published_total", "Notifications that were sent through this gateway"),
    resets,
    pushed: counter("tidings_pushes_total", "Attempts to push, by kind of device and how they ended", [
      "kind",
      "outcome",
    ]),
    scheduled: counter("tidings_scheduled_total", "Scheduled notifications that were sent"),
    bell: new Gauge({ name: "tidings_bell_heard", help: "Whether the bell is heard: 1 or 0", registers }),
  };
}
