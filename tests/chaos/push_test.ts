import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createDeviceStore } from "../../src/push/device_store.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import { pushWorker } from "../../src/client/worker_push.ts";
import { testCluster } from "../helpers/database.ts";
import { type Process, start } from "../helpers/process.ts";
import { decrypt, makeReceiver, type Receiver, subscriptionKeys } from "../push/decrypt.ts";

const DEVICES = 8;
const ROUNDS = 40;

/** Numbers in [0, 1) that are the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A browser: its keys, and a real worker that remembers what it showed. */
interface Browser {
  receiver: Receiver;
  shown: string[];
  receive(body: Uint8Array): Promise<void>;
}

async function browser(onShown: () => void): Promise<Browser> {
  const receiver = await makeReceiver();
  const shown: string[] = [];
  const known = new Set<string>();
  const worker = pushWorker({
    fetch: () => Promise.reject(new Error("no network")),
    store: {
      identity: () => Promise.resolve(undefined),
      keepIdentity: () => Promise.resolve(),
      wasShown: (id) => Promise.resolve(known.has(id)),
      keepShown: (ids) => Promise.resolve(ids.forEach((id) => known.add(id))),
    },
    scope: {
      registration: {
        scope: "https://app.example/",
        pushManager: { subscribe: () => Promise.reject(new Error("not here")) },
        showNotification(title) {
          shown.push(title);
          onShown();
          return Promise.resolve();
        },
        getNotifications: () => Promise.resolve([]),
      },
      clients: {
        claim: () => Promise.resolve(),
        matchAll: () => Promise.resolve([]),
        openWindow: () => Promise.resolve(),
      },
      skipWaiting: () => Promise.resolve(),
      addEventListener: () => {},
    },
  });
  return {
    receiver,
    shown,
    receive: async (body) => await worker.push(new TextDecoder().decode(await decrypt(body, receiver))),
  };
}

Deno.test("pushes while a gateway, Postgres and the push service are killed: every device shows each once, and nothing that was read before", async () => {
  await using cluster = await testCluster();
  const random = seeded(20_261_121);
  const all = Promise.withResolvers<void>();
  let count = 0;
  const browsers = await Promise.all(
    Array.from({ length: DEVICES }, () => browser(() => ++count === DEVICES * ROUNDS && all.resolve())),
  );

  // a push service that delivers and then fails to say so, that is busy, that dies
  let attempts = 0;
  let repeats = 0;
  const reached = new Map<number, () => void>();
  const service: Server = createServer((request, response) => {
    const parts: Uint8Array[] = [];
    request.on("data", (part: Uint8Array) => parts.push(part));
    request.on("end", async () => {
      reached.get(++attempts)?.();
      const luck = random();
      if (luck < 0.1) response.writeHead(503, { "retry-after": "1" }).end();
      else if (luck < 0.15) response.writeHead(500).end();
      else {
        await browsers[Number(request.url?.slice(1))]!.receive(new Uint8Array(Buffer.concat(parts)));
        if (luck < 0.25) {
          repeats++;
          request.socket.destroy();
        } else response.writeHead(201).end();
      }
    });
  });
  const listen = (port: number) => new Promise<void>((ready) => service.listen(port, "127.0.0.1", ready));
  await listen(0);
  const { port } = service.address() as AddressInfo;
  const attempt = (number: number) =>
    new Promise<void>((done) => attempts >= number ? done() : reached.set(number, done));

  const { publicKey, privateKey } = makeVapidKeys();
  const gateways: Process[] = [];
  const launch = async () => {
    const process = start("tests/push/pusher.ts", [
      cluster.url(),
      `http://127.0.0.1:${port}`,
      publicKey,
      privateKey,
    ]);
    gateways.push(process);
    await process.until(/ready/);
    return process;
  };
  const sql = cluster.connect();
  const devices = createDeviceStore(sql);
  for (const [i, { receiver }] of browsers.entries()) {
    await devices.register({
      user: `u${i}`,
      id: "browser",
      kind: "webpush",
      silent: false,
      address: `http://127.0.0.1:${port}/${i}`,
      keys: subscriptionKeys(receiver),
      secret: new Uint8Array(32),
    });
  }
  try {
    const [victim] = await Promise.all([launch(), launch()]);
    const send = async (from: number, to: number) => {
      for (let round = from; round < to; round++) {
        await sql`select tidings.send('all', ${`n${round}`}, push => true)`;
        // read in the transaction that sends it, so before any gateway could know
        const user = `u${round % DEVICES}`;
        await sql.unsafe(`do $$ begin perform tidings.mark('${user}',
          array[tidings.send('user:${user}', 'read before', push => true)], 'read'); end $$`);
      }
    };
    await send(0, 15);
    await attempt(40);
    victim?.signal("SIGKILL");
    await victim?.ended;
    await send(15, 25);
    await attempt(90);
    await cluster.crash();
    await cluster.start();
    await launch();
    await send(25, 35);
    await attempt(150);
    service.closeAllConnections();
    await new Promise((closed) => service.close(closed));
    await send(35, ROUNDS);
    await listen(port);
    await all.promise;
  } finally {
    for (const gateway of gateways) await gateway[Symbol.asyncDispose]();
    service.closeAllConnections();
    await new Promise((closed) => service.close(closed));
  }
  const expected = Array.from({ length: ROUNDS }, (_, round) => `n${round}`).sort();
  for (const [i, { shown }] of browsers.entries()) assert.deepEqual(shown.sort(), expected, `device ${i}`);
  assert(repeats > 0, "some were delivered without an answer");
  assert(attempts > DEVICES * ROUNDS, "some were tried again");
});
