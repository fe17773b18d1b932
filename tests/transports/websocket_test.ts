import assert from "node:assert/strict";
import type { ServerFrame } from "../../src/protocol.ts";
import { brake } from "../helpers/gateway.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { rawHttp } from "../helpers/raw_http.ts";
import { dial, type Dialled } from "../helpers/websocket.ts";
import { type Place, place } from "./place.ts";

async function connect(
  { gateway, url }: Place,
  { user = "ann", subscribe = [] as string[], ttl = 600, query = "" } = {},
): Promise<Dialled> {
  const token = await gateway.token(user, { subscribe }, ttl);
  const client = await dial(`${url}/v1/feed${query}`, { headers: { authorization: `Bearer ${token}` } });
  await client.next("welcome");
  return client;
}

/** How the gateway ends it: the problem it names, and the close code. */
async function ending(client: Dialled): Promise<{ code: string; close: number; reason: string }> {
  const { problem } = await client.next("error");
  const { code, reason } = await client.closed;
  return { code: problem.code, close: code, reason };
}

function problemOf(frame: ServerFrame) {
  assert.equal(frame.op, "error", JSON.stringify(frame));
  return (frame as Extract<ServerFrame, { op: "error" }>).problem;
}

Deno.test("hello says who it is, from where on, and which topics; the query serves where hello is silent", async () => {
  await using here = await place();
  await here.database.sql`select tidings.send('climb:1', 'a')`;
  const token = await here.gateway.token("ann", { subscribe: ["climb:*"] });
  await using spoken = await dial(here.url);
  spoken.say({ op: "hello", token, since: "earliest", topics: ["climb:1"] });
  const welcome = await spoken.next("welcome");
  assert.deepEqual(
    [welcome.user, welcome.topics, welcome.inbox, welcome.heartbeat],
    ["ann", ["user:ann", "all", "climb:1"], { unread: 0, unseen: 0 }, 15],
  );
  assert.ok(Date.parse(welcome.expiresAt!) > Date.now());
  assert.equal((await spoken.next("items")).items[0]!.title, "a");
  await using written = await dial(`${here.url}/v1/feed?since=earliest&topics=climb:1`);
  written.say({ op: "hello", token });
  assert.deepEqual((await written.next("welcome")).topics, ["user:ann", "all", "climb:1"]);
  assert.equal((await written.next("items")).items[0]!.title, "a");
});

Deno.test("whoever does not say hello in time may come back", async () => {
  const clock = jumpClock();
  await using here = await place({ clock });
  await using client = await dial(here.url);
  await clock.jump(4_900);
  assert.equal(client.frames.length, 0);
  await clock.jump(200);
  assert.deepEqual(await ending(client), { code: "request_timeout", close: 4408, reason: "request_timeout" });
});

Deno.test("hello is 8 KiB at most, in one frame or in fragments that do not end", async () => {
  await using here = await place();
  const token = await here.gateway.token("ann");
  await using large = await dial(here.url);
  large.say({ op: "hello", token, topics: [], ref: "x".repeat(8_192) });
  assert.equal((await ending(large)).close, 1009);
  await using split = await dial(here.url);
  for (let part = 0; part < 3; part++) split.socket.send("x".repeat(4_000), { fin: false });
  assert.equal((await ending(split)).close, 1009);
});

Deno.test("before hello nothing else is heard", async () => {
  await using here = await place();
  await using client = await dial(here.url);
  client.say({ op: "ping" });
  assert.deepEqual(await ending(client), { code: "token_required", close: 4501, reason: "token_required" });
});

Deno.test("a frame that is no frame ends the session, before hello and after", async () => {
  await using here = await place();
  for (const nonsense of ["{", "[]", "null", '"ping"', '{"op":1}', '{"op":"dance"}', '{"op":"toString"}']) {
    for (const client of [await dial(here.url), await connect(here)]) {
      client.say(nonsense);
      assert.deepEqual(
        await ending(client),
        { code: "protocol_error", close: 4500, reason: "protocol_error" },
        nonsense,
      );
    }
  }
  for (const client of [await dial(here.url), await connect(here)]) {
    client.socket.send(new Uint8Array([1, 2, 3]));
    assert.equal((await ending(client)).close, 4500);
  }
});

Deno.test("wrong and unknown fields are named, the ref comes back, and the session goes on", async () => {
  await using here = await place();
  await using client = await connect(here);
  const fields = async (frame: object) =>
    problemOf(await client.ask(frame)).errors?.map(({ field }) => field);
  assert.deepEqual(await fields({ op: "subscribe", topics: ["a"], sinc: "now", x: 1 }), ["sinc", "x"]);
  assert.deepEqual(await fields({ op: "subscribe" }), ["topics"]);
  assert.deepEqual(await fields({ op: "subscribe", topics: ["a", 2] }), ["topics.1"]);
  assert.deepEqual(await fields({ op: "subscribe", topics: [] }), ["topics"]);
  assert.deepEqual(await fields({ op: "subscribe", topics: ["a b"] }), ["topics"]);
  assert.deepEqual(await fields({ op: "subscribe", topics: ["all"], since: "tomorrow" }), ["since"]);
  assert.deepEqual(await fields({ op: "ping", topics: [] }), ["topics"]);
  assert.deepEqual(await client.ask({ op: "ping" }), { op: "pong", ref: "ask 7" });
});

Deno.test("a ref that is no string is an error without one", async () => {
  await using here = await place();
  await using client = await connect(here);
  client.say({ op: "ping", ref: 7 });
  const error = await client.next("error");
  assert.deepEqual([error.ref, error.problem.errors?.[0]?.field], [undefined, "ref"]);
});

Deno.test("hello after the welcome ends the session", async () => {
  await using here = await place();
  await using client = await connect(here);
  client.say({ op: "hello", token: await here.gateway.token("ann") });
  assert.equal((await ending(client)).close, 4500);
});

Deno.test("auth keeps the session beyond its token's end, for the same person and rights that cover its topics", async () => {
  const clock = jumpClock();
  await using here = await place({ clock });
  await using client = await connect(here, { ttl: 12, subscribe: ["climb:*"], query: "?topics=climb:1" });
  const auth = async (user: string, subscribe: string[], ttl: number) =>
    await client.ask({ op: "auth", token: await here.gateway.token(user, { subscribe }, ttl) });
  assert.equal(problemOf(await auth("bob", ["climb:*"], 60)).code, "forbidden");
  assert.equal(problemOf(await auth("ann", ["climb:*"], -60)).code, "token_expired");
  assert.equal(problemOf(await client.ask({ op: "auth", token: "x" })).code, "invalid_token");
  const narrow = problemOf(await auth("ann", ["news"], 60));
  assert.deepEqual([narrow.code, narrow.errors?.[0]?.field], ["forbidden", "topics"]);
  assert.equal((await auth("ann", ["climb:*"], 30)).op, "ok");
  await clock.jump(14_000);
  assert.equal((await client.ask({ op: "ping" })).op, "pong");
  await client.ask({ op: "unsubscribe", topics: ["climb:1"] });
  assert.equal((await auth("ann", ["news"], 30)).op, "ok");
  assert.equal(problemOf(await client.ask({ op: "subscribe", topics: ["climb:1"] })).code, "forbidden");
  await clock.jump(15_000);
  assert.equal((await client.ask({ op: "ping" })).op, "pong");
  await clock.jump(16_000);
  assert.deepEqual(await ending(client), { code: "token_expired", close: 4401, reason: "token_expired" });
});

Deno.test("subscribe adds topics from here on, or from further back; unsubscribe takes them away", async () => {
  await using here = await place();
  const { sql } = here.database;
  const send = (topic: string, title: string) => sql`select tidings.send(${topic}, ${title})`;
  await send("climb:1", "old");
  await send("climb:2", "older");
  await using client = await connect(here, { subscribe: ["climb:*"] });
  assert.equal((await client.ask({ op: "subscribe", topics: ["climb:1"] })).op, "ok");
  await send("climb:1", "new");
  assert.deepEqual((await client.next("items")).items.map(({ title }) => title), ["new"]);
  client.say({ op: "subscribe", topics: ["climb:2", "climb:1"], since: "earliest", ref: "back" });
  assert.deepEqual((await client.next("items")).items.map(({ title }) => title), ["older"]);
  assert.deepEqual(await client.next("ok"), { op: "ok", ref: "back" });
  await client.ask({ op: "unsubscribe", topics: ["climb:1"] });
  await send("climb:1", "unseen");
  await send("climb:2", "seen");
  assert.deepEqual((await client.next("items")).items.map(({ title }) => title), ["seen"]);
  const refused = problemOf(await client.ask({ op: "subscribe", topics: ["climb:3", "news"] }));
  assert.deepEqual([refused.code, refused.errors?.length], ["forbidden", 1]);
  for (const topic of ["user:ann", "all"]) {
    const always = problemOf(await client.ask({ op: "unsubscribe", topics: [topic] }));
    assert.deepEqual([always.code, always.errors?.[0]?.field], ["invalid_request", "topics"]);
  }
  const reset = problemOf(await client.ask({ op: "subscribe", topics: ["climb:4"], since: "other-1" }));
  assert.deepEqual([reset.code, reset.reason], ["cursor_reset", "history"]);
  await send("climb:4", "from here on");
  assert.deepEqual((await client.next("items")).items.map(({ title }) => title), ["from here on"]);
});

Deno.test("a topic that is subscribed to from now on brings nothing that was committed before", async () => {
  const held = brake();
  await using here = await place({ brake: held });
  await using client = await connect(here, { subscribe: ["climb:*"] });
  await held.pull();
  await here.send("climb:1", "before");
  await here.send("user:ann", "mine");
  client.say({ op: "subscribe", topics: ["climb:1"], ref: "s" });
  // two ways to the database, so that the question has been heard by then
  for (let way = 0; way < 2; way++) await (await fetch(`${here.url}/readyz`)).text();
  held.release();
  await client.next("ok");
  await here.send("climb:1", "after");
  const got: (string | undefined)[] = [];
  while (!got.includes("after")) got.push(...(await client.next("items")).items.map(({ title }) => title));
  assert.deepEqual(got.filter((title) => title !== "mine"), ["after"]);
});

Deno.test("while a backfill runs the cursor stays where it was: who is cut then gets nothing twice", async () => {
  await using here = await place();
  const { sql } = here.database;
  const token = await here.gateway.token("ann", { subscribe: ["climb:*"] });
  const headers = { authorization: `Bearer ${token}` };
  await sql`insert into tidings.notification (topic, title) select 'climb:1', n::text from generate_series(1, 500) n`;
  await using client = await dial(`${here.url}/v1/feed?since=earliest`, { headers });
  await client.next("welcome");
  await sql`select tidings.send('all', 'mine')`;
  let { cursor } = await client.next("items");
  client.say({ op: "subscribe", topics: ["climb:1"], since: "earliest", ref: "back" });
  for (let got = 0; got < 500;) {
    const frame = await client.next("items");
    got += frame.items.length;
    cursor = frame.cursor;
    await using second = await dial(`${here.url}/v1/feed?since=${cursor}`, { headers });
    await second.next("welcome");
    await sql`select tidings.send('all', 'more')`;
    assert.deepEqual((await second.next("items")).items.map(({ title }) => title), ["more"]);
    if (got >= 200) break;
  }
});

Deno.test("what many ask at once is answered in order; more than the rate is too many", async () => {
  await using here = await place();
  await using client = await connect(here);
  for (let n = 0; n < 150; n++) client.say({ op: "ping", ref: String(n) });
  for (let n = 0; n < 150; n++) assert.equal((await client.next("pong")).ref, String(n));
  for (let n = 0; n < 300; n++) client.say({ op: "ping" });
  assert.deepEqual(await ending(client), {
    code: "too_many_requests",
    close: 4429,
    reason: "too_many_requests",
  });
});

Deno.test("a clock that is set back costs a client nothing of its rate", async () => {
  const clock = jumpClock();
  let back = 0;
  await using here = await place({ clock: { ...clock, now: () => clock.now() - back } });
  await using client = await connect(here);
  await client.ask({ op: "ping" });
  back = 60_000;
  for (let n = 0; n < 10; n++) assert.equal((await client.ask({ op: "ping" })).op, "pong");
});

Deno.test("a message of more than 512 KiB is too large", async () => {
  await using here = await place();
  await using client = await connect(here);
  client.say("x".repeat(512 * 1024 + 1));
  assert.equal((await client.closed).code, 1009);
});

Deno.test("whoever came with credentials may send at once, however much", async () => {
  await using here = await place();
  const token = await here.gateway.token("ann");
  for (let round = 0; round < 5; round++) {
    await using client = await dial(here.url, { headers: { authorization: `Bearer ${token}` } });
    const answer = await client.ask({ op: "publish", to: "nowhere", body: "x".repeat(60_000) });
    assert.ok(["forbidden", "not_found"].includes(problemOf(answer).code), JSON.stringify(answer));
  }
});

Deno.test("what is sent together with hello is heard after the welcome", async () => {
  await using here = await place();
  const token = await here.gateway.token("ann");
  await using client = await dial(here.url);
  client.say({ op: "hello", token });
  client.say({ op: "publish", to: "nowhere", body: "x".repeat(60_000), ref: "p" });
  client.say({ op: "ping", ref: "q" });
  await client.next("welcome");
  assert.equal((await client.next("error")).ref, "p");
  assert.equal((await client.next("pong")).ref, "q");
});

Deno.test("tidings.v1 is spoken to whoever offers it or nothing; others are told what there is", async () => {
  await using here = await place();
  const headers = { authorization: `Bearer ${await here.gateway.token("ann")}` };
  await using offered = await dial(here.url, { headers, protocols: ["other", "tidings.v1"] });
  assert.equal(offered.socket.protocol, "tidings.v1");
  await offered.next("welcome");
  await using silent = await dial(here.url, { headers });
  assert.equal(silent.socket.protocol, "");
  await silent.next("welcome");
  await assert.rejects(
    dial(here.url, { headers, protocols: ["graphql-ws"] }),
    /Unexpected server response: 400/,
  );
  await using raw = rawHttp(here.url, "GET /v1/feed HTTP/1.1", {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Protocol": "graphql-ws",
  });
  assert.match(await raw.closed, /"code":"invalid_request".*"field":"Sec-WebSocket-Protocol"/);
  await assert.rejects(dial(`${here.url}/v1/elsewhere`, { headers }), /Unexpected server response: 404/);
});

Deno.test("a cookie counts with the Origin of a page that may connect, a ticket once, a token in the URL never", async () => {
  await using here = await place({
    env: { TIDINGS_COOKIE: "session", TIDINGS_ALLOWED_ORIGINS: "https://app.example.com" },
  });
  const token = await here.gateway.token("ann");
  const cookie = `session=${token}`;
  await using page = await dial(here.url, { headers: { cookie }, origin: "https://app.example.com" });
  assert.equal((await page.next("welcome")).user, "ann");
  for (const origin of ["https://evil.example.com", "null"]) {
    await using foreign = await dial(here.url, { headers: { cookie }, origin });
    assert.deepEqual((await ending(foreign)).close, 4503);
  }
  await using unsaid = await dial(here.url, { headers: { cookie } });
  assert.equal((await ending(unsaid)).code, "origin_not_allowed");
  const answer = await fetch(`${here.url}/v1/tickets`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  const { ticket } = await answer.json();
  await using first = await dial(`${here.url}/v1/feed?ticket=${ticket}`);
  assert.equal((await first.next("welcome")).user, "ann");
  await using second = await dial(`${here.url}/v1/feed?ticket=${ticket}`);
  assert.deepEqual(await ending(second), { code: "invalid_token", close: 4501, reason: "invalid_token" });
  await using spoken = await dial(`${here.url}/v1/feed?token=${token}`);
  assert.equal((await ending(spoken)).code, "invalid_request");
});

Deno.test("a hello after a cookie begins the session anew as it says, for the same user only; ?hello=1 passes cookies over", async () => {
  await using here = await place({ env: { TIDINGS_COOKIE: "session" } });
  await here.database.sql`select tidings.send('climb:1', 'a')`;
  const token = await here.gateway.token("ann", { subscribe: ["climb:*"] });
  const cookie = (value: string) => ({
    headers: { cookie: `session=${value}`, "sec-fetch-site": "same-origin" },
    origin: here.gateway.url,
  });
  await using ann = await dial(here.url, cookie(await here.gateway.token("ann")));
  assert.deepEqual((await ann.next("welcome")).topics, ["user:ann", "all"]);
  ann.say({ op: "hello", token, since: "earliest", topics: ["climb:1"] });
  assert.deepEqual((await ann.next("welcome")).topics, ["user:ann", "all", "climb:1"]);
  assert.equal((await ann.next("items")).items[0]!.title, "a");
  await here.database.sql`select tidings.send('all', 'once')`;
  assert.deepEqual((await ann.next("items")).items.map(({ title }) => title), ["once"]);
  assert.equal((await ann.ask({ op: "ping" })).op, "pong");
  assert.equal(ann.frames.filter(({ op }) => op === "items").length, 0);
  ann.say({ op: "hello", token });
  assert.equal((await ending(ann)).code, "protocol_error");

  await using other = await dial(here.url, cookie(await here.gateway.token("bob")));
  await other.next("welcome");
  other.say({ op: "hello", token });
  assert.deepEqual(await ending(other), { code: "forbidden", close: 4503, reason: "forbidden" });

  for (const stale of [await here.gateway.token("bob"), "not a token"]) {
    await using said = await dial(`${here.url}/v1/feed?hello=1`, cookie(stale));
    said.say({ op: "hello", token });
    assert.equal((await said.next("welcome")).user, "ann");
  }
});

Deno.test("every heartbeat brings the cursor and a ping; who answers none is given up", async () => {
  const clock = jumpClock();
  await using here = await place({ clock });
  await using well = await connect(here);
  await using dead = await connect(here);
  dead.socket.pause();
  const start = (await well.ask({ op: "ping" })).op;
  assert.equal(start, "pong");
  const gone = Promise.withResolvers<void>();
  dead.socket.once("close", () => gone.resolve());
  for (let beat = 0; beat < 5; beat++) {
    const pinged = new Promise((resolve) => well.socket.once("ping", resolve));
    await clock.jump(15_000);
    await pinged;
    await well.next("cursor");
    await well.ask({ op: "ping" });
  }
  dead.socket.resume();
  await gone.promise;
});

Deno.test("a person's sessions are counted, and one that ends makes room", async () => {
  await using here = await place({ env: { TIDINGS_MAX_SESSIONS_PER_USER: "1" } });
  const first = await connect(here);
  const headers = { authorization: `Bearer ${await here.gateway.token("ann")}` };
  await using second = await dial(here.url, { headers });
  assert.deepEqual((await ending(second)).close, 4429);
  await first[Symbol.asyncDispose]();
  await using other = await connect(here, { user: "bob" });
  await other.ask({ op: "ping" });
  await using third = await connect(here);
  await third.ask({ op: "ping" });
});
