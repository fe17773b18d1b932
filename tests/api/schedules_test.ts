import assert from "node:assert/strict";
import { createScheduleStore } from "../../src/schedule/store.ts";
import { stepOf } from "../../src/schedule/step.ts";
import { MAX_SCHEDULES } from "../../src/api/schedules.ts";
import { testDatabase } from "../helpers/database.ts";
import { pushApp } from "./push_app.ts";

const tomorrow = () => new Date(Math.floor(Date.now() / 1_000 + 86_400) * 1_000).toISOString();

Deno.test("POST /v1/schedules with deliverAt plans it for each topic; GET shows it; DELETE cancels it once", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const ask = pushApp(sql, []);
  const deliverAt = tomorrow();
  const made = await ask("POST /v1/schedules", "ann", {
    to: ["room:1", "room:2"],
    title: "Later",
    body: "B",
    type: "reminder",
    link: "/x",
    data: { a: [1] },
    priority: "high",
    collapseKey: "c",
    ttl: "1h",
    push: true,
    deliverAt,
  });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const [one, two] = made.body.ids;
  const { createdAt, ...shown } = (await ask(`GET /v1/schedules/${one}`, "ann")).body;
  assert.match(createdAt, /Z$/);
  assert.deepEqual(shown, {
    id: one,
    to: "room:1",
    title: "Later",
    body: "B",
    type: "reminder",
    link: "/x",
    data: { a: [1] },
    priority: "high",
    collapseKey: "c",
    ttl: 3_600,
    push: true,
    dueAt: deliverAt,
    sender: "ann",
  });
  assert.equal((await ask(`GET /v1/schedules/${one}`, "bob")).status, 404);
  assert.equal((await ask(`DELETE /v1/schedules/${one}`, "bob")).status, 404);
  assert.equal((await ask(`DELETE /v1/schedules/${one}`, "ann")).status, 204);
  assert.equal((await ask(`DELETE /v1/schedules/${one}`, "ann")).status, 404);
  assert.equal((await ask(`DELETE /v1/schedules/${two}`, "!root")).status, 204);
  assert.deepEqual((await ask("GET /v1/schedules", "ann")).body, { items: [] });
});

Deno.test("POST /v1/schedules with cron recurs, in a zone or in the person's own; the same name changes it", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const ask = pushApp(sql, []);
  const plan = (cron: string, more = {}) =>
    ask("POST /v1/schedules", "ann", {
      to: "user:ann",
      title: "The daily question",
      cron,
      name: "question",
      ...more,
    });
  const [id] = (await plan("30 7 * * *", { timezone: "Asia/Seoul", missed: "skip" })).body.ids;
  const store = createScheduleStore(sql);
  const due = async (zone: string) => {
    await store.advance((await store.dueRecurring(10)).map(stepOf));
    const { dueAt } = (await ask(`GET /v1/schedules/${id}`, "ann")).body;
    return new Date(dueAt).toLocaleTimeString("sv", { timeZone: zone });
  };
  assert.equal(await due("Asia/Seoul"), "07:30:00");
  assert.deepEqual((await plan("0 21 * * *")).body.ids, [id]);
  await sql`select tidings.set_quiet_hours('ann', '22:00', '06:00', 'America/New_York')`;
  assert.equal(await due("America/New_York"), "21:00:00");
  const { items } = (await ask("GET /v1/schedules", "ann")).body;
  assert.deepEqual(
    items.map(({ cron, timezone, missed, name }: Record<string, string>) => [cron, timezone, missed, name]),
    [["0 21 * * *", undefined, "send", "question"]],
  );
});

Deno.test("GET /v1/schedules pages, oldest first; administrators see everybody's", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, []);
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    ids.push(
      (await ask("POST /v1/schedules", i % 2 ? "ann" : "bob", { to: "room:1", deliverAt: tomorrow() })).body
        .ids[0],
    );
  }
  const page = async (query: string, as: string) =>
    (await ask(`GET /v1/schedules?${query}`, as)).body.items.map((item: { id: string }) => item.id);
  assert.deepEqual(await page("limit=2", "!root"), ids.slice(0, 2));
  assert.deepEqual(await page(`limit=2&after=${ids[1]}`, "!root"), ids.slice(2, 4));
  assert.deepEqual(await page("", "ann"), [ids[1], ids[3]]);
  assert.equal((await ask("GET /v1/schedules?limit=1000")).status, 400);
});

Deno.test("POST /v1/schedules refuses by name what could not be sent", async () => {
  await using database = await testDatabase();
  const ask = pushApp(database.sql, []);
  const deliverAt = tomorrow();
  const wrong: [Record<string, unknown>, string | undefined, string][] = [
    [{ to: "room:1" }, "deliverAt", "invalid_request"],
    [{ to: "room:1", deliverAt: "tomorrow" }, "deliverAt", "invalid_request"],
    [{ to: "room:1", deliverAt, cron: "0 8 * * *" }, "deliverAt", "invalid_request"],
    [{ to: "room:1", deliverAt, timezone: "UTC" }, "timezone", "invalid_request"],
    [{ to: "room:1", deliverAt, name: "x" }, "name", "invalid_request"],
    [{ to: "room:1", cron: "0 8 * *" }, "cron", "invalid_request"],
    [{ to: "room:1", cron: "99 8 * * *" }, "cron", "invalid_request"],
    [{ to: "room:1", cron: "0 0 31 2 *" }, "cron", "invalid_request"],
    [{ to: "room:1", cron: "0 8 * * *", timezone: "Mars/Base" }, "timezone", "invalid_request"],
    [{ to: "room:1", cron: "0 8 * * *", missed: "maybe" }, "missed", "invalid_request"],
    [{ to: "room:1", cron: "0 8 * * *", dedupeKey: "d" }, "dedupeKey", "invalid_request"],
    [{ to: ["room:1", "room:2"], cron: "0 8 * * *", name: "n" }, "to", "invalid_request"],
    [{ to: "room:1", deliverAt, title: "x".repeat(1_001) }, "title", "invalid_request"],
    [{ to: "room:1", deliverAt, surprise: 1 }, "surprise", "invalid_request"],
    [{ to: "room:1", deliverAt: "2999-01-01T00:00:00Z" }, undefined, "invalid_request"],
    [{ to: "secret:1", deliverAt }, "to", "forbidden"],
    [{ to: "room:1", deliverAt, sender: "bob" }, "sender", "forbidden"],
  ];
  for (const [body, field, code] of wrong) {
    const answer = await ask("POST /v1/schedules", "ann", body);
    assert.equal(answer.body.code, code, JSON.stringify([body, answer.body]));
    assert.equal(answer.body.errors?.[0]?.field, field, JSON.stringify([body, answer.body]));
  }
  assert.deepEqual((await ask("GET /v1/schedules", "!root")).body.items, []);
});

Deno.test("only so many may wait of one who is not an administrator", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  const ask = pushApp(sql, []);
  await sql`select tidings.send('room:1', sender => 'ann', deliver_at => now() + interval '1 day') from generate_series(1, ${
    MAX_SCHEDULES - 1
  }::int)`;
  const plan = (as: string, to: unknown) => ask("POST /v1/schedules", as, { to, deliverAt: tomorrow() });
  assert.equal((await plan("ann", ["room:1", "room:2"])).body.code, "too_many_requests");
  assert.equal((await plan("ann", "room:1")).status, 201);
  assert.equal((await plan("ann", "room:1")).body.code, "too_many_requests");
  assert.equal((await plan("!ann", "room:1")).status, 201);
});
