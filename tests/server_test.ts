import assert from "node:assert/strict";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import net, { type Socket } from "node:net";
import type { HttpBindings } from "@hono/node-server";
import { createHttpServer, type HttpServer, type ServerLimits, type ServerOptions } from "../src/server.ts";
import { manualClock } from "./helpers/manual_clock.ts";

type Fetch = ServerOptions["fetch"];

async function serving(
  options: Partial<ServerOptions> & { limits?: Partial<ServerLimits> },
  run: (server: HttpServer) => Promise<void>,
): Promise<void> {
  const server = createHttpServer({
    host: "127.0.0.1",
    port: 0,
    fetch: () => new Response("ok"),
    ...options,
    limits: { idleGrace: 1, ...options.limits },
  });
  await server.start();
  try {
    await run(server);
  } finally {
    await server.stop();
  }
  assert.equal(server.connections, 0);
}

/** A raw client: what it got so far, and its end. */
function dial(server: HttpServer, first = "") {
  const socket = net.connect(server.port, "127.0.0.1");
  let text = "";
  let resets = 0;
  socket.on("data", (data) => text += data.toString("latin1"));
  socket.on("error", () => resets++);
  const closed = new Promise<string>((resolve) => socket.once("close", () => resolve(text)));
  if (first !== "") socket.write(first);
  return {
    socket,
    closed,
    get text() {
      return text;
    },
    get resets() {
      return resets;
    },
    async until(part: string): Promise<void> {
      while (!text.includes(part)) await once(socket, "data");
    },
  };
}

const body: Fetch = async (request) => new Response(`got ${(await request.text()).length}`);

Deno.test("the server answers, keeps the connection, and says where it is", async () => {
  await serving({ fetch: body }, async (server) => {
    assert.equal(server.url, `http://127.0.0.1:${server.port}`);
    const client = dial(server, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    await client.until("got 3");
    client.socket.write("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd");
    assert.match(await client.closed, /got 3.*got 4/s);
  });
});

Deno.test("the server closes a connection whose headers do not arrive in time", async () => {
  await serving(
    { limits: { headersTimeout: 200, requestTimeout: 400, sweepInterval: 50 } },
    async (server) => {
      const half = dial(server, "GET / HTTP/1.1\r\nHost: x\r\nAccep");
      const silent = dial(server);
      assert.match(await half.closed, /^HTTP\/1\.1 408 .*"code":"request_timeout"/s);
      await silent.closed;
    },
  );
});

Deno.test("the server closes a connection whose body does not arrive in time", async () => {
  await serving(
    { fetch: body, limits: { headersTimeout: 200, requestTimeout: 400, sweepInterval: 50 } },
    async (server) => {
      const slow = dial(server, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc");
      const text = await slow.closed;
      assert.doesNotMatch(text, /got/);
    },
  );
});

Deno.test("the server refuses headers that are too large, what is not HTTP, and ambiguous lengths", async () => {
  await serving({ limits: { headerBytes: 4_096 } }, async (server) => {
    const big = dial(server, `GET / HTTP/1.1\r\nHost: x\r\nCookie: ${"a".repeat(5_000)}\r\n\r\n`);
    assert.match(await big.closed, /^HTTP\/1\.1 431 .*"status":431/s);
    const noise = dial(server, "\x16\x03\x01\x02\r\n\r\n");
    assert.match(await noise.closed, /^HTTP\/1\.1 400 .*"code":"invalid_request"/s);
    const smuggled = dial(
      server,
      "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    assert.match(await smuggled.closed, /^HTTP\/1\.1 400 /);
  });
});

Deno.test("the server bounds connections, and requests on one connection", async () => {
  await serving({ limits: { connections: 2, requestsPerSocket: 2 } }, async (server) => {
    const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const first = dial(server, get);
    await first.until("ok");
    const second = dial(server, get);
    await second.until("ok");
    const third = dial(server, get);
    assert.equal(await third.closed, "");
    first.socket.write(get);
    assert.match(await first.closed, /Connection: close/i);
    second.socket.destroy();
    await second.closed;
  });
});

Deno.test("the server hands WebSocket upgrades over and answers other upgrades as plain requests", async () => {
  const upgrades: string[] = [];
  await serving({
    onUpgrade: (request, socket, head) => {
      upgrades.push(`${request.url} ${head.toString()}`);
      socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\nbye");
    },
  }, async (server) => {
    const upgrade = (to: string) =>
      dial(server, `GET /v1/feed HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ${to}\r\n\r\n`);
    assert.match(await upgrade("WebSocket").closed, /101 Switching.*bye/s);
    const plain = upgrade("h2c");
    await plain.until("ok");
    plain.socket.destroy();
    await plain.closed;
  });
  assert.deepEqual(upgrades, ["/v1/feed "]);
});

/** 32 MiB, more than the kernels' buffers between two sockets hold. */
const LARGE = 32 * 1024 * 1024;

/** Serves one large body, tells when the server's own socket is known. */
function largeBody() {
  let known: (socket: Socket) => void;
  const socket = new Promise<Socket>((resolve) => known = resolve);
  const fetch: Fetch = (_request, bindings: HttpBindings) => {
    known(bindings.incoming.socket);
    return new Response("x".repeat(LARGE));
  };
  return { fetch, socket };
}

/** Resolves when nothing has left the socket for a few turns. */
async function settled(socket: Socket): Promise<void> {
  let before = -1;
  for (let still = 0; still < 20;) {
    await new Promise((resolve) => setImmediate(resolve));
    const gone = socket.bytesWritten - socket.writableLength;
    still = gone === before ? still + 1 : 0;
    before = gone;
  }
}

Deno.test("a client that does not read a large answer is cut after the stall time, and costs a bounded buffer", async () => {
  const clock = manualClock();
  const { fetch, socket } = largeBody();
  await serving({ fetch, clock, limits: { stallTimeout: 30_000 } }, async (server) => {
    const client = net.connect(server.port, "127.0.0.1");
    client.on("error", () => undefined);
    client.pause();
    client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const served = await socket;
    let told = 0;
    server.onStall(served, () => told++);
    await settled(served);
    assert.ok(served.writableLength > 0);
    assert.ok(served.writableLength < 256 * 1024, `${served.writableLength} bytes wait in memory`);
    const closed = once(served, "close");
    clock.advance(29_000);
    assert.equal(served.destroyed, false);
    clock.advance(2_000);
    await closed;
    assert.equal(told, 1);
    client.destroy();
  });
});

Deno.test("a client that reads slowly but steadily gets the whole answer", async () => {
  const clock = manualClock();
  const { fetch, socket } = largeBody();
  await serving({ fetch, clock, limits: { stallTimeout: 30_000 } }, async (server) => {
    const client = net.connect(server.port, "127.0.0.1");
    let got = 0;
    client.on("data", (data) => got += data.length);
    client.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const served = await socket;
    let open = true;
    const closed = once(client, "close").then(() => open = false);
    let steps = 0;
    while (open) {
      client.resume();
      await Promise.race([once(served, "drain"), closed]);
      client.pause();
      // nearly the stall time for every few KiB
      clock.advance(25_000);
      steps++;
    }
    assert.ok(got > LARGE, `${got} bytes arrived`);
    assert.ok(steps >= 5, `${steps} steps`);
  });
});

Deno.test("an answer of any size arrives whole, with its length", async () => {
  for (const size of [0, 1, 16_384, 16_385, 100_000, 1_000_000]) {
    const text = "é".repeat(size / 2);
    await serving({ fetch: () => new Response(text) }, async (server) => {
      const response = await fetch(server.url);
      assert.equal(response.headers.get("content-length"), String(Buffer.byteLength(text)));
      assert.equal(await response.text(), text);
      const head = await fetch(server.url, { method: "HEAD" });
      assert.equal(await head.text(), "");
    });
  }
});

Deno.test("a port in use is one clear line", async () => {
  await serving({}, async (first) => {
    const second = createHttpServer({ host: "127.0.0.1", port: first.port, fetch: () => new Response("") });
    await assert.rejects(second.start(), {
      message: `Cannot listen on 127.0.0.1 port ${first.port}: ` +
        "the port is in use; stop what listens there, or set PORT to another",
    });
    await second.stop();
  });
});

Deno.test("a host that is not this machine's is one clear line", async () => {
  const server = createHttpServer({ host: "203.0.113.7", port: 0, fetch: () => new Response("") });
  await assert.rejects(
    server.start(),
    /Cannot listen on 203\.0\.113\.7 port 0: this machine has no such address/,
  );
  await server.stop();
});

Deno.test("stopping finishes what was accepted, closes the rest, and takes nothing new", async () => {
  const waiting: (() => void)[] = [];
  const fetch: Fetch = (request) =>
    request.url.endsWith("/slow")
      ? new Promise((resolve) => waiting.push(() => resolve(new Response("late"))))
      : new Response("ok");
  const server = createHttpServer({ host: "127.0.0.1", port: 0, fetch, limits: { idleGrace: 50 } });
  await server.start();
  const slow = dial(server, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  const idle = dial(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const silent = dial(server);
  await Promise.all([idle.until("ok"), once(silent.socket, "ready")]);
  while (waiting.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const { port } = server;
  const stopped = server.stop();
  await Promise.all([idle.closed, silent.closed]);
  assert.equal(slow.socket.destroyed, false);
  const refused = net.connect(port, "127.0.0.1");
  const [error] = await once(refused, "error");
  assert.equal(error.code, "ECONNREFUSED");
  waiting.forEach((answer) => answer());
  assert.match(await slow.closed, /Connection: close.*late/is);
  await stopped;
  await server.stop();
});

Deno.test("stopping answers a request that was already on its way on a kept connection", async () => {
  const server = createHttpServer({
    host: "127.0.0.1",
    port: 0,
    fetch: () => new Response("ok"),
    clock: manualClock(),
  });
  await server.start();
  const kept = dial(server, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
  await kept.until("ok");
  const stopped = server.stop();
  kept.socket.write("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
  assert.match(await kept.closed, /ok.*Connection: close.*ok/is);
  await stopped;
});

Deno.test("stopping cuts at the limit what does not end by itself", async () => {
  const clock = manualClock();
  let upgraded = 0;
  const server = createHttpServer({
    host: "127.0.0.1",
    port: 0,
    clock,
    fetch: () => new Response(new ReadableStream({ start: (stream) => stream.enqueue(new Uint8Array(10)) })),
    onUpgrade: (_request, socket) => {
      upgraded++;
      socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    },
  });
  await server.start();
  const endless = dial(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await endless.until("200 OK");
  const socket = dial(
    server,
    "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
  );
  await socket.until("101");
  assert.equal(upgraded, 1);
  const stopped = server.stop();
  clock.advance(9_000);
  assert.equal(endless.socket.destroyed || socket.socket.destroyed, false);
  clock.advance(1_500);
  await Promise.all([endless.closed, socket.closed, stopped]);
});

Deno.test("a server that never started can be stopped, and one that stopped can start again", async () => {
  const server = createHttpServer({ host: "127.0.0.1", port: 0, fetch: () => new Response("ok") });
  await server.stop();
  for (let round = 0; round < 2; round++) {
    await server.start();
    const status = await new Promise((resolve, reject) => {
      httpRequest(server.url, { agent: false }, (response) => {
        response.resume();
        response.once("end", () => resolve(response.statusCode));
      }).once("error", reject).end();
    });
    assert.equal(status, 200);
    await server.stop();
  }
});
