import assert from "node:assert/strict";
import { Socket } from "node:net";
import type { LogStore } from "../../src/database/log_store.ts";
import { openWebSocket } from "../conformance/websocket.ts";
import { numbers } from "../conformance/rows.ts";
import { has, titles } from "../conformance/client.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { rawHttp } from "../helpers/raw_http.ts";
import { dial } from "../helpers/websocket.ts";
import { type Place, place } from "./place.ts";

const ROWS = 5_000;
const BODY = 10_000;
/** What one client may cost: the buffer and the page that went beyond it, twice over. */
const BOUND = 2 * (256 * 1024 + 1024 * 1024);
/** What the kernel takes on loopback besides: its largest send and receive buffers. */
const KERNEL = 4 * 1024 * 1024 + 6 * 1024 * 1024;

/** The most bytes that ever waited in one socket of this process. */
function watchBuffers(): { largest: number } & Disposable {
  const { write } = Socket.prototype;
  const seen = {
    largest: 0,
    [Symbol.dispose]() {
      Socket.prototype.write = write;
    },
  };
  Socket.prototype.write = function (this: Socket, ...args: Parameters<typeof write>) {
    const more = write.apply(this, args);
    seen.largest = Math.max(seen.largest, this.writableLength);
    return more;
  } as typeof write;
  return seen;
}

/** Counts the characters that were read from the database for one person. */
function countReads(topic: string) {
  const counted = { bytes: 0 };
  const store = (store: LogStore): LogStore => ({
    ...store,
    async readTopics(topics, ...rest) {
      const page = await store.readTopics(topics, ...rest);
      if (topics.includes(topic)) counted.bytes += page.rows.reduce((sum, row) => sum + row.json.length, 0);
      return page;
    },
  });
  return { counted, store };
}

async function fill({ database }: Pick<Place, "database">, from: number, until: number): Promise<void> {
  for (let start = from; start < until; start += 500) {
    await database.sql`insert into tidings.notification (topic, title, body)
      select 'all', n::text, repeat('x', ${BODY}) from generate_series(${start}::int, ${
      Math.min(until, start + 500) - 1
    }::int) n`;
  }
}

/** Items of a raw stream or of raw frames, in the order of their titles. */
function titlesIn(text: string): string[] {
  // a piece of the answer may end within a title
  const whole = text.replaceAll(/\r\n[0-9a-f]+\r\n/g, "");
  return [...whole.matchAll(/"type":"notification","title":"(\d+)"/g)].map(([, title]) => title!);
}

Deno.test("a WebSocket that reads nothing costs one buffer, others notice nothing, and it gets all when it reads again", async () => {
  const { counted, store } = countReads("user:slow");
  using buffers = watchBuffers();
  await using here = await place({ store });
  const slow = await openWebSocket({ url: here.url, token: await here.gateway.token("slow") });
  const quick = await openWebSocket({ url: here.url, token: await here.gateway.token("quick") });
  slow.socket.pause();
  await fill(here, 0, ROWS);
  await has(quick, ROWS);
  assert.deepEqual(titles(quick), numbers(ROWS));
  assert.ok(slow.received.length < ROWS / 2, `it reads nothing, and got ${slow.received.length}`);
  assert.ok(counted.bytes < KERNEL + BOUND, `${counted.bytes} bytes were read for it`);
  assert.ok(buffers.largest < BOUND, `${buffers.largest} bytes waited in one socket`);
  slow.socket.resume();
  await has(slow, ROWS);
  assert.deepEqual(titles(slow), numbers(ROWS));
  assert.ok(buffers.largest < BOUND, `${buffers.largest} bytes waited in one socket`);
  await Promise.all([slow.cut(), quick.cut()]);
});

Deno.test("a stream that reads nothing costs one buffer, others notice nothing, and it gets all when it reads again", async () => {
  const { counted, store } = countReads("user:slow");
  using buffers = watchBuffers();
  await using here = await place({ store });
  await using slow = rawHttp(here.url, "GET /v1/feed HTTP/1.1", {
    accept: "text/event-stream",
    ...await here.as("slow"),
  });
  await slow.until(/tidings\.welcome/);
  slow.socket.pause();
  const quick = await openWebSocket({ url: here.url, token: await here.gateway.token("quick") });
  await fill(here, 0, ROWS);
  await has(quick, ROWS);
  assert.ok(titlesIn(slow.text).length < ROWS / 2);
  assert.ok(counted.bytes < KERNEL + BOUND, `${counted.bytes} bytes were read for it`);
  assert.ok(buffers.largest < BOUND, `${buffers.largest} bytes waited in one socket`);
  slow.socket.resume();
  await slow.until(new RegExp(`"title":"${ROWS - 1}".*\\n\\n`));
  assert.deepEqual(titlesIn(slow.text), numbers(ROWS));
  await quick.cut();
});

Deno.test("a poll whose answer is not read costs that answer", async () => {
  const { counted, store } = countReads("user:slow");
  using buffers = watchBuffers();
  await using here = await place({ store });
  await fill(here, 0, 1_000);
  await using slow = rawHttp(
    here.url,
    "GET /v1/feed?since=earliest&limit=1000 HTTP/1.1",
    await here.as("slow"),
  );
  slow.socket.pause();
  const quick = await openWebSocket({
    url: here.url,
    token: await here.gateway.token("quick"),
    since: "earliest",
  });
  await has(quick, 1_000);
  slow.socket.resume();
  await slow.until(/"inbox":\{/);
  const got = titlesIn(slow.text);
  assert.ok(got.length > 50 && got.length <= 120, `${got.length} of 10 kB each in an answer of about 1 MiB`);
  assert.deepEqual(got, numbers(got.length));
  assert.ok(counted.bytes < BOUND && buffers.largest < BOUND);
  await quick.cut();
});

for (const kind of ["WebSocket", "stream", "poll"] as const) {
  Deno.test(`a ${kind} that reads nothing for 30 s is cut, and its session is free`, async () => {
    const clock = jumpClock();
    await using here = await place({ clock, env: { TIDINGS_MAX_SESSIONS_PER_USER: "1" } });
    const quick = await openWebSocket({ url: here.url, token: await here.gateway.token("quick") });
    const headers = await here.as("slow");
    let socket: { pause(): unknown; resume(): unknown; once(event: "close", run: () => void): unknown };
    if (kind === "WebSocket") {
      const client = await dial(here.url, { headers });
      await client.next("welcome");
      // not the socket below it, which ws itself lets go on
      socket = client.socket;
    } else {
      const accept = kind === "stream" ? "text/event-stream" : "application/json";
      // an answer of 5 MB, which no kernel takes from somebody who does not read
      const raw = rawHttp(here.url, "GET /v1/feed?limit=1000 HTTP/1.1", { accept, ...headers });
      socket = raw.socket;
      if (kind === "stream") await raw.until(/tidings\.welcome/);
    }
    socket.pause();
    const gone = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    if (kind === "poll") {
      await here.database.sql`insert into tidings.notification (topic, title, data)
        select 'user:slow', n::text, to_jsonb(repeat('x', 200000)) from generate_series(1, 200) n`;
    }
    await fill(here, 0, 2_000);
    await has(quick, 2_000);
    await clock.jump(20_000);
    await quick.ask({ op: "ping" });
    if (kind !== "poll") {
      const early = await fetch(`${here.url}/v1/feed?wait=0`, { headers });
      assert.equal(early.status, 429);
      await early.body?.cancel();
    }
    await clock.jump(13_000);
    await quick.ask({ op: "ping" });
    for (;;) {
      const after = await fetch(`${here.url}/v1/feed?wait=0`, { headers });
      await after.body?.cancel();
      if (after.status === 200) break;
    }
    socket.resume();
    await gone;
    assert.deepEqual(titles(quick), numbers(2_000));
    await quick.cut();
  });
}
