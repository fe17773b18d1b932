import assert from "node:assert/strict";
import { EventSource } from "eventsource";
import { jumpClock } from "../helpers/jump_clock.ts";
import { rawHttp } from "../helpers/raw_http.ts";
import { place } from "./place.ts";

const EVENTS = { accept: "text/event-stream" };

/** An EventSource, what it asked, and what it was answered. */
function source(url: string, headers: Record<string, string> = {}) {
  const asked: (string | undefined)[] = [];
  const answered: number[] = [];
  const events = new EventSource(url, {
    async fetch(address, init) {
      asked.push((init.headers as unknown as Record<string, string>)["Last-Event-ID"]);
      const response = await fetch(
        address,
        { ...init, headers: { ...init.headers, ...headers } } as RequestInit,
      );
      answered.push(response.status);
      if (response.ok) return response;
      await response.body?.cancel();
      return new Response(null, { status: response.status });
    },
  });
  return {
    events,
    asked,
    answered,
    next: (name: string) =>
      new Promise<MessageEvent>((resolve) =>
        events.addEventListener(name, (event) => resolve(event as MessageEvent), { once: true })
      ),
    /** Resolves when it has given up. */
    ended: new Promise<void>((resolve) =>
      events.addEventListener("error", () => events.readyState === EventSource.CLOSED && resolve())
    ),
  };
}

Deno.test("a stream begins with its headers, when to come back, and the welcome; items are events of their type", async () => {
  await using here = await place();
  await using stream = rawHttp(here.url, "GET /v1/feed HTTP/1.1", { ...EVENTS, ...await here.as("ann") });
  const [head] = await stream.until(/^HTTP.*?\r\n\r\n/s);
  assert.match(head, /^HTTP\/1\.1 200 /);
  assert.match(head, /\r\ncontent-type: text\/event-stream; charset=utf-8\r\n/i);
  assert.match(head, /\r\ncache-control: no-cache, no-transform\r\n/i);
  assert.match(head, /\r\nx-accel-buffering: no\r\n/i);
  assert.match(head, /\r\nconnection: close\r\n/i);
  const [, id, data = ""] = await stream.until(
    /\r\n\r\n\w+\r\nretry: 2000\nid: (\S+)\nevent: tidings\.welcome\ndata: (\{.*\})\n\n/,
  );
  const { cursor, user, topics, heartbeat } = JSON.parse(data);
  assert.deepEqual([cursor, user, topics, heartbeat], [id, "ann", ["user:ann", "all"], 15]);
  await here.database.sql`select tidings.send('user:ann', 'one', type => 'match.found')`;
  const [, place1, item = ""] = await stream.until(/\nevent: match\.found\nid: (\S+)\ndata: (\{.*\})\n\n/);
  assert.equal(JSON.parse(item).title, "one");
  assert.notEqual(place1, id);
});

Deno.test("between events an id alone moves Last-Event-ID, and makes no event", async () => {
  const clock = jumpClock();
  await using here = await place({ clock });
  const headers = await here.as("ann", {}, 40);
  await using raw = rawHttp(here.url, "GET /v1/feed HTTP/1.1", { ...EVENTS, ...headers });
  const [, begun] = await raw.until(/id: (\S+)\nevent: tidings.welcome/);
  const client = source(`${here.url}/v1/feed`, headers);
  await client.next("tidings.welcome");
  const witness = source(`${here.url}/v1/feed?topics=news`, await here.as("bob", { subscribe: ["news"] }));
  await witness.next("tidings.welcome");
  const seen = witness.next("notification");
  await here.send("news", "moves the cursor");
  await seen;
  let heard = 0;
  client.events.onmessage = () => heard++;
  await clock.jump(16_000);
  // a beat may have come before anything was sent
  const [, moved] = await raw.until(new RegExp(`\\nid: (?!${begun}\\n)(\\S+)\\n\\n`));
  // the token ends, and with it the stream: it comes back with what it has
  const expired = client.next("tidings.error");
  await clock.jump(25_000);
  await expired;
  await client.ended;
  assert.equal(heard, 0);
  assert.equal(client.asked.length, 2);
  assert.match(client.asked[1]!, new RegExp(`^${moved!.split("-")[0]}-`));
  assert.ok(!begun!.startsWith(client.asked[1]!), `${client.asked[1]} is where it began`);
  witness.events.close();
});

Deno.test("Last-Event-ID wins over since; an empty one is none; a wrong one is named", async () => {
  await using here = await place();
  await here.send("user:ann", "first");
  const headers = { ...EVENTS, ...await here.as("ann") };
  await using stream = rawHttp(here.url, "GET /v1/feed?since=earliest HTTP/1.1", headers);
  const [, id = ""] = await stream.until(/\nid: (\S+)\ndata: .*"first"/);
  await here.send("user:ann", "second");
  await using later = rawHttp(here.url, "GET /v1/feed?since=earliest HTTP/1.1", {
    ...headers,
    "Last-Event-ID": id,
  });
  await later.until(/"second"/);
  assert.ok(!later.text.includes('"first"'));
  await using empty = rawHttp(here.url, "GET /v1/feed?since=earliest HTTP/1.1", {
    ...headers,
    "Last-Event-ID": "",
  });
  await empty.until(/"first".*"second"/s);
  const wrong = await fetch(`${here.url}/v1/feed`, { headers: { ...headers, "last-event-id": "no cursor" } });
  const { code, errors } = await wrong.json();
  assert.deepEqual([wrong.status, code, errors[0].field], [400, "invalid_request", "Last-Event-ID"]);
});

Deno.test("a refusal is problem+json with its status, and a stream never begins", async () => {
  await using here = await place();
  const refused = async (query: string, headers: Record<string, string>) => {
    const answer = await fetch(`${here.url}/v1/feed${query}`, { headers: { ...EVENTS, ...headers } });
    assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/);
    return [answer.status, (await answer.json()).code];
  };
  assert.deepEqual(await refused("", {}), [401, "token_required"]);
  assert.deepEqual(await refused("?topics=news", await here.as("ann")), [403, "forbidden"]);
  assert.deepEqual(await refused("?since=x", await here.as("ann")), [400, "invalid_request"]);
});

Deno.test("what Accept says decides between a stream and a poll", async () => {
  await using here = await place();
  const headers = await here.as("ann");
  const type = async (accept: string) => {
    await using raw = rawHttp(here.url, "GET /v1/feed?wait=0 HTTP/1.1", { ...headers, accept });
    const [, found] = await raw.until(/content-type: ([^;\r]*)/i);
    return found;
  };
  assert.equal(await type("text/event-stream"), "text/event-stream");
  assert.equal(await type("application/json;q=0.5, Text/Event-Stream; q=0.9"), "text/event-stream");
  assert.equal(await type("text/event-stream;q=0"), "application/json");
  assert.equal(await type("*/*"), "application/json");
});

Deno.test("HTTP/1.0 gets a stream that ends with its connection; HEAD gets a head", async () => {
  await using here = await place();
  const headers = { ...EVENTS, ...await here.as("ann") };
  await using old = rawHttp(here.url, "GET /v1/feed HTTP/1.0", headers);
  await old.until(/\r\n\r\nretry: 2000\n/);
  await here.send("user:ann", "plain");
  await old.until(/\ndata: [^\n]*"plain"[^\n]*\n\n/);
  const head = await fetch(`${here.url}/v1/feed`, { method: "HEAD", headers });
  assert.deepEqual([head.status, await head.text()], [200, ""]);
  assert.match(head.headers.get("etag") ?? "", /^"\w+-\d+/);
});

Deno.test("at its token's end an EventSource is told why, asks once more, and gives up", async () => {
  const clock = jumpClock();
  await using here = await place({ clock });
  const client = source(`${here.url}/v1/feed`, await here.as("ann", {}, 10));
  await client.next("tidings.welcome");
  const expired = client.next("tidings.error");
  await clock.jump(11_000);
  assert.equal(JSON.parse((await expired).data).code, "token_expired");
  await client.ended;
  assert.deepEqual(client.answered, [200, 401]);
});

Deno.test("a ticket opens one stream", async () => {
  await using here = await place();
  const answer = await fetch(`${here.url}/v1/tickets`, { method: "POST", headers: await here.as("ann") });
  const { ticket } = await answer.json();
  const client = source(`${here.url}/v1/feed?ticket=${ticket}`);
  assert.equal(JSON.parse((await client.next("tidings.welcome")).data).user, "ann");
  const again = source(`${here.url}/v1/feed?ticket=${ticket}`);
  await again.ended;
  assert.deepEqual(again.answered, [401]);
  client.events.close();
});

Deno.test("a page of an allowed origin may read the stream", async () => {
  await using here = await place({ env: { TIDINGS_ALLOWED_ORIGINS: "https://app.example.com" } });
  const headers = { ...EVENTS, ...await here.as("ann"), Origin: "https://app.example.com" };
  await using stream = rawHttp(here.url, "GET /v1/feed HTTP/1.1", headers);
  const [head] = await stream.until(/^HTTP.*?\r\n\r\n/s);
  assert.match(head, /\r\naccess-control-allow-origin: https:\/\/app\.example\.com\r\n/i);
});

Deno.test("a stream that its client leaves makes room for another", async () => {
  await using here = await place({ env: { TIDINGS_MAX_SESSIONS_PER_USER: "1" } });
  const headers = { ...EVENTS, ...await here.as("ann") };
  const first = rawHttp(here.url, "GET /v1/feed HTTP/1.1", headers);
  await first.until(/tidings\.welcome/);
  const refused = await fetch(`${here.url}/v1/feed`, { headers });
  assert.deepEqual([refused.status, (await refused.json()).code], [429, "too_many_sessions"]);
  assert.equal(refused.headers.get("retry-after"), "5");
  await first[Symbol.asyncDispose]();
  for (;;) {
    await using next = rawHttp(here.url, "GET /v1/feed HTTP/1.1", headers);
    const [, status] = await next.until(/^HTTP\/1\.1 (\d+)/);
    if (status === "200") break;
  }
});

Deno.test("curl reads a stream", async () => {
  await using here = await place();
  const { authorization } = await here.as("ann");
  const curl = new Deno.Command("curl", {
    args: [
      "-sN",
      "-H",
      `Authorization: ${authorization}`,
      "-H",
      "Accept: text/event-stream",
      `${here.url}/v1/feed`,
    ],
    stdout: "piped",
  }).spawn();
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of curl.stdout) {
    const welcome = !text.includes("tidings.welcome");
    text += decoder.decode(chunk, { stream: true });
    if (welcome && text.includes("tidings.welcome")) await here.send("all", "for curl");
    if (/^data: .*"for curl".*\n\n/m.test(text)) break;
  }
  curl.kill();
  await curl.status;
});
