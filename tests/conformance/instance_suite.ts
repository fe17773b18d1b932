/**
 * What every transport has to keep when a client moves between instances that have not read equally far.
 * @module
 */
import assert from "node:assert/strict";
import { parseCursor } from "../../src/log/cursor.ts";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";
import { type Brake, brake, startGateway, type TestGateway } from "../helpers/gateway.ts";
import { has, type Suite, titles } from "./client.ts";
import { send } from "./rows.ts";

/** Two instances on one database: one in front, and one that is behind it while the brake is pulled. */
interface Scene {
  database: TestDatabase;
  front: TestGateway;
  behind: TestGateway;
  held: Brake;
  token: string;
}

/** Declares the tests for a transport. */
export function instanceConformance({ test, open }: Suite): void {
  const moves = (sentence: string, run: (scene: Scene) => Promise<void>) =>
    test(sentence, async () => {
      await using database = await testDatabase();
      const held = brake();
      await using front = await startGateway(database);
      await using behind = await startGateway(database, { brake: held });
      await run({ database, front, behind, held, token: await front.token("ann") });
    });

  moves(
    "a client moves to an instance that is behind, and gets nothing twice",
    async ({ database, held, front, behind, token }) => {
      const slow = await database.connect({ max: 1 }).reserve();
      await slow`begin`;
      await slow`select tidings.send('user:ann', 'slow')`;
      const one = await open({ url: front.url, token });
      // Both have read beyond the open transaction.
      const other = await open({ url: behind.url, token });
      await send(database.sql, "user:ann", ["quick"]);
      await has(one, 1);
      await has(other, 1);
      await held.pull();
      await slow`commit`;
      slow.release();
      await has(one, 2);
      await one.cut();
      const moving = open({ url: behind.url, token, since: one.cursor });
      // Who comes from beyond what it has read waits for it: this one, if any transaction of the cluster began meanwhile.
      if (parseCursor(one.cursor)!.xmax <= parseCursor(other.cursor)!.xmax) await moving;
      held.release();
      const moved = await moving;
      await send(database.sql, "user:ann", ["later"]);
      await has(moved, 1);
      await has(other, 3);
      assert.deepEqual(titles(one), ["quick", "slow"]);
      assert.deepEqual(titles(moved), ["later"]);
      assert.deepEqual(titles(other), ["quick", "slow", "later"]);
      await Promise.all([moved.cut(), other.cut()]);
    },
  );

  moves(
    "a client that comes with a cursor from beyond what an instance has read waits for it",
    async ({ database, held, front, behind, token }) => {
      const one = await open({ url: front.url, token });
      await held.pull();
      await send(database.sql, "user:ann", ["a"]);
      await has(one, 1);
      await one.cut();
      const moving = open({ url: behind.url, token, since: one.cursor });
      await send(database.sql, "user:ann", ["b"]);
      held.release();
      const moved = await moving;
      await has(moved, 1);
      assert.deepEqual([titles(one), titles(moved)], [["a"], ["b"]]);
      await moved.cut();
    },
  );

  moves(
    "a client moves to an instance that is ahead, and misses nothing",
    async ({ database, held, front, behind, token }) => {
      const witness = await open({ url: front.url, token });
      const one = await open({ url: behind.url, token });
      await send(database.sql, "user:ann", ["a"]);
      await has(one, 1);
      await held.pull();
      await send(database.sql, "user:ann", ["b", "c"]);
      await has(witness, 3);
      await one.cut();
      held.release();
      const moved = await open({ url: front.url, token, since: one.cursor });
      await has(moved, 2);
      assert.deepEqual([titles(one), titles(moved)], [["a"], ["b", "c"]]);
      await Promise.all([witness.cut(), moved.cut()]);
    },
  );
}
