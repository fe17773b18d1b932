/**
 * Everything about pushes that a gateway runs: the providers that are set up, the devices, and the dispatcher.
 * @module
 */
import type { Chance, Clock } from "../clock.ts";
import type { Statement } from "../database/postgres.ts";
import { compose, type Service } from "../service.ts";
import { type Acknowledger, createAcknowledger, writeAcknowledged } from "./acknowledger.ts";
import { createDeviceStore, type DeviceStore } from "./device_store.ts";
import { dispatcher, type DispatcherOptions } from "./dispatcher.ts";
import type { Provider } from "./provider.ts";
import { providers, type PushConfig } from "./providers.ts";
import { createPushStore } from "./store.ts";

/** What they need. */
export interface PushesDeps
  extends Pick<DispatcherOptions, "grace" | "pause" | "backoff" | "lease" | "keep" | "onOutcome"> {
  config: PushConfig;
  sql: Statement;
  clock: Clock;
  chance: Chance;
}

/** What they give: a service to run, and what the routes work with. */
export interface Pushes {
  service: Service;
  providers: readonly Provider[];
  devices: DeviceStore;
  /** Somebody looks at a client that showed everything up to the cursor. */
  acknowledge: Acknowledger["acknowledge"];
}

/** Assembles them. Throws a `StartError` when the settings are not usable. */
export function createPushes({ config, sql, clock, chance, ...options }: PushesDeps): Pushes {
  const all = providers(config, clock);
  const acknowledger = createAcknowledger(writeAcknowledged(sql), clock);
  const pushing = dispatcher({ store: createPushStore(sql), providers: all, clock, chance, ...options });
  return {
    providers: all,
    devices: createDeviceStore(sql),
    acknowledge: acknowledger.acknowledge,
    service: compose("pushes", [acknowledger, pushing]),
  };
}
