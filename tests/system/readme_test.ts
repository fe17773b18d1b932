import assert from "node:assert/strict";
import { freePort } from "../helpers/port.ts";
import { blocksOf, documented } from "./documented.ts";

Deno.test("README's first steps work when pasted, in their order", async () => {
  const blocks = await blocksOf("README.md");
  assert.equal(blocks.filter(({ listens }) => listens).length, 1);
  assert.ok(blocks.length > 5, `only ${blocks.length} blocks`);
  await using docs = await documented();

  const listen = blocks.find(({ listens }) => listens)!.text;
  await using listener = docs.paste(listen.replace("curl", "exec curl"));
  await listener.until(/event: tidings\.welcome/);
  const said: string[] = [];
  for (const { text, listens } of blocks) {
    if (listens) continue;
    const { code, stdout, stderr } = await docs.paste(text).ended;
    assert.equal(code, 0, `${text}\n${stdout}\n${stderr}`);
    said.push(stdout);
  }
  for (const title of ["Lunch?", "Bob wants to climb with you", "Hello from SQL", "ann posted"]) {
    await listener.until(new RegExp(title.replace("?", "\\?")));
    assert.ok(said.some((text) => text.includes(`"title":"${title}"`)), `${title} was not found again`);
  }
  assert.match(said.at(-1)!, /^eyJ/);
  docs.gateway.signal("SIGTERM");
  assert.equal((await docs.gateway.ended).code, 0);
});

Deno.test("docs/push.md works when pasted: a webhook is told of who is away, and the trace tells of it", async () => {
  const blocks = await blocksOf("docs/push.md");
  const [listen] = blocks.filter(({ listens }) => listens);
  // a port of its own in the place of 9000
  const origin = "http://127.0.0.1:9000";
  const own = freePort();
  const instead = { "port: 9000": `port: ${own}`, [origin]: `http://127.0.0.1:${own}` };
  await using docs = await documented({ TIDINGS_PUSH_HOSTS: instead[origin]! });
  await using receiver = docs.paste(listen!.text, instead);
  await receiver.until(/Listening on/);
  const said: string[] = [];
  const [register, ...rest] = blocks.filter(({ listens }) => !listens);
  for (const { text } of [register!, ...rest]) {
    const { code, stdout, stderr } = await docs.paste(text, instead).ended;
    assert.equal(code, 0, `${text}\n${stdout}\n${stderr}`);
    said.push(stdout);
    if (text === register!.text) await receiver.until(/^ntf_\S+ \{.*Are you away\?/m);
  }
  assert.match(said[0]!, /"kind":"webhook"/);
  assert.match(said[1]!, /push sent\s*\|\s*\|\s*device backend: answered 200/);
  assert.match(said[2]!, /\{"items":\[\{[^\]]*likes on your post/);
});

Deno.test("docs/schedules.md works when pasted", async () => {
  await using docs = await documented();
  const said: string[] = [];
  for (const { text } of await blocksOf("docs/schedules.md")) {
    const { code, stdout, stderr } = await docs.paste(text).ended;
    assert.equal(code, 0, `${text}\n${stdout}\n${stderr}`);
    said.push(stdout);
  }
  assert.match(said[1]!, /The gym closes in an hour.*Happy new year/s);
  const ids = [...said[3]!.matchAll(/"ids":\["(\d+)"\]/g)].map(([, id]) => id);
  assert.equal(ids.length, 2);
  assert.equal(ids[0], ids[1], "the same name is the same schedule");
});
