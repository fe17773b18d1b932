import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../src/clock.ts";
import { has, titles } from "../conformance/client.ts";
import { openEvents } from "../conformance/sse.ts";
import { numbers } from "../conformance/rows.ts";
import { openWebSocket } from "../conformance/websocket.ts";
import { startGateway, type TestGateway } from "../helpers/gateway.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { rawHttp } from "../helpers/raw_http.ts";
import { dial } from "../helpers/websocket.ts";
import { place } from "./place.ts";

Deno.test("stopping tells clients to come back, each at a moment of its own, and they go on elsewhere without a gap", async () => {
  const clock = jumpClock();
  let number = 0;
  // spread evenly, so that the test knows when
  const chance = () => (number++ % 10) / 10;
  await using here = await place({ clock, chance, env: { TIDINGS_DRAIN: "100s" } });
  await using other = await startGateway(here.database);
  const token = await here.gateway.token("ann");
  const open = [...Array(5).fill(openWebSocket), ...Array(5).fill(openEvents)] as (typeof openWebSocket)[];
  const clients = await Promise.all(open.map((one) => one({ url: here.url, token })));
  await here.send("all", "0");
  await Promise.all(clients.map((client) => has(client, 1)));
  number = 0;
  const stopped = here.gateway.stop();
  const told = () =>
    clients.filter((client) => client.told.some(({ event }) => event === "reconnect")).length;
  for (let turn = 1; turn <= 10; turn++) {
    while (told() < turn) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(told(), turn);
    // those that stay still get what comes
    await here.send("all", String(turn));
    for (const client of clients) {
      if (!client.told.some(({ event }) => event === "reconnect")) await has(client, turn + 1);
    }
    await clock.jump(10_000);
  }
  for (const [index, client] of clients.entries()) {
    if (index < 5) await client.until("the close", () => client.told.some(({ event }) => event === "closed"));
    await client.cut();
    const moved = await open[index]!({ url: other.url, token, since: client.cursor });
    await has(moved, 11 - client.received.length);
    assert.deepEqual([...titles(client), ...titles(moved)], numbers(11));
    const close = client.told.find((told) => told.event === "closed");
    if (index < 5) assert.equal(close?.code, 1012);
    await moved.cut();
  }
  await stopped;
});

Deno.test("stopping answers waiting polls, and refuses what comes on open connections with when to come back", async () => {
  const clock = jumpClock();
  await using here = await place({ clock, env: { TIDINGS_DRAIN: "10s" }, limits: { idleGrace: 60_000 } });
  const headers = await here.as("ann");
  await using kept = rawHttp(here.url, "GET /v1/feed?wait=0 HTTP/1.1", headers);
  await kept.until(/"inbox"/);
  await using silent = await dial(here.url);
  await using listening = await dial(here.url, { headers });
  await listening.next("welcome");
  const poll = rawHttp(here.url, "GET /v1/feed HTTP/1.1", headers);
  await sessions(here, 2);
  const stopped = here.gateway.stop();
  kept.socket.write(`GET /v1/feed HTTP/1.1\r\nHost: x\r\nAuthorization: ${headers.authorization}\r\n\r\n`);
  await kept.until(/HTTP\/1\.1 503 .*retry-after: 1\r\n.*"code":"restarting"/is);
  silent.say({ op: "hello", token: await here.gateway.token("ann") });
  const { problem } = await silent.next("error");
  assert.deepEqual([problem.code, problem.retryAfter], ["restarting", 1]);
  assert.equal((await silent.closed).code, 1012);
  await clock.jump(6_000);
  assert.match(await poll.closed, /^HTTP\/1\.1 200 .*\r\nconnection: close\r\n.*"items":\[\]/is);
  await listening.next("reconnect");
  assert.equal((await listening.closed).code, 1012);
  await clock.jump(61_000);
  await stopped;
});

Deno.test("stopping does not wait for a log that cannot be read", async () => {
  // deadlines of statements that were asked before would come in hours
  const clock: Clock = {
    ...systemClock,
    after: (ms, run) => systemClock.after(ms > 2_000 ? ms * 10_000 : ms, run),
  };
  await using here = await place({ clock });
  const lock = await here.database.connect({ max: 1 }).reserve();
  await lock`begin`;
  await lock`lock table tidings.notification in access exclusive mode`;
  await here.database.sql`select pg_notify('tidings', '')`;
  for (let waiting = 0; waiting === 0;) {
    const [row] = await here.database.sql`
      select count(*)::int as waiting from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and application_name like 'tidings%'`;
    waiting = row!.waiting;
  }
  await here.gateway.stop();
  await lock`rollback`;
  lock.release();
});

/** Resolves when so many are open, by what the gateway tells operators. */
async function sessions(
  { url, gateway }: { url: string; gateway: TestGateway },
  open: number,
): Promise<void> {
  const headers = { authorization: `Bearer ${await gateway.token("operator", { admin: true })}` };
  const end = performance.now() + 15_000;
  for (let seen = NaN; seen !== open;) {
    assert.ok(performance.now() < end, `${seen} sessions are open instead of ${open}`);
    const text = await (await fetch(`${url}/metrics`, { headers })).text();
    seen = [...text.matchAll(/^tidings_sessions\{.*\} (\d+)$/gm)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    );
  }
}

Deno.test("stopping does not wait for those who have not said who they are", async () => {
  await using here = await place();
  await using silent = await dial(here.url);
  const stopped = here.gateway.stop();
  const { problem } = await silent.next("error");
  assert.equal(problem.code, "restarting");
  assert.equal((await silent.closed).code, 1012);
  await stopped;
});

Deno.test("a client that reads nothing does not keep the gateway from stopping", async () => {
  await using here = await place({ limits: { stopTimeout: 500 } });
  await using socket = await dial(here.url, { headers: await here.as("ann") });
  await socket.next("welcome");
  socket.socket.pause();
  await using stream = rawHttp(here.url, "GET /v1/feed HTTP/1.1", {
    accept: "text/event-stream",
    ...await here.as("bob"),
  });
  await stream.until(/tidings\.welcome/);
  stream.socket.pause();
  await here.database.sql`insert into tidings.notification (topic, body)
    select 'all', repeat('x', 60000) from generate_series(1, 1000)`;
  await here.gateway.stop();
  socket.socket.resume();
  stream.socket.resume();
  await Promise.all([socket.closed, stream.closed]);
});
