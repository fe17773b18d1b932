import assert from "node:assert/strict";
import { testDatabase } from "./helpers/database.ts";
import { run, start, startCommand } from "./helpers/process.ts";
import { temporaryFolder } from "./helpers/temporary_folder.ts";

const MAIN = "src/main.ts";

Deno.test("started without any setting, it prints two curl lines that work when pasted", async () => {
  await using here = await temporaryFolder("boot");
  await using gateway = start(MAIN, [], { TIDINGS_DATA: here.path, PORT: "0" });
  const [, listen = ""] = await gateway.until(/^(curl -N .*\/v1\/feed')$/m);
  const [, send = ""] = await gateway.until(/^(curl -H .*\/v1\/topics\/.*)$/m);
  await using listener = startCommand("bash", ["-c", `exec ${listen} -s`]);
  await listener.until(/event: tidings\.welcome/);
  await using sender = startCommand("bash", ["-c", `${send} -s -i`]);
  const { stdout } = await sender.ended;
  const [, id] = /^HTTP\/1\.1 201 [^]*"ids":\["?(\d+)/.exec(stdout) ?? [];
  assert.ok(id !== undefined, stdout);
  const [, item = ""] = await listener.until(/event: notification\n(?:id: .*\n)?data: (.*)\n/);
  const { id: received, topic, title, body } = JSON.parse(item);
  assert.deepEqual({ received: String(received), topic, title, body }, {
    received: id,
    topic: "user:me",
    title: "It works",
    body: "Hello from curl",
  });
  gateway.signal("SIGTERM");
  assert.equal((await gateway.ended).code, 0);
});

Deno.test("a port that is in use is one line, and exit code 1", async () => {
  await using here = await temporaryFolder("boot");
  await using database = await testDatabase();
  const taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const { code, stderr } = await run(MAIN, [], {
    TIDINGS_DATA: here.path,
    DATABASE_URL: database.url,
    PORT: String(port),
  });
  taken.close();
  assert.equal(code, 1);
  assert.equal(
    stderr,
    `Cannot listen on 127.0.0.1 port ${port}: the port is in use; stop what listens there, or set PORT to another\n`,
  );
});

Deno.test("an address that this machine does not have is one line, and exit code 1", async () => {
  await using here = await temporaryFolder("boot");
  await using database = await testDatabase();
  const { code, stderr } = await run(MAIN, [], {
    TIDINGS_DATA: here.path,
    DATABASE_URL: database.url,
    TIDINGS_DEV: "1",
    HOST: "203.0.113.7",
  });
  assert.equal(code, 1);
  assert.match(stderr, /^Cannot listen on 203\.0\.113\.7 port 8080: this machine has no such address; .*\n$/);
});

Deno.test("it works from any folder, and stops cleanly while a client is connected", async () => {
  await using here = await temporaryFolder("boot");
  await using database = await testDatabase({ migrated: false });
  const env = { TIDINGS_DATA: here.path, DATABASE_URL: database.url, PORT: "0", TIDINGS_DRAIN: "0s" };
  await using gateway = start(MAIN, [], env, here.path);
  const [, listen = ""] = await gateway.until(/^(curl -N .*\/v1\/feed')$/m);
  await using listener = startCommand("bash", ["-c", `exec ${listen} -s`]);
  await listener.until(/event: tidings\.welcome/);
  gateway.signal("SIGTERM");
  await listener.until(/event: tidings\.reconnect/);
  const { code, stderr } = await gateway.ended;
  assert.equal(stderr, "");
  assert.equal(code, 0);
});
