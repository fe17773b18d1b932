/**
 * What every transport has to keep of an item: each field as it was sent.
 * @module
 */
import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { has, type Suite } from "./client.ts";

/** Declares the test for a transport. */
export function itemConformance({ test, open }: Suite): void {
  test("every field arrives as it was sent, and what was not sent is not there", async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const { sql } = database;
    const token = await gateway.token("ann");
    const live = await open({ url: gateway.url, token });
    const data =
      `{"n": 12345678901234567890, "f": 0.10, "e": 1e400, "s": "\\u2028 \\\\ \\" </script> \\ud83e\\udd8a", "": [null, {}]}`;
    const text = 'line\r\nline\n\ndata: x\tπ 🦊 \u2028 \\ " \u0001';
    const [sent] = await sql`
      select tidings.send(topic => 'user:ann', title => ${text}, body => ${text}, type => 'match.found', link => '/a?b=ü&c',
        data => ${data}::text::jsonb, sender => 'bob', priority => 'high', collapse_key => 'k', dedupe_key => 'd',
        ttl => '1 hour') as id`;
    await sql`select tidings.send('user:ann')`;
    await sql`select tidings.send('user:ann', data => 'null', transient => true)`;
    await sql`select tidings.send('user:ann', title => '', body => '', data => '0')`;
    await has(live, 4);
    const late = await open({ url: gateway.url, token, since: "earliest" });
    await has(late, 4);
    for (const client of [live, late]) {
      const [full, bare, passing, empty] = client.received.map(({ item }) => item);
      const { createdAt, expiresAt, data: _, ...rest } = full!;
      assert.deepEqual(rest, {
        id: sent!.id,
        topic: "user:ann",
        type: "match.found",
        title: text,
        body: text,
        link: "/a?b=ü&c",
        sender: "bob",
        priority: "high",
        collapseKey: "k",
      });
      const [row] = await sql`
        select data::text, to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as created,
          to_char(expires_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as expires
        from tidings.notification where id = ${sent!.id}`;
      assert.deepEqual([createdAt, expiresAt], [row!.created, row!.expires]);
      assert.ok(client.raw.join("\n").includes(`"data":${row!.data},`), "the digits of data");
      assert.deepEqual(Object.keys(bare!).sort(), ["createdAt", "id", "topic", "type"]);
      assert.equal(bare!.type, "notification");
      assert.deepEqual(Object.keys(passing!).sort(), [
        "createdAt",
        "data",
        "expiresAt",
        "id",
        "topic",
        "transient",
        "type",
      ]);
      assert.deepEqual([passing!.data, passing!.transient], [null, true]);
      assert.deepEqual([empty!.title, empty!.body, empty!.data], ["", "", 0]);
      await client.cut();
    }
  });
}
