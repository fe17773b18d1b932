import assert from "node:assert/strict";
import { chmod, copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mint } from "../../src/auth/token.ts";
import { systemClock } from "../../src/clock.ts";
import { makeVapidKeys } from "../../src/push/vapid.ts";
import { openEvents } from "../conformance/sse.ts";
import { testDatabase } from "../helpers/database.ts";
import { build, instructions } from "../helpers/dockerfile.ts";
import { freePort } from "../helpers/port.ts";
import { startCommand } from "../helpers/process.ts";
import { connectStomp, stompUrl } from "../helpers/stomp.ts";
import { temporaryFolder } from "../helpers/temporary_folder.ts";
import { dial } from "../helpers/websocket.ts";
import { fakeService } from "../push/fake_service.ts";
import { makeReceiver, subscriptionKeys } from "../push/decrypt.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const SECRET = "a secret of this test, long enough to be one";

Deno.test("the Dockerfile takes the Deno that everything else runs with", async () => {
  const dockerfile = await readFile(join(ROOT, "Dockerfile"), "utf8");
  const [, version] = /^ARG DENO_VERSION=(\S+)$/m.exec(dockerfile) ?? [];
  for (const name of [".ci/run", "README.md"]) {
    const used = (await readFile(join(ROOT, name), "utf8")).match(/deno@[\d.]+/g) ?? [];
    assert.deepEqual([...new Set(used)], [`deno@${version}`], name);
  }
  const bases = instructions(dockerfile).filter(([name]) => name === "FROM").map(([, base]) => base);
  for (const base of bases) assert.match(base, /^denoland\/deno:(distroless-)?\$\{DENO_VERSION\}/);
});

Deno.test("what the Dockerfile makes runs every part of the gateway with its permissions, as nobody, and writes nothing", async (t) => {
  await using root = await temporaryFolder("image");
  const image = await build(await readFile(join(ROOT, "Dockerfile"), "utf8"), ROOT, root.path);
  await t.step("and holds neither tests nor what only builds", async () => {
    const names = [];
    for await (const { name } of Deno.readDir(join(image.cwd, "node_modules", ".deno"))) names.push(name);
    const wrong = names.filter((name) => /embedded|typescript|playwright|fast-check|chromium|lit/.test(name));
    assert.deepEqual(wrong, []);
    assert.ok(names.length > 10, names.join());
    assert.deepEqual(
      image.entrypoint.filter((arg) => /^--allow-(all|run|write|ffi|sys)|^-A$/.test(arg)),
      [],
    );
  });
  // npm keeps Deno where only its owner may go
  const deno = root.at("deno");
  await copyFile(Deno.execPath(), deno);
  await chmod(deno, 0o755);
  await runEveryPart(image, deno);
});

async function runEveryPart(image: Awaited<ReturnType<typeof build>>, deno: string): Promise<void> {
  await using database = await testDatabase({ migrated: false });
  await using service = await fakeService();
  const hooks = service.origin.replace("127.0.0.1", "localhost");
  const keys = makeVapidKeys();
  const port = freePort();
  const env = {
    ...image.env,
    PORT: String(port),
    DATABASE_URL: database.url.replace("127.0.0.1", "localhost"),
    TIDINGS_JWT_SECRET: SECRET,
    TIDINGS_PUSH_HOSTS: `${hooks},${service.origin}`,
    TIDINGS_VAPID_PUBLIC_KEY: keys.publicKey,
    TIDINGS_VAPID_PRIVATE_KEY: keys.privateKey,
    TIDINGS_VAPID_SUBJECT: "mailto:a@b.example",
    TIDINGS_DRAIN: "0s",
  };
  const asUser = Deno.uid() === 0 ? image.user : undefined;
  const run = (args: string[]) => {
    const [command = "", ...rest] = args;
    return startCommand(command === "deno" ? deno : command, rest, env, image.cwd, asUser);
  };
  assert.notEqual(await run(image.healthcheck).ended.then(({ code }) => code), 0);

  await using gateway = run(image.entrypoint);
  await gateway.until(/Listening on/);
  const healthy = await run(image.healthcheck).ended;
  assert.equal(healthy.code, 0, healthy.stderr);

  const url = `http://127.0.0.1:${port}`;
  const token = await mint(
    SECRET,
    { sub: "ann", tidings: { subscribe: ["**"], publish: ["**"], admin: true } },
    600,
    systemClock,
  );
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text;
  };

  const devices: [string, unknown][] = [
    ["browser", {
      kind: "webpush",
      endpoint: `${hooks}/browser`,
      keys: subscriptionKeys(await makeReceiver()),
    }],
    ["backend", {
      kind: "webhook",
      url: `${hooks}/backend`,
      secret: `whsec_${btoa("x".repeat(32))}`,
    }],
  ];
  for (const [id, device] of devices) await call("PUT", `/v1/devices/${id}`, device);

  const events = await openEvents({ url, token });
  await using socket = await dial(url);
  socket.say({ op: "hello", token });
  await socket.next("welcome");
  await using stomp = await connectStomp(stompUrl(url), token);
  await stomp.subscribe("/user/queue/notification");

  await call("POST", "/v1/notifications", { to: "user:ann", title: "one", push: true });
  await call("POST", "/v1/topics/user:ann", "two", { "content-type": "text/plain" });
  const later = new Date(systemClock.now() + 1_000).toISOString();
  await call("POST", "/v1/notifications", { to: "user:ann", title: "three", deliverAt: later });
  await database.sql`select tidings.send('user:ann', 'four')`;
  await events.until("all four", () => events.received.length === 4);
  await events.cut();
  const got = [];
  while (got.length < 4) got.push(...(await socket.next("items")).items);
  assert.equal((await stomp.messages.take(4)).length, 4);
  const polled = JSON.parse(await call("GET", "/v1/feed?since=earliest&wait=0"));
  assert.equal(polled.items.length, 4);
  const paths = () => new Set(service.received.map(({ path }) => path));
  while (!(paths().has("/browser") && paths().has("/backend"))) await service.next();

  await call("POST", "/v1/tickets");
  for (const name of ["client", "bell", "worker"]) await call("GET", `/${name}.js`);
  await call("GET", "/types/client/mod.d.ts");
  await call("GET", "/docs");
  await call("GET", "/readyz");
  assert.ok(Object.keys(JSON.parse(await call("GET", "/openapi.json")).paths).length > 10);
  assert.match(await call("GET", "/metrics"), /^# TYPE tidings_sessions gauge$/m);

  gateway.signal(image.stopSignal as Deno.Signal);
  const { code, stdout, stderr } = await gateway.ended;
  assert.equal(code, 0, stdout + stderr);
  assert.equal(stderr, "");
  assert.doesNotMatch(stdout, /NotCapable|PermissionDenied|EACCES/);
}
