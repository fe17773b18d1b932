import assert from "node:assert/strict";
import { LIMITS } from "../../src/notification.ts";
import { type TestApi, testApi } from "../helpers/api.ts";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";

/** Runs curl itself, as users do; returns the status and the answer. */
async function curl(api: TestApi, path: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command("curl", {
    args: [
      "--silent",
      "--show-error",
      "--max-time",
      "20",
      "--write-out",
      "\n%{http_code}",
      "--header",
      `Authorization: Bearer ${await api.token()}`,
      ...args,
      `${api.url}${path}`,
    ],
  }).output();
  const lines = new TextDecoder().decode(stdout).split("\n");
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return { status: Number(lines.pop()), answer: JSON.parse(lines.join("\n")) };
}

async function lastRow(database: TestDatabase) {
  const [row] = await database.sql`
    select id, topic, type, title, body, link, priority, sender from tidings.notification order by id desc limit 1`;
  assert.ok(row !== undefined);
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
}

Deno.test("curl -d sends its text to a topic, headers are the rest", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const { status, answer } = await curl(
    api,
    "/v1/topics/user:42",
    "-d",
    "Grüße & =+%20 ✓",
    "-H",
    "Title: Größe ✓",
    "-H",
    "Type: match.found",
    "-H",
    "Priority: high",
    "-H",
    "Click: /match/7",
  );
  assert.equal(status, 201, JSON.stringify(answer));
  assert.deepEqual(await lastRow(database), {
    id: answer.ids[0],
    topic: "user:42",
    type: "match.found",
    title: "Größe ✓",
    body: "Grüße & =+%20 ✓",
    link: "/match/7",
    priority: "high",
    sender: "ann",
  });
});

Deno.test("curl's other ways to say a body work as well", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, "line 1\nline 2\n");
  const ways: [string[], string | undefined][] = [
    [["--data-binary", `@${file}`], "line 1\nline 2\n"],
    [["--data-raw", "@home"], "@home"],
    [["-H", "Content-Type: text/plain", "-d", "plain"], "plain"],
    [["-H", "Content-Type: text/plain; charset=utf-8", "-d", "plain"], "plain"],
    [["-H", "Content-Type:", "-d", "no type"], "no type"],
    [["-H", "Transfer-Encoding: chunked", "-d", "in chunks"], "in chunks"],
    [["-H", "Title: only a title", "-X", "POST"], undefined],
    [["-H", "Title: =?UTF-8?B?4pyT?= =?UTF-8?Q?_ok?=", "-d", "words"], "words"],
  ];
  for (const [args, body] of ways) {
    const { status, answer } = await curl(api, "/v1/topics/climb:route:12", ...args);
    assert.equal(status, 201, `${args}: ${JSON.stringify(answer)}`);
    assert.equal((await lastRow(database))["body"], body, String(args));
  }
  assert.equal((await lastRow(database))["title"], "✓ ok");
  await Deno.remove(file);
});

Deno.test("curl with At sends later: at a time, or a duration from now, and a repeat with its key is the same request", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  for (const at of ["10m", "2036-01-01T00:00:00Z"]) {
    const args = ["-d", "later", "-H", `At: ${at}`, "-H", `Idempotency-Key: ${at.length}`];
    const first = await curl(api, "/v1/topics/user:1", ...args);
    assert.equal(first.status, 201, JSON.stringify(first.answer));
    assert.deepEqual(await curl(api, "/v1/topics/user:1", ...args), first);
  }
  const due = await database.sql`
    select round(extract(epoch from due_at - clock_timestamp()) / 60)::int as minutes, due_at
    from tidings.schedule order by due_at`;
  assert.equal(due.length, 2);
  assert.equal(due[0]!["minutes"], 10);
  assert.deepEqual(due[1]!["due_at"], new Date("2036-01-01T00:00:00Z"));
  assert.equal((await database.sql`select from tidings.notification`).length, 0);
});

Deno.test("a topic comes out of the address as it went in, whatever had to be encoded", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const token = await api.token("root", { admin: true });
  for (const topic of ["a/b", "ü:✓", "50%", "a?b", "a#b", "a+b", "presence"]) {
    const response = await api.call(
      `/v1/topics/${encodeURIComponent(topic)}`,
      { method: "POST", body: "x" },
      token,
    );
    assert.equal(response.status, 201, await response.text());
    assert.equal((await lastRow(database))["topic"], topic);
  }
});

Deno.test("what is wrong is named as it was said: by header, topic or body", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const cases: [string, RequestInit, number, string | undefined, RegExp][] = [
    ["user:1", { headers: { title: "x".repeat(1_001) } }, 400, "Title", /at most 1000/],
    ["user:1", { headers: { type: "a b" } }, 400, "Type", /letters/],
    ["user:1", { headers: { priority: "5" } }, 400, "Priority", /very-low/],
    ["user:1", { headers: { click: "javascript:x" } }, 400, "Click", /http/],
    [
      "user:1",
      { headers: { at: "tomorrow" } },
      400,
      "At",
      /RFC 3339, such as .*, or a duration from now such as 10m/,
    ],
    ["user:1", { headers: { at: "11000w" } }, 400, "At", /RFC 3339|duration/],
    ["a%20b", {}, 400, "topic", /white space/],
    ["user:1", { body: "\u0000" }, 400, "body", /NUL/],
    ["user:1", { body: new Uint8Array([0xff]) }, 400, undefined, /./],
    ["user:1", { body: "é".repeat(LIMITS.body / 2 + 1) }, 413, undefined, /./],
    ["user:1", { body: "{}", headers: { "content-type": "application/json" } }, 415, undefined, /./],
    ["user:1", { body: new FormData() }, 415, undefined, /./],
    ["all", { body: "x" }, 403, "to", /does not allow/],
  ];
  for (const [topic, init, status, field, message] of cases) {
    const response = await api.call(`/v1/topics/${topic}`, { method: "POST", ...init });
    const answer = await response.json();
    assert.equal(response.status, status, JSON.stringify(answer));
    assert.equal(answer.errors?.[0]?.field, field, JSON.stringify(answer));
    if (field !== undefined) assert.match(answer.errors[0].message, message);
  }
  assert.equal((await database.sql`select from tidings.notification`).length, 0);
});
