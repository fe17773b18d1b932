import assert from "node:assert/strict";
import { brake, startGateway } from "../helpers/gateway.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { rawHttp } from "../helpers/raw_http.ts";
import { type Place, place } from "./place.ts";

async function poll(here: Place, query: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${here.url}/v1/feed${query}`, {
    headers: { ...await here.as("ann", { subscribe: ["news", "climb:*"] }), ...headers },
  });
  const text = await response.text();
  const body = text === "" ? {} : JSON.parse(text);
  return { status: response.status, headers: response.headers, body, etag: response.headers.get("etag") };
}

const titles = ({ body }: { body: { items: { title: string }[] } }) => body.items.map(({ title }) => title);

Deno.test("wait=0 answers at once: cursor, items, inbox, and the cursor as a tag", async () => {
  await using here = await place();
  const empty = await poll(here, "?wait=0");
  assert.deepEqual(Object.keys(empty.body), ["cursor", "items", "inbox"]);
  assert.deepEqual([empty.body.items, empty.body.inbox], [[], { unread: 0, unseen: 0 }]);
  assert.equal(empty.etag, `"${empty.body.cursor}"`);
  assert.equal(empty.headers.get("cache-control"), "no-store");
  await here.send("user:ann", "one");
  const one = await poll(here, `?since=${empty.body.cursor}`);
  assert.deepEqual(titles(one), ["one"]);
  assert.deepEqual(titles(await poll(here, `?wait=0&since=${one.body.cursor}`)), []);
});

Deno.test("an answer has the headers that every answer has", async () => {
  await using here = await place({ env: { TIDINGS_ALLOWED_ORIGINS: "https://app.example.com" } });
  const { etag, headers } = await poll(here, "?wait=0", { origin: "https://app.example.com" });
  const same = await poll(here, "?wait=0", { origin: "https://app.example.com", "if-none-match": etag! });
  assert.equal(same.status, 304);
  for (const each of [headers, same.headers]) {
    assert.match(each.get("x-request-id") ?? "", /^[\w-]{8,}$/);
    assert.equal(each.get("x-content-type-options"), "nosniff");
    assert.equal(each.get("access-control-allow-origin"), "https://app.example.com");
  }
});

Deno.test("If-None-Match, alone or beside since, is answered with 304 while there is nothing new", async () => {
  await using here = await place();
  const { etag, body } = await poll(here, "?wait=0");
  for (const query of ["?wait=0", `?wait=0&since=${body.cursor}`]) {
    for (const tag of [etag!, `W/${etag}`]) {
      const same = await poll(here, query, { "if-none-match": tag });
      assert.deepEqual([same.status, same.body], [304, {}]);
      assert.match(same.etag ?? "", /^"\w+-\d+/);
    }
  }
  await here.send("user:ann", "one");
  // it may take a moment until it is read
  assert.deepEqual(titles(await poll(here, "", { "if-none-match": etag! })), ["one"]);
  assert.deepEqual(titles(await poll(here, "?wait=0", { "if-none-match": etag! })), ["one"]);
  const wrong = await poll(here, "?wait=0", { "if-none-match": '"x"' });
  assert.deepEqual([wrong.status, wrong.body.errors?.[0].field], [400, "If-None-Match"]);
});

Deno.test("a 304 brings the tag on, so that a quiet feed's cursor does not grow old", async () => {
  await using here = await place();
  const { etag } = await poll(here, "?wait=0");
  await here.send("news", "not for this one");
  await poll(here, "?since=earliest&topics=news");
  const quiet = await poll(here, "?wait=0", { "if-none-match": etag! });
  assert.equal(quiet.status, 304);
  assert.notEqual(quiet.etag, etag);
  await here.send("user:ann", "one");
  assert.deepEqual(titles(await poll(here, "", { "if-none-match": quiet.etag! })), ["one"]);
});

Deno.test("limit and wait hold, and are named when they are wrong", async () => {
  await using here = await place();
  await here.database
    .sql`insert into tidings.notification (topic, title) select 'all', n::text from generate_series(1, 250) n`;
  let cursor = "earliest";
  const got: string[] = [];
  const sizes: number[] = [];
  while (got.length < 250) {
    const page = await poll(here, `?limit=99&since=${cursor}`);
    got.push(...titles(page));
    sizes.push(page.body.items.length);
    cursor = page.body.cursor;
  }
  assert.deepEqual(got, Array.from({ length: 250 }, (_, n) => String(n + 1)));
  assert.ok(sizes.every((size) => size <= 99), String(sizes));
  for (
    const [field, values] of Object.entries({ limit: ["0", "1001", "x", "1.5"], wait: ["-1", "61", "x"] })
  ) {
    for (const value of values) {
      const wrong = await poll(here, `?${field}=${value}`);
      assert.deepEqual([wrong.status, wrong.body.errors?.[0].field], [400, field], value);
    }
  }
});

Deno.test("topics may come in one parameter or in several", async () => {
  await using here = await place();
  await here.send("news", "n");
  await here.send("climb:1", "c");
  for (
    const query of ["topics=news,climb:1", "topics=news&topics=climb:1", "topics=news&topics=&topics=climb:1"]
  ) {
    assert.deepEqual(titles(await poll(here, `?since=1h&${query}`)), ["n", "c"], query);
  }
});

Deno.test("a poll that nothing comes for ends empty when its time is over", async () => {
  const clock = jumpClock();
  await using here = await place({ clock });
  const headers = await here.as("ann");
  for (const [query, before, after] of [["", 24_000, 2_000], ["?wait=5", 4_000, 2_000]] as const) {
    await using raw = rawHttp(here.url, `GET /v1/feed${query} HTTP/1.1`, headers);
    await using witness = rawHttp(here.url, "GET /v1/feed?wait=0 HTTP/1.1", headers);
    await witness.until(/"cursor"/);
    await clock.jump(before);
    assert.equal(raw.text, "");
    await clock.jump(after);
    await raw.until(/\{"cursor":"[^"]+","items":\[\],"inbox":\{"unread":0,"unseen":0\}\}/);
  }
});

Deno.test("a poll ends with its token, and the next one is refused", async () => {
  const clock = jumpClock();
  await using here = await place({ clock });
  const headers = await here.as("ann", {}, 10);
  await using raw = rawHttp(here.url, "GET /v1/feed HTTP/1.1", headers);
  await using witness = rawHttp(here.url, "GET /v1/feed?wait=0 HTTP/1.1", headers);
  await witness.until(/"cursor"/);
  await clock.jump(11_000);
  await raw.until(/"items":\[\]/);
  const next = await fetch(`${here.url}/v1/feed`, { headers });
  assert.deepEqual([next.status, (await next.json()).code], [401, "token_expired"]);
  assert.equal(next.headers.get("www-authenticate"), "Bearer");
});

Deno.test("a cursor that cannot be used is 409 with why, and with the one to go on from", async () => {
  await using here = await place();
  const reset = await poll(here, "?since=otherepoch-1");
  assert.equal(reset.status, 409);
  assert.match(reset.headers.get("content-type") ?? "", /^application\/problem\+json/);
  assert.deepEqual([reset.body.code, reset.body.reason, reset.body.status], ["cursor_reset", "history", 409]);
  await here.send("user:ann", "after");
  assert.deepEqual(titles(await poll(here, `?since=${reset.body.cursor}`)), ["after"]);
});

Deno.test("a client that is gone frees its session at once, also one that was not let in yet", async () => {
  const held = brake();
  await using here = await place({ env: { TIDINGS_MAX_SESSIONS_PER_USER: "1" }, brake: held });
  await using other = await startGateway(here.database);
  const headers = await here.as("ann");
  /** Asked with a cursor that is of no use, which waits for nothing, not even for this gateway to read on. */
  const taken = async () => (await poll(here, "?wait=0&since=00000000-1")).status === 429;
  const freed = async () => {
    const since = performance.now();
    while (await taken());
    assert.ok(performance.now() - since < 20_000, "only when its time was over");
  };
  /** A poll that has the one session there is; asking for it may take it away, and then it is asked for again. */
  const occupied = async (query: string) => {
    for (;;) {
      const raw = rawHttp(here.url, `GET /v1/feed${query} HTTP/1.1`, headers);
      while (raw.text === "") if (await taken() && raw.text === "") return raw;
      await raw[Symbol.asyncDispose]();
    }
  };
  const waiting = await occupied("?wait=60");
  await waiting[Symbol.asyncDispose]();
  await freed();
  // one that has to wait for what this gateway has not read yet
  await held.pull();
  await here.send("user:ann", "beyond");
  const { cursor } = await (await fetch(`${other.url}/v1/feed?since=1h`, { headers })).json();
  const early = await occupied(`?wait=60&since=${cursor}`);
  await early[Symbol.asyncDispose]();
  held.release();
  await freed();
});

Deno.test("HEAD is a poll that does not wait and has no body", async () => {
  await using here = await place();
  const head = await fetch(`${here.url}/v1/feed`, { method: "HEAD", headers: await here.as("ann") });
  assert.deepEqual([head.status, await head.text()], [200, ""]);
  assert.match(head.headers.get("etag") ?? "", /^"\w+-\d+/);
});

Deno.test("curl polls", async () => {
  await using here = await place();
  await here.send("all", "for curl");
  const { authorization } = await here.as("ann");
  const { stdout } = await new Deno.Command("curl", {
    args: ["-s", "-H", `Authorization: ${authorization}`, `${here.url}/v1/feed?since=1h`],
  }).output();
  assert.deepEqual(titles({ body: JSON.parse(new TextDecoder().decode(stdout)) }), ["for curl"]);
});
