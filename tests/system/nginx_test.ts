import assert from "node:assert/strict";
import type { Adapter, Client } from "../conformance/client.ts";
import { titles } from "../conformance/client.ts";
import { longpoll } from "../conformance/longpoll.ts";
import { sse } from "../conformance/sse.ts";
import { websocket } from "../conformance/websocket.ts";
import { testDatabase } from "../helpers/database.ts";
import { gatewayProcess, nginx, tokenFor } from "../helpers/front.ts";
import { freePort, freePorts } from "../helpers/port.ts";
import type { Process } from "../helpers/process.ts";

const ADAPTERS = [websocket, sse, longpoll];

Deno.test("behind the shipped nginx every transport gets everything once, while both gateways are restarted one after the other", async () => {
  await using database = await testDatabase();
  const [one = 0, other = 0] = freePorts(2);
  const ports: [number, number] = [one, other];
  const run = (port: number) => gatewayProcess(port, { DATABASE_URL: database.url });
  const gateways = ports.map(run);
  try {
    for (const gateway of gateways) await gateway.until(/Listening on/);
    await using front = await nginx(ports);
    const url = `http://127.0.0.1:${front.port}`;
    const token = await tokenFor("ann");
    const following = ADAPTERS.map((adapter) => follow(adapter, url, token));
    const followers = await Promise.all(following);

    const over = new AbortController();
    const writing = Promise.all([
      write(over.signal, (title) => sendOverHttp(url, token, title)),
      write(over.signal, async (title) => {
        await database.sql`select tidings.send('user:ann', ${`sql ${title}`})`;
      }),
    ]);
    for (const [index, port] of ports.entries()) {
      await restart(gateways, index, () => run(port));
      // both serve before the next one goes
      const mark = `${index} is back`;
      await sendOverHttp(url, token, mark);
      await Promise.all(followers.map((follower) => follower.has(mark)));
    }
    over.abort();
    await writing;
    await sendOverHttp(url, token, END);
    const sent = (await database.sql`select title from tidings.notification where topic = 'user:ann'`)
      .map((row) => row["title"] as string).sort();
    assert.ok(sent.length > 20, `only ${sent.length} were sent`);
    for (const follower of followers) {
      const got = await follower.all;
      assert.deepEqual(got.toSorted(), sent, follower.name);
      // A poll that finds its gateway gone is handed to the other one by nginx: nothing has to send that client away.
      if (follower.name === longpoll.name) continue;
      assert.ok(follower.opened > 1, `${follower.name} was never sent away`);
    }
  } finally {
    for (const gateway of gateways) await gateway[Symbol.asyncDispose]();
  }
});

Deno.test("a poll comes through an nginx that buffers, and so does a stream, which asks it not to", async () => {
  await using database = await testDatabase();
  const port = freePort();
  await using gateway = gatewayProcess(port, { DATABASE_URL: database.url });
  await gateway.until(/Listening on/);
  await using front = await nginx(
    [port, port],
    (conf) => conf.replaceAll("proxy_buffering off;", "proxy_buffering on;"),
  );
  const token = await tokenFor("ann");
  for (const adapter of [longpoll, sse]) {
    const client = await adapter.open({ url: `http://127.0.0.1:${front.port}`, token });
    await database.sql`select tidings.send('user:ann', ${adapter.name})`;
    await client.until("it", () => client.received.length === 1);
    assert.deepEqual(titles(client), [adapter.name]);
    await client.cut();
  }
});

Deno.test("nginx tells the gateway its own address, so that its pages need no list of origins", async () => {
  await using database = await testDatabase();
  const port = freePort();
  await using gateway = gatewayProcess(port, { DATABASE_URL: database.url, TIDINGS_COOKIE: "session" });
  await gateway.until(/Listening on/);
  await using front = await nginx([port, port]);
  const url = `http://127.0.0.1:${front.port}`;
  const cookie = `session=${await tokenFor("ann")}`;
  const ask = async (origin: string) => {
    const response = await fetch(`${url}/v1/feed?wait=0`, { headers: { cookie, origin } });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await ask(url), 200);
  assert.equal(await ask("https://elsewhere.example"), 403);
  const metrics = await fetch(`${url}/metrics`);
  assert.equal(metrics.status, 404);
  assert.doesNotMatch(await metrics.text(), /tidings_/);
});

const END = "the end";

interface Follower {
  name: string;
  /** How many connections it took. */
  readonly opened: number;
  /** Resolves when a notification of this title is there. */
  has(title: string): Promise<void>;
  /** The titles, when the end is among them. */
  all: Promise<string[]>;
}

/** Follows a feed over as many connections as it takes, from cursor to cursor. */
async function follow(adapter: Adapter, url: string, token: string): Promise<Follower> {
  const got: string[] = [];
  const wanted = new Map<string, () => void>();
  let opened = 0;
  const first = await adapter.open({ url, token });
  const take = (client: Client, from: number) => {
    for (const title of titles(client).slice(from)) {
      got.push(title!);
      wanted.get(title!)?.();
    }
    return client.received.length;
  };
  const all = (async () => {
    let client: Client | undefined = first;
    for (let since = first.cursor;;) {
      client ??= await again(adapter, { url, token, since });
      opened++;
      let taken = 0;
      const isOver = () =>
        client!.told.some(({ event }) => event === "closed" || event === "reconnect" || event === "error");
      while (!isOver() && !got.includes(END)) {
        await client.until("more, or an end", () => client!.received.length > taken || isOver());
        taken = take(client, taken);
      }
      await client.cut();
      take(client, taken);
      since = client.cursor;
      client = undefined;
      if (got.includes(END)) return got;
    }
  })();
  return {
    name: adapter.name,
    get opened() {
      return opened;
    },
    has: (title) =>
      got.includes(title) ? Promise.resolve() : Promise.race([
        new Promise<void>((resolve) => wanted.set(title, resolve)),
        all.then(() => {}),
      ]),
    all,
  };
}

/** Opens, and again while nobody is there. */
async function again(
  adapter: Adapter,
  request: { url: string; token: string; since: string },
): Promise<Client> {
  for (let tries = 1;; tries++) {
    try {
      return await adapter.open(request);
    } catch (error) {
      if (tries === 100) throw error;
      await pause();
    }
  }
}

async function restart(gateways: Process[], index: number, run: () => Process): Promise<void> {
  gateways[index]!.signal("SIGTERM");
  const { code, stderr } = await gateways[index]!.ended;
  assert.equal(code, 0, stderr);
  gateways[index] = run();
  await gateways[index].until(/Listening on/);
}

async function write(over: AbortSignal, send: (title: string) => Promise<void>): Promise<void> {
  for (let n = 0; !over.aborted; n++) {
    await send(`${n}`);
    await pause();
  }
}

/** Sends until it is answered; the key lets a repeat be one. */
async function sendOverHttp(url: string, token: string, title: string): Promise<void> {
  const body = JSON.stringify({ to: "user:ann", title, dedupeKey: title });
  for (let tries = 1;; tries++) {
    const response = await fetch(`${url}/v1/notifications`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body,
    });
    const text = await response.text();
    if (response.status === 201) return;
    assert.ok(response.status >= 500 && tries < 100, `${response.status} ${text}`);
    await pause();
  }
}

/** The pace of writers and of who tries again. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 25));
}
