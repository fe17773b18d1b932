import assert from "node:assert/strict";
import type { Problem } from "../../src/protocol.ts";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { openWebSocket } from "../conformance/websocket.ts";

const JSON_TYPE = { "content-type": "application/json" };
const many = <T>(count: number, one: (n: number) => T) => Array.from({ length: count }, (_, n) => one(n));
const rule = { scope: "type", name: "like" };
const quiet = { start: "22:00", end: "07:00", timeZone: "Europe/Berlin" };

interface Refusal {
  call: string;
  /** Of the call's path. */
  rest?: string;
  /** A text is sent as it is. */
  body?: unknown;
  headers?: Record<string, string>;
  code: string;
  field?: string;
}

/** What is wrong with what is asked. The calls are written as in PROTOCOL.md. */
const REFUSALS: readonly Refusal[] = [
  { call: "GET /v1/inbox", rest: "?state=old", code: "invalid_request", field: "state" },
  { call: "GET /v1/inbox", rest: "?limit=0", code: "invalid_request", field: "limit" },
  { call: "GET /v1/inbox", rest: "?limit=201", code: "invalid_request", field: "limit" },
  { call: "GET /v1/inbox", rest: "?limit=ten", code: "invalid_request", field: "limit" },
  { call: "GET /v1/inbox", rest: "?before=x", code: "invalid_request", field: "before" },
  { call: "GET /v1/inbox", rest: `?topic=${"x".repeat(201)}`, code: "invalid_request", field: "topic" },
  { call: "GET /v1/inbox", rest: `?type=${"x".repeat(101)}`, code: "invalid_request", field: "type" },
  { call: "GET /v1/inbox", rest: "?before=424242", code: "not_found", field: "before" },
  { call: "GET /v1/inbox", rest: "?before=STRANGER", code: "not_found", field: "before" },
  ...["{", "[]", '"all"', "{}", '{"all":true}', '{"state":"read"}', '{"all":true,"state":"old"}'].map((
    body,
  ) => ({
    call: "POST /v1/inbox/mark",
    body,
    code: "invalid_request",
  })),
  ...[
    { ids: ["1"], all: true },
    { all: true, before: "1" },
    { ids: [] },
    { ids: many(1_001, (n) => String(n + 1)) },
    { ids: ["x"] },
    { ids: [1] },
    { ids: ["0"] },
    { all: false },
    { before: "x" },
    { all: true, user: "bob" },
  ].map((mark) => ({
    call: "POST /v1/inbox/mark",
    body: { ...mark, state: "read" },
    code: "invalid_request",
  })),
  {
    call: "POST /v1/inbox/mark",
    body: { ids: ["STRANGER"], state: "read" },
    code: "not_found",
    field: "ids",
  },
  {
    call: "POST /v1/inbox/mark",
    body: { ids: ["MINE", "424242"], state: "read" },
    code: "not_found",
    field: "ids",
  },
  {
    call: "POST /v1/inbox/mark",
    body: { before: "STRANGER", state: "read" },
    code: "not_found",
    field: "before",
  },
  { call: "POST /v1/inbox/mark", body: " ".repeat(70_000), code: "too_large" },
  {
    call: "POST /v1/inbox/mark",
    body: "all",
    headers: { "content-type": "text/plain" },
    code: "unsupported_media_type",
  },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/a%20b", code: "invalid_request", field: "topic" },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/climb:*", code: "invalid_request", field: "topic" },
  {
    call: "PUT /v1/subscriptions/{topic}",
    rest: `/${"x".repeat(201)}`,
    code: "invalid_request",
    field: "topic",
  },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/all", code: "invalid_request", field: "topic" },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/user:ann", code: "invalid_request", field: "topic" },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/user:bob", code: "forbidden", field: "topics" },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/tidings:x", code: "forbidden", field: "topics" },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/other", code: "forbidden", field: "topics" },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/climb:secret", code: "forbidden", field: "topics" },
  { call: "PUT /v1/subscriptions/{topic}", rest: "/climb:one-too-many", code: "conflict" },
  { call: "DELETE /v1/subscriptions/{topic}", rest: "/a%20b", code: "invalid_request", field: "topic" },
  ...["{", "[]", "7"].map((body) => ({ call: "PUT /v1/preferences", body, code: "invalid_request" })),
  ...[
    [{ rules: [{ ...rule, scope: "sender" }] }, "rules.0.scope"],
    [{ rules: [{ scope: "type" }] }, "rules.0.name"],
    [{ rules: [{ scope: "default", name: "x" }] }, "rules.0.name"],
    [{ rules: [{ ...rule, name: "" }] }, "rules.0.name"],
    [{ rules: [{ ...rule, name: "x".repeat(201) }] }, "rules.0.name"],
    [{ rules: [{ ...rule, inApp: "no" }] }, "rules.0.inApp"],
    [{ rules: [{ ...rule, push: 1 }] }, "rules.0.push"],
    [{ rules: [{ ...rule, muted: null }] }, "rules.0.muted"],
    [{ rules: [{ ...rule, loud: true }] }, "rules.0.loud"],
    [{ rules: [rule, rule] }, "rules"],
    [{ rules: many(501, (n) => ({ ...rule, name: `t${n}` })) }, "rules"],
    [{ quietHours: { ...quiet, start: "24:00" } }, "quietHours.start"],
    [{ quietHours: { ...quiet, end: "7" } }, "quietHours.end"],
    [{ quietHours: { ...quiet, end: "22:00" } }, "quietHours.end"],
    [{ quietHours: { ...quiet, timeZone: "Mars/Olympus" } }, "quietHours.timeZone"],
    [{ quietHours: { ...quiet, timeZone: "+01:00" } }, "quietHours.timeZone"],
    [{ timeZone: "Mars/Olympus" }, "timeZone"],
    [{ timeZone: "+01:00" }, "timeZone"],
    [{ timeZone: "x".repeat(101) }, "timeZone"],
    [{ quiet }, "quiet"],
  ].map(([body, field]) => ({
    call: "PUT /v1/preferences",
    body,
    code: "invalid_request",
    field: field as string,
  })),
  { call: "PUT /v1/preferences", body: " ".repeat(140_000), code: "too_large" },
  {
    call: "PUT /v1/preferences",
    body: "x",
    headers: { "content-type": "text/plain" },
    code: "unsupported_media_type",
  },
  ...[
    "PUT /v1/inbox",
    "DELETE /v1/inbox/count",
    "GET /v1/inbox/mark",
    "POST /v1/subscriptions",
    "POST /v1/preferences",
  ]
    .map((call) => ({ call, code: "method_not_allowed" })),
];

/** Every call of the inbox's interface. */
const CALLS = [
  "GET /v1/inbox",
  "GET /v1/inbox/count",
  "POST /v1/inbox/mark",
  "GET /v1/subscriptions",
  "PUT /v1/subscriptions/{topic}",
  "DELETE /v1/subscriptions/{topic}",
  "GET /v1/preferences",
  "PUT /v1/preferences",
];

Deno.test("every refusal of the inbox, subscriptions and preferences has its code and field, and stands in PROTOCOL.md", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const { sql } = database;
  const [stranger] = await sql<{ id: string }[]>`select tidings.send('user:bob', 'private') as id`;
  const [mine] = await sql<{ id: string }[]>`select tidings.send('user:ann', 'mine') as id`;
  await sql`create or replace function tidings.may_subscribe(user_id text, topic text) returns boolean
    language sql stable as $$ select case when may_subscribe.topic = 'climb:secret' then false end $$`;
  await sql`select tidings.follow('ann', 'f:' || n) from generate_series(1, 1000) n`;
  const token = await gateway.token("ann", { subscribe: ["climb:*", "all"] });
  const fill = (text: string) => text.replaceAll("STRANGER", stranger!.id).replaceAll("MINE", mine!.id);
  const codes = new Map(CALLS.map((call) => [call, new Set<string>()]));

  const ask = async ({ call, rest = "", body, headers = JSON_TYPE }: Refusal, bearer?: string) => {
    const [method = "", path = ""] = call.split(" ");
    const text = body === undefined
      ? undefined
      : fill(typeof body === "string" ? body : JSON.stringify(body));
    const response = await fetch(`${gateway.url}${path.replace("/{topic}", "")}${fill(rest)}`, {
      method,
      headers: { ...headers, ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }) },
      ...(text === undefined ? {} : { body: text }),
    });
    const answer = await response.text();
    const name = `${call} ${rest} ${text?.slice(0, 80) ?? ""}: ${answer}`;
    assert.ok(response.status >= 400, name);
    const problem = JSON.parse(answer) as Problem;
    assert.equal(problem.status, response.status, name);
    assert.equal(response.headers.get("content-type"), "application/problem+json", name);
    assert.equal(problem.type, `urn:tidings:error:${problem.code}`, name);
    assert.ok(problem.detail, name);
    codes.get(call)?.add(problem.code);
    return { problem, name };
  };

  for (const refusal of REFUSALS) {
    const { problem, name } = await ask(refusal, token);
    assert.equal(problem.code, refusal.code, name);
    if (refusal.field !== undefined) {
      assert.ok(problem.errors?.some(({ field }) => field === refusal.field), name);
    }
  }

  const expired = await gateway.token("ann", {}, -10);
  await sql`select tidings.sign_out('cut')`;
  const cut = await gateway.token("cut", { subscribe: ["**"] });
  await sql`update tidings.signed_out set at = now() + interval '1 minute'`;
  for (const call of CALLS) {
    const rest = call.endsWith("{topic}") ? "/climb:1" : "";
    const request = {
      call,
      rest,
      code: "",
      ...(call.includes("mark") ? { body: { all: true, state: "read" } } : {}),
      ...(call === "PUT /v1/preferences" ? { body: {} } : {}),
    };
    assert.equal((await ask(request)).problem.code, "token_required");
    assert.equal((await ask(request, "x")).problem.code, "invalid_token");
    assert.equal((await ask(request, expired)).problem.code, "token_expired");
    const { problem, name } = await ask(request, cut);
    assert.equal(problem.code, "invalid_token", name);
    assert.match(problem.detail!, /signed out/);
  }
  // Nothing of all that changed anything.
  const [count] = await sql`select unread, unseen from tidings.inbox_count('ann')`;
  assert.deepEqual({ ...count }, { unread: 1, unseen: 1 });

  const written = new Map(
    [...(await Deno.readTextFile("PROTOCOL.md")).matchAll(/^\| `([A-Z]+ \/v1\/[^`]+)` \|.*\| ([^|]*) \|$/gm)]
      .map((
        [, call = "", refused = ""],
      ) => [call, [...refused.matchAll(/`(\w+)`/g)].map(([, code]) => code!)]),
  );
  const everybody = ["token_required", "invalid_token", "token_expired"];
  for (const [call, seen] of codes) {
    assert.deepEqual(
      [...written.get(call) ?? [], ...everybody].sort(),
      [...seen].sort(),
      `what PROTOCOL.md says of ${call}`,
    );
  }
});

Deno.test("every refusal of mark and subscribe over WebSocket has its code and field, and the session goes on", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const { sql } = database;
  const [stranger] = await sql<{ id: string }[]>`select tidings.send('user:bob', 'private') as id`;
  await sql`create or replace function tidings.may_subscribe(user_id text, topic text) returns boolean
    language sql stable as $$ select case when may_subscribe.topic = 'climb:secret' then false end $$`;
  const token = await gateway.token("ann", { subscribe: ["climb:*"] });
  const client = await openWebSocket({ url: gateway.url, token });
  const cases: [Record<string, unknown>, string, string?][] = [
    [{ op: "mark", state: "read" }, "invalid_request", "ids"],
    [{ op: "mark", ids: ["1"], all: true, state: "read" }, "invalid_request", "ids"],
    [{ op: "mark", ids: [], state: "read" }, "invalid_request", "ids"],
    [{ op: "mark", ids: ["x"], state: "read" }, "invalid_request", "ids.0"],
    [{ op: "mark", ids: many(1_001, String), state: "read" }, "invalid_request", "ids"],
    [{ op: "mark", all: true, state: "old" }, "invalid_request", "state"],
    [{ op: "mark", all: true }, "invalid_request", "state"],
    [{ op: "mark", before: "-1", state: "read" }, "invalid_request", "before"],
    [{ op: "mark", all: true, state: "read", user: "bob" }, "invalid_request", "user"],
    [{ op: "mark", ids: [stranger!.id], state: "read" }, "not_found", "ids"],
    [{ op: "mark", ids: ["9999999999999999999"], state: "read" }, "not_found"],
    [{ op: "mark", before: stranger!.id, state: "read" }, "not_found", "before"],
    [{ op: "subscribe", topics: [] }, "invalid_request", "topics"],
    [{ op: "subscribe", topics: ["a b"] }, "invalid_request", "topics"],
    [{ op: "subscribe", topics: ["user:bob"] }, "forbidden", "topics"],
    [{ op: "subscribe", topics: ["other"] }, "forbidden", "topics"],
    [{ op: "subscribe", topics: ["climb:secret"] }, "forbidden", "topics"],
    [{ op: "subscribe", topics: ["climb:1"], since: "yesterday" }, "invalid_request", "since"],
  ];
  for (const [frame, code, field] of cases) {
    const answer = await client.ask(frame as never);
    const name = `${JSON.stringify(frame).slice(0, 80)}: ${JSON.stringify(answer)}`;
    assert.ok(answer.op === "error", name);
    assert.equal(answer.problem.code, code, name);
    if (field !== undefined) assert.ok(answer.problem.errors?.some((one) => one.field === field), name);
  }
  assert.equal((await client.ask({ op: "ping" })).op, "pong");
  await client.cut();
});

Deno.test("every refusal of the SQL functions has its SQLSTATE and names what is wrong", async () => {
  await using database = await testDatabase();
  const { sql } = database;
  await sql`create table public.post (id int primary key, title text)`;
  await sql`create view public.titles as select title from public.post`;
  const [stranger] = await sql<{ id: string }[]>`select tidings.send('user:bob', 'private') as id`;
  await sql`select tidings.follow('full', 'f:' || n) from generate_series(1, 1000) n`;
  const cases: [string, string, RegExp][] = [
    [`mark('ann', array[${stranger!.id}], 'read')`, "TD404", /ids: 1 of them are not in this inbox/],
    [`mark('ann', array[424242], 'read')`, "TD404", /ids: 1 of them are not in this inbox/],
    [`mark('ann', null, 'read')`, "22023", /ids: expected up to 1000/],
    [`mark('ann', array[1], 'old')`, "22023", /state: expected seen, read, unread or archived/],
    [`mark('', array[1], 'read')`, "22023", /user_id: expected 1 to 195 characters/],
    [`mark_all('ann', 'read', ${stranger!.id})`, "TD404", /before: it is not in this inbox/],
    [`mark_all('ann', null)`, "22023", /state: expected/],
    [`mark_all(null, 'read')`, "22023", /user_id: expected/],
    [`follow('ann', 'all')`, "22023", /topic: "all" reaches everybody/],
    [`follow('ann', 'user:bob')`, "22023", /topic: user: topics/],
    [`follow('ann', 'tidings:x')`, "22023", /topic: tidings is reserved/],
    [`follow('ann', 'a b')`, "22023", /topic: segments/],
    [`follow('ann', repeat('x', 201))`, "22023", /topic: at most 200/],
    [`follow('ann', null)`, "22023", /topic: must not be null/],
    [`follow('a b', 'x')`, "22023", /user_id: expected/],
    [`follow('full', 'x')`, "54000", /a person can follow 1000 topics/],
    [`unfollow('a:', 'x')`, "22023", /user_id: expected/],
    [`revoke('a,b')`, "22023", /user_id: expected/],
    [`sign_out('')`, "22023", /user_id: expected/],
    [`prefer('ann', 'sender', 'x')`, "23514", /scope: topic, type or default/],
    [`prefer('ann', 'default', 'x')`, "23514", /name: 1 to 200 characters, and none with default/],
    [`prefer('ann', 'type', '')`, "23514", /name: 1 to 200 characters/],
    [`set_quiet_hours('ann', '22:00', '07:00', 'Mars/Olympus')`, "22023", /timeZone: expected a name/],
    [`set_quiet_hours('ann', '22:00', '22:00', 'UTC')`, "23514", /quiet hours: start and end must differ/],
    [`set_quiet_hours('ann', '25:00', '22:00', 'UTC')`, "22008", /25:00/],
    [`attach('public.nothing', topic => 'x')`, "42P01", /"public\.nothing" does not exist/],
    [`attach('public.titles', topic => 'x')`, "42809", /titles: expected a table/],
    [
      `attach('public.post', topic => 'user:{owner}')`,
      "42703",
      /topic: table public\.post has no column "owner"/,
    ],
    [
      `attach('public.post', topic => 'x', title => '{old.id}')`,
      "22023",
      /title: \{old\.id\} has no old row/,
    ],
    [`attach('public.post', topic => 'x', title => '{id')`, "22023", /title: there is a \{ without/],
    [`attach('public.post', topic => 'x', link => 'sql:nothing(new.id)')`, "42883", /link: function nothing/],
    [`attach('public.post', topic => 'x', body => 'sql:new.id +')`, "42601", /the templates: syntax error/],
    [`attach('public.post', topic => 'x', "when" => 'new.x')`, "42703", /when: column new\.x does not exist/],
    [
      `attach('public.post', 'update of x', topic => 'x')`,
      "42703",
      /on_event: table public\.post has no column "x"/,
    ],
    [`attach('public.post', 'truncate', topic => 'x')`, "22023", /on_event: expected insert/],
    [`attach('public.post', topic => 'a b')`, "22023", /topic: segments/],
    [`attach('public.post')`, "22023", /topic: expected a template/],
    [`attach('public.post', topic => 'x', type => 'tidings.x')`, "22023", /type: expected/],
    [`attach('public.post', topic => 'x', priority => 'now')`, "22023", /priority: expected/],
    [`attach('public.post', topic => 'x', on_failure => 'ignore')`, "22023", /on_failure: expected/],
    [`attach('public.post', topic => 'x', ttl => '0')`, "22023", /ttl: must be positive/],
  ];
  for (const [call, code, message] of cases) {
    await assert.rejects(sql.unsafe(`select tidings.${call}`), { code, message }, call);
  }
  assert.equal((await sql`select from tidings.attachment`).length, 0);
});
