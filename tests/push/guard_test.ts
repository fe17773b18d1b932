import assert from "node:assert/strict";
import https from "node:https";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { TidingsError } from "../../src/errors.ts";
import { allowed, guard, GuardRefusal, isPublicAddress, KNOWN_PUSH_SERVICES } from "../../src/push/guard.ts";
import { certificate } from "../helpers/certificate.ts";
import { fakeService } from "./fake_service.ts";

const never = new AbortController().signal;
const to = (...addresses: string[]) => () => Promise.resolve(addresses);

Deno.test("guard lets the browsers' own push services through, and nothing else by default", () => {
  for (
    const url of [
      "https://fcm.googleapis.com/fcm/send/abc",
      "https://updates.push.services.mozilla.com/wpush/v2/abc",
      "https://db5p.notify.windows.com/w/?token=abc",
      "https://web.push.apple.com/abc",
    ]
  ) assert.equal(allowed(url, KNOWN_PUSH_SERVICES).href, url);
  const refused: [string, RegExp][] = [
    ["https://example.com/", /not on the list/],
    ["https://fcm.googleapis.com.example.com/", /not on the list/],
    ["https://fcm.googleapis.com./", /not on the list/],
    ["https://push.apple.com/", /not on the list/],
    ["https://evilpush.apple.com/", /not on the list/],
    ["https://evil-notify.windows.com/", /not on the list/],
    ["http://fcm.googleapis.com/", /expected https/],
    ["ftp://fcm.googleapis.com/", /expected https/],
    ["https://fcm.googleapis.com:8443/", /port 443/],
    ["https://fcm.googleapis.com:80/", /port 443/],
    ["https://user:pass@fcm.googleapis.com/", /user or password/],
    ["https://fcm.googleapis.com@127.0.0.1/", /user or password/],
    ["https://127.0.0.1/", /not on the list/],
    ["https://[::1]/", /not on the list/],
    ["fcm.googleapis.com", /absolute https URL/],
    [`https://fcm.googleapis.com/${"a".repeat(2_100)}`, /at most 2048/],
  ];
  for (const [url, reason] of refused) {
    assert.throws(() => allowed(url, KNOWN_PUSH_SERVICES), (error) => {
      assert(error instanceof GuardRefusal);
      assert.match(error.message, reason, url);
      return true;
    });
  }
});

Deno.test("guard counts every kind of address that is not public as such, however it is written", () => {
  const blocks = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "64:ff9b::/96",
    "2002::/16",
    "2001::/32",
    "2001:db8::/32",
    "100::/64",
  ].map((text) => ipaddr.parseCIDR(text));
  const inside = fc.tuple(fc.constantFrom(...blocks), fc.uint8Array({ minLength: 16, maxLength: 16 })).map(
    ([[base, bits], noise]) =>
      ipaddr.fromByteArray(
        base.toByteArray().map((byte, index) => {
          const keep = Math.min(Math.max(bits - index * 8, 0), 8);
          const mask = (0xff << (8 - keep)) & 0xff;
          return (byte & mask) | ((noise[index] ?? 0) & ~mask & 0xff);
        }),
      ),
  );
  fc.assert(
    fc.property(inside, (address) => {
      assert.equal(isPublicAddress(address.toString()), false, address.toString());
      if (address instanceof ipaddr.IPv4) {
        assert.equal(isPublicAddress(address.toIPv4MappedAddress().toString()), false);
        assert.equal(isPublicAddress(`::ffff:${address.toString()}`), false);
      }
    }),
    { seed: 918_273, numRuns: 3_000 },
  );
  for (const address of ["8.8.8.8", "142.250.74.74", "2a00:1450:4001:82f::200a", "::ffff:8.8.8.8"]) {
    assert.equal(isPublicAddress(address), true, address);
  }
  for (const text of ["", "localhost", "8.8.8.8.example.com", "1.2.3.4:80"]) {
    assert.equal(isPublicAddress(text), false);
  }
});

Deno.test("guard refuses a listed host as soon as one of its addresses is private, naming the field", async () => {
  const hosts = ["push.example"];
  for (const addresses of [["10.0.0.1"], ["8.8.8.8", "169.254.169.254"], ["::ffff:127.0.0.1"], []]) {
    const it = guard({ hosts, resolve: to(...addresses) });
    await assert.rejects(it.check("https://push.example/x", "endpoint"), (error) => {
      assert(error instanceof TidingsError);
      assert.equal(error.code, "invalid_request");
      assert.equal(error.details.errors?.[0]?.field, "endpoint");
      return true;
    });
    it.close();
  }
  const lost = guard({ hosts, resolve: () => Promise.reject(new Error("ENOTFOUND")) });
  await assert.rejects(lost.check("https://push.example/x", "url"), /could not be resolved/);
  lost.close();
  const open = guard({ hosts: ["*"], resolve: to("8.8.8.8") });
  await open.check("https://anything.example/x", "url");
  await assert.rejects(open.check("https://127.0.0.1/x", "url"), /not public/);
  await assert.rejects(open.check("https://[::ffff:a00:1]/x", "url"), /not public/);
  await assert.rejects(open.check("https://0x7f.1/x", "url"), /not public/);
  open.close();
});

Deno.test("guard checks again when it sends: a name that was public at registration and is private now is not called", async () => {
  await using service = await fakeService();
  const answers = [["8.8.8.8"], ["127.0.0.1"]];
  const it = guard({ hosts: ["push.example"], resolve: () => Promise.resolve(answers.shift() ?? []) });
  await it.check("https://push.example/", "endpoint");
  await assert.rejects(
    it.post({ url: "https://push.example/", headers: {}, body: new Uint8Array(), signal: never }),
    GuardRefusal,
  );
  assert.equal(service.received.length, 0);
  it.close();
});

Deno.test("guard connects to the address it checked, resolving once, with the certificate checked against the name", async () => {
  const { key, cert } = await certificate("push.example", "DNS:push.example");
  const hosts: string[] = [];
  let connections = 0;
  const server = https.createServer({ key, cert }, (request, response) => {
    hosts.push(request.headers.host ?? "");
    request.resume().on("end", () => response.writeHead(201).end("made"));
  });
  server.on("secureConnection", () => connections++);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  const origins = [`https://push.example:${port}`, `https://other.example:${port}`];
  let lookups = 0;
  const it = guard({
    hosts: origins,
    ca: cert,
    resolve: () => Promise.resolve([++lookups > 0 ? "127.0.0.1" : ""]),
  });
  const body = new TextEncoder().encode("hello");
  for (let round = 1; round <= 3; round++) {
    const answer = await it.post({
      url: `${origins[0]}/path?x=1`,
      headers: { ttl: "5" },
      body,
      signal: never,
    });
    assert.deepEqual([answer.status, answer.body, lookups], [201, "made", round]);
  }
  assert.deepEqual(hosts, Array(3).fill(`push.example:${port}`));
  assert.equal(connections, 1, "the connection is kept");
  await assert.rejects(
    it.post({ url: `${origins[1]}/`, headers: {}, body, signal: never }),
    /other\.example/,
  );
  assert.equal(hosts.length, 3);
  it.close();
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
});

Deno.test("guard follows no redirect, reads no endless answer, and stops when told", async () => {
  await using target = await fakeService();
  const waiting = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  await using service = await fakeService(async ({ path }) => {
    if (path === "/redirect") return { status: 307, headers: { location: target.origin } };
    if (path === "/endless") return { status: 200, body: "x".repeat(100_000) };
    waiting.resolve();
    await release.promise;
    return { status: 200 };
  });
  const it = guard({ hosts: [service.origin, target.origin] });
  const post = (path: string, signal = never) =>
    it.post({ url: `${service.origin}${path}`, headers: {}, body: new Uint8Array(), signal });
  assert.equal((await post("/redirect")).status, 307);
  assert.equal(target.received.length, 0);
  await assert.rejects(post("/endless"), /longer than 16 KiB/);
  const stop = new AbortController();
  const hanging = post("/hang", stop.signal);
  await waiting.promise;
  stop.abort(new Error("stopped"));
  await assert.rejects(hanging, /stopped/);
  release.resolve();
  it.close();
});
