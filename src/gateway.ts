/**
 * The gateway: everything between a migrated database and the network.
 * @module
 */
import type { KeySource } from "./auth/token.ts";
import type { Chance, Clock } from "./clock.ts";
import type { Config } from "./config.ts";
import type { Service } from "./service.ts";

/** What a gateway is made of. */
export interface GatewayDeps {
  config: Config;
  /** What tokens are verified with: the configured one, or the secret of dev mode. */
  key: KeySource;
  /** A migrated database. Both are the same unless a pooler stands in between. */
  database: { url: string; listenUrl: string };
  clock: Clock;
  chance: Chance;
  fetch: typeof fetch;
}

/** A running gateway. `stop` drains: clients are told to come back elsewhere, and what was accepted is finished. */
export interface Gateway extends Service {
  /** Where it can be reached from this machine, once started, such as `http://127.0.0.1:8080`. */
  readonly url: string;
}
