/**
 * A gateway on a database of its own, for one test.
 * @module
 */
import { type TestDatabase, testDatabase } from "../helpers/database.ts";
import { startGateway, type TestGateway, type TestGatewayOptions } from "../helpers/gateway.ts";

/** Both, and how to ask as somebody. */
export interface Place extends AsyncDisposable {
  database: TestDatabase;
  gateway: TestGateway;
  url: string;
  /** The headers that say who one is. */
  as(user: string, rights?: { subscribe?: string[] }, ttl?: number): Promise<{ authorization: string }>;
  send(topic: string, title: string): Promise<void>;
}

/** Starts both; disposing it stops both. */
export async function place(options: TestGatewayOptions = {}): Promise<Place> {
  const database = await testDatabase();
  const gateway = await startGateway(database, options);
  return {
    database,
    gateway,
    url: gateway.url,
    as: async (user, rights, ttl) => ({ authorization: `Bearer ${await gateway.token(user, rights, ttl)}` }),
    async send(topic, title) {
      await database.sql`select tidings.send(${topic}, ${title})`;
    },
    async [Symbol.asyncDispose]() {
      await gateway.stop();
      await database[Symbol.asyncDispose]();
    },
  };
}
