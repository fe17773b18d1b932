/**
 * Pushes while a gateway, Postgres and the push service are killed, and a push service that delivers and does not say so. The
 * checker: every device was given every notification at least once, and its worker showed it exactly once; nothing that was read,
 * or acknowledged by a client that somebody looks at, before a gateway knew of it. Short in the suite, longer in `deno task chaos`.
 * @module
 */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Sql } from "postgres";
import { fromSnapshot } from "../../src/log/cursor.ts";
import { writeAcknowledged } from "../../src/push/acknowledger.ts";
import { createDeviceStore } from "../../src/push/device_store.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import type { PushPayload } from "../../src/protocol.ts";
import { pushWorker } from "../../src/client/worker_push.ts";
import { testCluster } from "../helpers/database.ts";
import { type Process, start } from "../helpers/process.ts";
import { random } from "../helpers/random.ts";
import { decrypt, makeReceiver, type Receiver, subscriptionKeys } from "../push/decrypt.ts";

/** How much of it. */
export interface PushSize {
  seed: number;
  /** People with one device each. */
  devices: number;
  /** Notifications to all of them. */
  rounds: number;
}

/** The person who always looks at a page: everything was acknowledged before a gateway could know of it. */
const LOOKER = "looker";

/** Runs it, and throws unless the checker is content. */
export async function killWhilePushing({ seed, devices: count, rounds }: PushSize): Promise<void> {
  await using cluster = await testCluster();
  const chance = random(seed);
  const all = Promise.withResolvers<void>();
  let left = count * rounds;
  const people = await Promise.all([
    ...Array.from({ length: count }, (_, i) => person(`u${i}`, () => --left === 0 && all.resolve())),
    person(LOOKER, () => {}),
  ]);
  await using service = await troublesomeService(people, chance);

  const { publicKey, privateKey } = makeVapidKeys();
  const gateways: Process[] = [];
  const launch = async () => {
    const process = start("tests/push/pusher.ts", [cluster.url(), service.origin, publicKey, privateKey]);
    gateways.push(process);
    await process.until(/ready/);
    return process;
  };
  let sql = cluster.connect();
  await sql`select tidings.adopt()`;
  const devices = createDeviceStore(sql);
  for (const [i, { user, receiver }] of people.entries()) {
    await devices.register({
      user,
      id: "browser",
      kind: "webpush",
      silent: false,
      address: `${service.origin}/${i}`,
      keys: subscriptionKeys(receiver),
      secret: new Uint8Array(32),
    });
  }

  let sent = 0;
  const send = async (share: number) => {
    for (const last = Math.round(rounds * share); sent < last; sent++) {
      // read in the transaction that sends it, so before any gateway could know
      const user = `u${sent % count}`;
      await sql.unsafe(`do $$ begin perform tidings.mark('${user}',
        array[tidings.send('user:${user}', 'read before', push => true)], 'read'); end $$`);
      await unplanned(sql, async () => {
        await sql`select tidings.send('all', ${`n${sent}`}, push => true)`;
        await acknowledge(sql);
      });
    }
  };
  const tries = (share: number) => service.tried(Math.floor(count * rounds * share));
  try {
    const [victim] = await Promise.all([launch(), launch()]);
    await send(0.4);
    await tries(0.1);
    victim?.signal("SIGKILL");
    await victim?.ended;
    await send(0.6);
    await tries(0.3);
    await cluster.crash();
    await cluster.start();
    // a connection that has not noticed would fail the first question
    sql = cluster.connect();
    await launch();
    await send(0.85);
    await tries(0.5);
    await service.die();
    await send(1);
    await service.revive();
    await all.promise;
    // nothing that is still on its way may be a second one
    await settled(sql);
  } finally {
    for (const gateway of gateways) await gateway[Symbol.asyncDispose]();
  }

  const expected = Array.from({ length: rounds }, (_, round) => `n${round}`).sort();
  for (const { user, shown, received } of people) {
    assert.deepEqual(shown.sort(), user === LOOKER ? [] : expected, `${user} was shown`);
    assert.deepEqual([...received].sort(), user === LOOKER ? [] : expected, `${user} was given`);
  }
  const reasons = await sql`
    select user_id = ${LOOKER} as looker, reason, count(*)::int from tidings.push_trace where event = 'skipped' group by 1, 2 order by 1`;
  assert.deepEqual([...reasons], [
    { looker: false, reason: "read", count: rounds },
    { looker: true, reason: "acknowledged", count: rounds },
  ]);
  assert(service.unanswered > 0, "some were delivered without an answer");
  assert(service.attempts > count * rounds, "some were tried again");
}

/** Lets no gateway plan pushes meanwhile. */
async function unplanned(sql: Sql, work: () => Promise<void>): Promise<void> {
  const holder = await sql.reserve();
  try {
    await holder`begin`;
    await holder`select from tidings.push_position for update`;
    await work();
    await holder`commit`;
  } finally {
    holder.release();
  }
}

/** What a visible client says that has shown everything so far. */
async function acknowledge(sql: Sql): Promise<void> {
  const [row] = await sql`select epoch, pg_current_snapshot()::text as snapshot from tidings.history`;
  await writeAcknowledged(sql)([{ user: LOOKER, cursor: fromSnapshot(row?.epoch, row?.snapshot) }]);
}

/** Resolves when no push is under way. */
async function settled(sql: Sql): Promise<void> {
  for (let open = true; open;) {
    const [row] = await sql`select exists (
      select from tidings.delivery where state in ('queued', 'sending', 'closing')) or exists (select from tidings.fan_out) as open`;
    open = row?.open;
  }
}

/** A push service that is busy, that fails, that delivers and then fails to say so, and that can be killed. */
async function troublesomeService(people: readonly Person[], chance: () => number) {
  let attempts = 0;
  let unanswered = 0;
  const waiting = new Map<number, () => void>();
  const server: Server = createServer((request, response) => {
    const parts: Uint8Array[] = [];
    request.on("data", (part: Uint8Array) => parts.push(part));
    request.on("end", async () => {
      waiting.get(++attempts)?.();
      const luck = chance();
      if (luck < 0.1) response.writeHead(503, { "retry-after": "1" }).end();
      else if (luck < 0.15) response.writeHead(500).end();
      else {
        await people[Number(request.url?.slice(1))]!.receive(new Uint8Array(Buffer.concat(parts)));
        if (luck >= 0.25) return void response.writeHead(201).end();
        unanswered++;
        request.socket.destroy();
      }
    });
  });
  const listen = (port: number) => new Promise<void>((ready) => server.listen(port, "127.0.0.1", ready));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const die = async () => {
    if (!server.listening) return;
    const closed = new Promise((done) => server.close(done));
    server.closeAllConnections();
    await closed;
  };
  return {
    origin: `http://127.0.0.1:${port}`,
    get attempts() {
      return attempts;
    },
    /** How many were delivered without an answer. */
    get unanswered() {
      return unanswered;
    },
    /** Resolves when it was asked so often. */
    tried: (number: number) =>
      new Promise<void>((done) => attempts >= number ? done() : waiting.set(number, done)),
    die,
    revive: () => listen(port),
    [Symbol.asyncDispose]: die,
  };
}

/** Somebody with a browser: its keys, and a real worker that remembers what it showed. */
interface Person {
  user: string;
  receiver: Receiver;
  shown: string[];
  /** What the push service handed over, be it once or several times. */
  received: Set<string>;
  receive(body: Uint8Array): Promise<void>;
}

async function person(user: string, onShown: () => void): Promise<Person> {
  const receiver = await makeReceiver();
  const shown: string[] = [];
  const received = new Set<string>();
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
    user,
    receiver,
    shown,
    received,
    async receive(body) {
      const text = new TextDecoder().decode(await decrypt(body, receiver));
      received.add((JSON.parse(text) as PushPayload).item.title ?? "");
      await worker.push(text);
    },
  };
}
