import assert from "node:assert/strict";
import { LIMITS } from "../../src/notification.ts";
import { testApi } from "../helpers/api.ts";
import { testDatabase } from "../helpers/database.ts";
import { ids, problem } from "./answers.ts";

/** Each violation alone, with the field it is named by. */
const VIOLATIONS: [unknown, string, RegExp][] = [
  [{}, "to", /expected a topic/],
  [{ to: 7 }, "to", /expected a topic or a list/],
  [{ to: "" }, "to", /1 to 200 characters/],
  [{ to: "a b" }, "to", /without white space/],
  [{ to: "user:*" }, "to", /without white space, "," or "\*"/],
  [{ to: "user:" }, "to", /segments joined/],
  [{ to: "x".repeat(201) }, "to", /200/],
  [{ to: [] }, "to", /at least one/],
  [{ to: ["user:1", "a,b"] }, "to.1", /segments/],
  [{ to: ["user:1", "user:1"] }, "to", /once/],
  [{ to: Array.from({ length: 1_001 }, (_, i) => `user:${i}`) }, "to", /at most 1000/],
  [{ to: "user:1", type: "a b" }, "type", /letters, digits/],
  [{ to: "user:1", type: "" }, "type", /1 to 100/],
  [{ to: "user:1", type: "x".repeat(101) }, "type", /1 to 100/],
  [{ to: "user:1", type: "tidings.reset" }, "type", /gateway's own/],
  [{ to: "user:1", title: "x".repeat(1_001) }, "title", /at most 1000 characters/],
  [{ to: "user:1", title: "🧗".repeat(1_001) }, "title", /at most 1000 characters/],
  [{ to: "user:1", title: 7 }, "title", /text/],
  [{ to: "user:1", title: "a\u0000b" }, "title", /NUL/],
  [{ to: "user:1", title: "\ud800" }, "title", /surrogate/],
  [{ to: "user:1", body: "é".repeat(LIMITS.body / 2) + "x" }, "body", /65536 bytes of UTF-8/],
  [{ to: "user:1", body: "\u0000" }, "body", /NUL/],
  [{ to: "user:1", body: ["x"] }, "body", /text/],
  [{ to: "user:1", link: "javascript:alert(1)" }, "link", /http/],
  [{ to: "user:1", link: "JavaScript:alert(1)" }, "link", /http/],
  [{ to: "user:1", link: "data:text/html,x" }, "link", /http/],
  [{ to: "user:1", link: "//evil.test/x" }, "link", /one "\/"/],
  [{ to: "user:1", link: "/\\evil.test" }, "link", /one "\/"/],
  [{ to: "user:1", link: "/\t/evil.test" }, "link", /one "\/"/],
  [{ to: "user:1", link: "http://" }, "link", /http/],
  [{ to: "user:1", link: "friends/7" }, "link", /http/],
  [{ to: "user:1", link: "" }, "link", /http/],
  [{ to: "user:1", link: `/${"x".repeat(2_048)}` }, "link", /at most 2048/],
  [{ to: "user:1", data: "x".repeat(LIMITS.data) }, "data", /262144 bytes/],
  [{ to: "user:1", data: { a: ["\u0000"] } }, "data", /NUL/],
  [{ to: "user:1", data: { "\u0000": 1 } }, "data", /NUL/],
  [{ to: "user:1", data: ["\udc00"] }, "data", /surrogate/],
  [{ to: "user:1", sender: "" }, "sender", /1 to 200/],
  [{ to: "user:1", sender: "x".repeat(201) }, "sender", /1 to 200/],
  [{ to: "user:1", priority: "urgent" }, "priority", /very-low, low, normal, high/],
  [{ to: "user:1", collapseKey: "" }, "collapseKey", /1 to 200/],
  [{ to: "user:1", collapseKey: "x".repeat(201) }, "collapseKey", /1 to 200/],
  [{ to: "user:1", dedupeKey: "" }, "dedupeKey", /1 to 200/],
  [{ to: "user:1", dedupeKey: "x".repeat(201) }, "dedupeKey", /1 to 200/],
  [{ to: "user:1", ttl: 0 }, "ttl", /more than 0/],
  [{ to: "user:1", ttl: -1 }, "ttl", /more than 0/],
  [{ to: "user:1", ttl: 1e12 }, "ttl", /100 years/],
  [{ to: "user:1", ttl: "soon" }, "ttl", /duration such as/],
  [{ to: "user:1", ttl: "0s" }, "ttl", /duration such as/],
  [{ to: "user:1", ttl: true }, "ttl", /seconds, or a duration/],
  [{ to: "user:1", transient: "yes" }, "transient", /true or false/],
  [{ to: "user:1", deliverAt: "tomorrow" }, "deliverAt", /RFC 3339/],
  [{ to: "user:1", deliverAt: "2036-01-31T18:00:00" }, "deliverAt", /RFC 3339/],
  [{ to: "user:1", deliverAt: "2336-01-31T18:00:00Z" }, "deliverAt", /within 10 years/],
  [{ to: "user:1", push: 1 }, "push", /true or false/],
  [{ to: "user:1", collapse_key: "a" }, "collapse_key", /not a known field/],
  [{ to: "user:1", id: "7" }, "id", /not a known field/],
  [7, "", /notification or a list/],
  [null, "", /notification or a list/],
  [[], "", /at least one/],
  [[{ to: "user:1" }, { to: "user:1", title: 1 }], "1.title", /text/],
  [[{ to: "user:1" }, null], "1", /object/],
];

Deno.test("POST /v1/notifications names every violation by its field, and sends nothing", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  for (const [body, field, message] of VIOLATIONS) {
    const { errors = [], detail } = await problem(await api.send(body), "invalid_request");
    const shown = JSON.stringify({ body, errors }).slice(0, 300);
    assert.equal(errors.length, 1, shown);
    assert.equal(errors[0]!.field, field, shown);
    assert.match(errors[0]!.message, message, shown);
    assert.ok(detail?.startsWith("Cannot "), shown);
  }
  assert.equal((await database.sql`select from tidings.notification`).length, 0);
});

Deno.test("POST /v1/notifications takes everything up to the limits", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const accepted = [
    { title: "🧗".repeat(LIMITS.title) },
    { body: "é".repeat(LIMITS.body / 2) },
    { body: "\u0001\t\r\n" },
    { link: `/${"x".repeat(LIMITS.link - 1)}` },
    { link: "https://example.com/ü?x=y#z" },
    { link: "HTTP://example.com" },
    { link: "/" },
    { data: "x".repeat(LIMITS.data - 2) },
    { data: 0 },
    { data: false },
    { type: "x".repeat(LIMITS.type) },
    { collapseKey: "é".repeat(LIMITS.collapseKey), dedupeKey: "é".repeat(LIMITS.dedupeKey) },
    { ttl: "1ms" },
    { ttl: 3_153_600_000 },
    { to: ["user:1"] },
  ];
  for (const fields of accepted) {
    const response = await api.send({ to: "user:1", ...fields });
    const answer = await response.text();
    assert.equal(response.status, 201, `${JSON.stringify(fields).slice(0, 80)}: ${answer}`);
  }
  assert.equal((await database.sql`select from tidings.notification`).length, accepted.length);
});

Deno.test("POST /v1/notifications bounds how deep data is nested, without running out of stack", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const nested = (depth: number) => `{"to":"user:1","data":${"[".repeat(depth)}${"]".repeat(depth)}}`;
  await ids(await api.send(nested(32)));
  const { errors } = await problem(await api.send(nested(33)), "invalid_request");
  assert.deepEqual(errors, [{ field: "data", message: "expected JSON nested at most 32 deep" }]);
  await problem(await api.send(nested(100_000)), "invalid_request");
});

Deno.test("POST /v1/notifications and tidings.send draw the same line for data", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const { sql } = database;
  const list = (length: number) => `[${Array(length).fill("1").join()}]`;
  const lines: [fits: string, tooLong: string][] = [
    // Postgres writes a space after each comma and colon
    [list(87_381), list(87_382)],
    [`"${"x".repeat(262_142)}"`, `"${"x".repeat(262_143)}"`],
    [`"${"\\n".repeat(131_071)}"`, `"${"\\u000a".repeat(131_072)}"`],
    [`{"a":"${"é".repeat(131_067)}"}`, `{"a":"${"é".repeat(131_068)}"}`],
    // and no exponents
    [`[1e131071,1e131067]`, `[1e131071,1e131068]`],
    [`[${Array(15).fill("1.0e-16382").join()}]`, `[${Array(16).fill("1.0e-16382").join()}]`],
    ["1e131071", "1e131072"],
    ["1e-16383", "1e-16384"],
  ];
  for (const [fits, tooLong] of lines) {
    const note = `${fits.slice(0, 40)}…`;
    await ids(await api.send(`{"to":"user:1","data":${fits}}`));
    await sql`select tidings.send('user:1', data => ${fits}::text::jsonb)`;
    const { errors } = await problem(await api.send(`{"to":"user:1","data":${tooLong}}`), "invalid_request");
    assert.deepEqual(errors?.map(({ field }) => field), ["data"], note);
    assert.match(errors?.[0]?.message ?? "", /^expected (at most 262144 bytes as text|numbers of at most)/);
    await assert.rejects(
      sql`select tidings.send('user:1', data => ${tooLong}::text::jsonb)`,
      /data: at most 262144 bytes as text|overflow/,
      note,
    );
  }
});

Deno.test("POST /v1/notifications stores data as it was written, digit by digit", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const data =
    `{"id":12345678901234567890,"price":1.50,"tiny":-0.10e-7,"far":1e400,"n":[0,-1.5,9007199254740993],` +
    `"__proto__":{"v":1.0},"text":"12345678901234567890 \\" 1.0"}`;
  const body = `{"ttl":60.0,"to":"user:1","title":"1.0","data":${data}}`;
  const key = { "idempotency-key": "digits" };
  const first = await ids(await api.send(body, key));
  assert.deepEqual(await ids(await api.send(body, key)), first);
  await problem(await api.send(body.replace("67890,", "67891,"), key), "idempotency_key_reused");
  const [row] = await database.sql`
    select data::text = ${data}::text::jsonb::text as same, extract(epoch from expires_at - created_at) as ttl
    from tidings.notification`;
  assert.deepEqual([row!.same, Math.round(row!.ttl)], [true, 60]);
  const refused = await problem(
    await api.send('{"to":"user:1","title":12345678901234567890}'),
    "invalid_request",
  );
  assert.deepEqual(refused.errors, [{ field: "title", message: "expected a text" }]);
});
