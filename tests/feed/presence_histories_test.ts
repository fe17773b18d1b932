import assert from "node:assert/strict";
import fc from "fast-check";
import type { PresenceHold } from "../../src/feed/presence.ts";
import { testDatabase } from "../helpers/database.ts";
import { connect, gateway, here, TIMES, told } from "./presence_world.ts";

Deno.test("two gateways whose sessions come and go, one killed: the last list equals the truth", async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("open" as const), user: fc.nat(4) }) },
    {
      weight: 3,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("close" as const), user: fc.nat(20) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("join" as const), user: fc.nat(20) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("part" as const), user: fc.nat(20) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ on: fc.nat(1), do: fc.constant("settle" as const), user: fc.nat(0) }),
    },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), fc.boolean(), async (steps, kill) => {
      await using database = await testDatabase();
      const a = await gateway(database.sql, "a");
      await using b = await gateway(database.sql, "b");
      const watcher = connect(b, "watcher");
      watcher.join("room", true);
      watcher.join("all", true);
      await b.presence.settled();
      const gateways = [a, b];
      const open: { on: number; user: string; in: boolean; hold: PresenceHold }[] = [];
      for (const each of steps) {
        const mine = open.filter((session) => session.on === each.on);
        const picked = mine[each.user % Math.max(1, mine.length)];
        const target = gateways[each.on]!;
        if (each.do === "open") {
          open.push({
            on: each.on,
            user: `u${each.user}`,
            in: false,
            hold: connect(target, `u${each.user}`),
          });
        } else if (each.do === "settle") await target.presence.settled();
        else if (picked !== undefined && each.do === "close") {
          picked.hold.close();
          open.splice(open.indexOf(picked), 1);
        } else if (picked !== undefined) {
          if (each.do === "join") picked.hold.join("room");
          else picked.hold.part("room");
          picked.in = each.do === "join";
        }
      }
      await Promise.all(gateways.map((each) => each.presence.settled()));
      if (kill) a.cut = true;
      const alive = kill ? open.filter((session) => session.on === 1) : open;
      const truth = {
        all: [...new Set(["watcher", ...alive.map((session) => session.user)])].sort(),
        room: [
          ...new Set(["watcher", ...alive.filter((session) => session.in).map((session) => session.user)]),
        ].sort(),
      };
      const stated = TIMES.lease + TIMES.beat + TIMES.grace;
      const began = performance.now();
      const matches = async () =>
        JSON.stringify([await here(b, "all"), await here(b, "room")]) ===
          JSON.stringify([truth.all, truth.room]);
      while (!(await matches())) {
        assert(performance.now() - began < stated + 1_500, `${await here(b, "all")} is not ${truth.all}`);
        await b.beat(() => true);
      }
      // and the story that was told adds up to the list
      for (const topic of ["all", "room"] as const) {
        const list = new Set<string>();
        for (const line of await told(database.sql, topic)) {
          const [what, user = ""] = line.split(" ");
          assert.equal(list.has(user), what === "leave", `${topic}: ${line}`);
          if (what === "join") list.add(user);
          else list.delete(user);
        }
        assert.deepEqual([...list].sort(), truth[topic]);
      }
      await a[Symbol.asyncDispose]();
    }),
    { seed: 42_30, numRuns: 12 },
  );
});
