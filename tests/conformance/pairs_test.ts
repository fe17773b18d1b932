import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { type Adapter, type Client, titles } from "./client.ts";
import { longpoll } from "./longpoll.ts";
import { many, numbers } from "./rows.ts";
import { sse } from "./sse.ts";
import { stomp } from "./stomp.ts";
import { websocket } from "./websocket.ts";

const ADAPTERS: readonly Adapter[] = [websocket, sse, longpoll, stomp];

for (const from of ADAPTERS) {
  for (const to of ADAPTERS.filter((adapter) => adapter !== from)) {
    Deno.test(`a client changes from ${from.name} to ${to.name} and back, on another instance, keeping its cursor`, async () => {
      await using database = await testDatabase();
      await using one = await startGateway(database);
      await using other = await startGateway(database);
      const token = await one.token("ann");
      const stages = [
        { adapter: from, url: one.url },
        { adapter: to, url: other.url },
        { adapter: from, url: other.url },
        { adapter: to, url: one.url },
      ];
      const got: (string | undefined)[] = [];
      let since: string | undefined;
      for (const [stage, { adapter, url }] of stages.entries()) {
        const client: Client = await adapter.open({ url, token, ...(since === undefined ? {} : { since }) });
        const last = stage === stages.length - 1;
        // more than is waited for: the rest is what the next one begins with
        if (!last) await many(database.sql, "user:ann", 400, stage * 400);
        const enough = last ? 1_200 : stage * 400 + 150;
        await client.until(`${enough} in all`, () => got.length + client.received.length >= enough);
        await client.cut();
        got.push(...titles(client));
        since = client.cursor;
      }
      assert.deepEqual(got, numbers(1_200));
    });
  }
}
