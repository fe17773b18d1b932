import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { MAX_BODY } from "../../src/api/notifications.ts";
import { LIMITS } from "../../src/notification.ts";
import type { Problem } from "../../src/protocol.ts";
import { testApi } from "../helpers/api.ts";
import { testDatabase } from "../helpers/database.ts";

async function ids(response: Response): Promise<string[]> {
  const text = await response.text();
  assert.equal(response.status, 201, text);
  const answer = JSON.parse(text);
  assert.deepEqual(Object.keys(answer), ["ids"]);
  return answer.ids;
}

async function problem(response: Response, code: string): Promise<Problem> {
  const text = await response.text();
  assert.equal(response.headers.get("content-type"), "application/problem+json", text);
  const answer: Problem = JSON.parse(text);
  assert.equal(answer.code, code, text);
  assert.equal(answer.status, response.status);
  assert.equal(answer.type, `urn:tidings:error:${code}`);
  return answer;
}

Deno.test("POST /v1/notifications stores every field of a notification, and the sender's name", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const sent = await ids(
    await api.send({
      to: "user:1",
      type: "match.found",
      title: "Größe ✓ 🧗",
      body: "line\nline",
      link: "/match/7?a=b#c",
      data: { a: [1, { b: null }], "é": "𝄞" },
      priority: "high",
      collapseKey: "match",
      dedupeKey: "match-7",
      ttl: "90m",
      push: false,
    }),
  );
  const [row] = await database.sql`
    select *, extract(epoch from expires_at - created_at)::float8 as ttl from tidings.notification`;
  assert.deepEqual(sent, [row!["id"]]);
  const {
    topic,
    type,
    title,
    body,
    link,
    data,
    sender,
    priority,
    collapse_key,
    dedupe_key,
    transient,
    push,
    ttl,
  } = row!;
  assert.deepEqual(
    { topic, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, transient, push },
    {
      topic: "user:1",
      type: "match.found",
      title: "Größe ✓ 🧗",
      body: "line\nline",
      link: "/match/7?a=b#c",
      data: { a: [1, { b: null }], "é": "𝄞" },
      sender: "ann",
      priority: "high",
      collapse_key: "match",
      dedupe_key: "match-7",
      transient: false,
      push: false,
    },
  );
  assert.ok(Math.abs(ttl - 5_400) < 1, `${ttl}`);
});

Deno.test("POST /v1/notifications takes null for absent, seconds as ttl, and a transient one without ttl", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  await ids(
    await api.send({
      to: "user:1",
      type: null,
      title: null,
      body: null,
      data: null,
      ttl: null,
      push: null,
      sender: null,
    }),
  );
  await ids(await api.send({ to: "user:1", ttl: 1.5 }));
  await ids(await api.send({ to: "user:1", transient: true }));
  const rows = await database.sql`
    select type, title, data, sender, transient, round(extract(epoch from expires_at - created_at), 1)::float8 as ttl
    from tidings.notification order by id`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [
    { type: "notification", title: null, data: null, sender: "ann", transient: false, ttl: null },
    { type: "notification", title: null, data: null, sender: "ann", transient: false, ttl: 1.5 },
    { type: "notification", title: null, data: null, sender: "ann", transient: true, ttl: 60 },
  ]);
});

Deno.test("POST /v1/notifications answers with the ids in the order of the notifications and their topics", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const sent = await ids(
    await api.send([
      { to: ["user:3", "user:1", "climb:a:b"], title: "first" },
      { to: "user:2", title: "second" },
    ]),
  );
  const rows = await database.sql`select id, topic, title, xid from tidings.notification order by id`;
  assert.deepEqual(rows.map(({ id, topic, title }) => [id, topic, title]), [
    [sent[0], "user:3", "first"],
    [sent[1], "user:1", "first"],
    [sent[2], "climb:a:b", "first"],
    [sent[3], "user:2", "second"],
  ]);
  assert.equal(new Set(rows.map(({ xid }) => xid)).size, 1, "one transaction");
});

Deno.test("POST /v1/notifications sends 1,000 at once, and all or nothing", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const many = Array.from({ length: 1_000 }, (_, i) => ({ to: `user:${i}`, title: String(i) }));
  assert.equal((await ids(await api.send(many))).length, 1_000);
  const { errors } = await problem(await api.send([...many, many[0]]), "invalid_request");
  assert.deepEqual(errors, [{ field: "", message: "expected at most 1000 notifications" }]);
  await problem(await api.send([...many.slice(1), { to: "all" }]), "forbidden");
  await problem(await api.send([...many.slice(1), { to: "user:1", title: 1 }]), "invalid_request");
  assert.equal((await database.sql`select from tidings.notification`).length, 1_000);
});

Deno.test("POST /v1/notifications with a dedupeKey that the topic has returns the first one's id", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const [first] = await ids(await api.send({ to: "user:1", dedupeKey: "d" }));
  const again = await ids(
    await api.send([{ to: ["user:2", "user:1"], dedupeKey: "d" }, { to: "user:1", dedupeKey: "d" }]),
  );
  assert.equal(again[1], first);
  assert.equal(again[2], first);
  assert.notEqual(again[0], first);
  assert.equal((await database.sql`select from tidings.notification`).length, 2);
});

Deno.test("POST /v1/notifications with deliverAt sends nothing before its time", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const sent = await ids(
    await api.send({ to: "user:1", title: "later", deliverAt: "2036-01-31T18:00:00+02:00" }),
  );
  assert.equal(sent.length, 1);
  assert.equal((await database.sql`select from tidings.notification`).length, 0);
  const [row] = await database.sql`select id, title, due_at from tidings.schedule`;
  assert.deepEqual({ ...row }, { id: sent[0], title: "later", due_at: new Date("2036-01-31T16:00:00Z") });
});

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

Deno.test("POST /v1/notifications asks the token for every topic", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  for (
    const [body, field] of [
      [{ to: "all" }, "to"],
      [{ to: ["user:1", "climb:a", "friends"] }, "to"],
      [[{ to: "user:1" }, { to: "user:1:private" }], "1.to"],
    ] as const
  ) {
    const { errors } = await problem(await api.send(body), "forbidden");
    assert.deepEqual(errors?.map((error) => error.field), [field]);
  }
  const none = await api.token("bob", {});
  await problem(await api.send({ to: "user:bob" }, {}, none), "forbidden");
  const admin = await api.token("root", { admin: true });
  await ids(await api.send({ to: ["all", "anything:else"] }, {}, admin));
  const { errors } = await problem(await api.send({ to: "tidings:inner" }, {}, admin), "forbidden");
  assert.equal(errors?.[0]?.field, "to");
});

Deno.test("POST /v1/notifications lets only administrators name another sender", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const { errors } = await problem(await api.send([{ to: "user:1", sender: "bob" }]), "forbidden");
  assert.deepEqual(errors, [{ field: "0.sender", message: "only administrators may name another sender" }]);
  await ids(await api.send({ to: "user:1", sender: "ann" }));
  await ids(await api.send({ to: "user:1", sender: "system" }, {}, await api.token("root", { admin: true })));
  const rows = await database.sql`select sender from tidings.notification order by id`;
  assert.deepEqual(rows.map(({ sender }) => sender), ["ann", "system"]);
});

Deno.test("POST /v1/notifications says what is wrong with a body that is not JSON, not UTF-8, or of another type", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  for (const body of ["", "{", '{"to":"user:1"', "{'to':1}"]) {
    const { detail } = await problem(await api.send(body), "invalid_request");
    assert.equal(detail, "Cannot read the body: it is not valid JSON");
  }
  const response = await api.call("/v1/notifications", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: new Uint8Array([...new TextEncoder().encode('{"to":"user:1","title":"'), 0xff, 0x22, 0x7d]),
  });
  assert.equal((await problem(response, "invalid_request")).detail, "Cannot read the body: it is not UTF-8");
  for (const type of ["text/plain", "application/xml", "multipart/form-data; boundary=x"]) {
    await problem(await api.send("{}", { "content-type": type }), "unsupported_media_type");
  }
  await ids(await api.send({ to: "user:1" }, { "content-type": "application/json; charset=utf-8" }));
  const unauthorised = await fetch(`${api.url}/v1/notifications`, { method: "POST", body: "{" });
  await problem(unauthorised, "token_required");
  assert.equal(unauthorised.headers.get("www-authenticate"), "Bearer");
});

Deno.test("POST /v1/notifications refuses a body that is too large, told beforehand or not", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const large = JSON.stringify({ to: "user:1", body: "x".repeat(MAX_BODY) });
  const { detail } = await problem(await api.send(large), "too_large");
  assert.match(detail ?? "", /more than 8388608 bytes/);

  const { port } = new URL(api.url);
  const head =
    `POST /v1/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await api.token()}\r\n` +
    "Content-Type: application/json\r\nConnection: close\r\n";
  const told = net.connect(Number(port), "127.0.0.1");
  told.write(`${head}Content-Length: ${MAX_BODY + 1}\r\n\r\n`);
  const [first] = await once(told, "data");
  assert.match(String(first), /^HTTP\/1\.1 413 .*"code":"too_large"/s);
  told.destroy();

  const chunked = net.connect(Number(port), "127.0.0.1");
  let stopped = false;
  chunked.on("error", () => stopped = true);
  chunked.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = "x".repeat(64 * 1024);
  const answered = once(chunked, "data");
  for (let sent = 0; sent <= MAX_BODY && !stopped; sent += chunk.length) {
    if (!chunked.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`)) await once(chunked, "drain");
  }
  assert.match(String((await answered)[0]), /^HTTP\/1\.1 413 .*"code":"too_large"/s);
  chunked.destroy();
});

Deno.test("POST /v1/notifications takes a body in chunks", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const stream = ReadableStream.from(
    ['{"to":"us', 'er:1","title":"in ch', 'unks"}'].map((part) => new TextEncoder().encode(part)),
  );
  const response = await api.call("/v1/notifications", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: stream,
  });
  await ids(response);
  const [row] = await database.sql`select title from tidings.notification`;
  assert.equal(row!["title"], "in chunks");
});

Deno.test("POST /v1/notifications refuses what would become too much in the log", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const topics = Array.from({ length: 1_000 }, (_, i) => `user:${i}`);
  const rows = await problem(await api.send(Array.from({ length: 11 }, () => ({ to: topics }))), "too_large");
  assert.match(rows.detail ?? "", /makes 11000 notifications .* one request may make 10000/);
  const bytes = await problem(await api.send({ to: topics, body: "x".repeat(LIMITS.body) }), "too_large");
  assert.match(bytes.detail ?? "", /send it in several requests/);
  assert.equal((await ids(await api.send({ to: topics }))).length, 1_000);
});

Deno.test("POST /v1/notifications slows down a user who sends too much, and nobody else", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database, { rate: { perSecond: 0.001, burst: 3 } });
  await ids(await api.send([{ to: ["user:1", "user:2"] }, { to: "user:3" }]));
  const response = await api.send({ to: "user:1" });
  const { retryAfter } = await problem(response, "too_many_requests");
  assert.equal(response.headers.get("retry-after"), String(retryAfter));
  assert.ok(retryAfter! > 900 && retryAfter! <= 1_000, `${retryAfter}`);
  await ids(await api.send({ to: "user:1" }, {}, await api.token("bob")));
  const admin = await api.token("root", { admin: true });
  await ids(await api.send(Array.from({ length: 10 }, () => ({ to: "all" })), {}, admin));
});

Deno.test("one wrong request among many that share a statement fails alone", async () => {
  await using database = await testDatabase();
  const statements: number[] = [];
  const gate = Promise.withResolvers<void>();
  await using api = await testApi(database, {
    limits: { inFlight: 1 },
    store: (store) => ({
      ...store,
      async send(requests) {
        statements.push(requests.length);
        if (statements.length === 1) await gate.promise;
        return await store.send(requests);
      },
    }),
  });
  // unchecked: only the database finds it too large
  const bad = { publications: [{ to: ["user:1"], data: "x".repeat(300_000) }], list: false };
  const submissions = Array.from(
    { length: 40 },
    (_, i) => i === 23 ? bad : api.sender.read({ to: `user:${i}`, title: String(i) }),
  );
  const identity = { user: "ann", subscribe: [], publish: ["user:*"], admin: false };
  const asked = submissions.map((submission) => api.sender.send(identity, submission));
  gate.resolve();
  const answers = await Promise.allSettled(asked);
  for (const [index, answer] of answers.entries()) {
    assert.equal(answer.status, index === 23 ? "rejected" : "fulfilled");
  }
  assert.match((answers[23] as PromiseRejectedResult).reason.message, /^Cannot send: data: at most/);
  const rows = await database.sql`select title from tidings.notification order by title::int`;
  assert.deepEqual(
    rows.map(({ title }) => Number(title)),
    submissions.keys().filter((i) => i !== 23).toArray(),
  );
  assert.deepEqual(statements.slice(0, 2), [1, 39]);
});
