import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { MAX_BODY } from "../../src/api/notifications.ts";
import { testApi } from "../helpers/api.ts";
import { testDatabase } from "../helpers/database.ts";
import { ids, problem } from "./answers.ts";

Deno.test("POST /v1/notifications says what is wrong with a body that is not JSON, not UTF-8, or of another type", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  for (const body of ["", "{", '{"to":"user:1"', "{'to':1}"]) {
    const { detail } = await problem(await api.send(body), "invalid_request");
    assert.equal(detail, "Cannot read the body: it is not valid JSON");
  }
  const response = await api.call("/v1/notifications", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: new Uint8Array([...new TextEncoder().encode('{"to":"user:1","title":"'), 0xff, 0x22, 0x7d]),
  });
  assert.equal((await problem(response, "invalid_request")).detail, "Cannot read the body: it is not UTF-8");
  for (const type of ["text/plain", "application/xml", "multipart/form-data; boundary=x"]) {
    await problem(await api.send("{}", { "content-type": type }), "unsupported_media_type");
  }
  await ids(await api.send({ to: "user:1" }, { "content-type": "application/json; charset=utf-8" }));
  const unauthorised = await fetch(`${api.url}/v1/notifications`, { method: "POST", body: "{" });
  await problem(unauthorised, "token_required");
  assert.equal(unauthorised.headers.get("www-authenticate"), "Bearer");
});

Deno.test("POST /v1/notifications refuses a body that is too large, told beforehand or not", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const large = JSON.stringify({ to: "user:1", body: "x".repeat(MAX_BODY) });
  const { detail } = await problem(await api.send(large), "too_large");
  assert.match(detail ?? "", /more than 8388608 bytes/);

  const { port } = new URL(api.url);
  const head =
    `POST /v1/notifications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await api.token()}\r\n` +
    "Content-Type: application/json\r\nConnection: close\r\n";
  const told = net.connect(Number(port), "127.0.0.1");
  told.write(`${head}Content-Length: ${MAX_BODY + 1}\r\n\r\n`);
  const [first] = await once(told, "data");
  assert.match(String(first), /^HTTP\/1\.1 413 .*"code":"too_large"/s);
  told.destroy();

  const chunked = net.connect(Number(port), "127.0.0.1");
  let stopped = false;
  chunked.on("error", () => stopped = true);
  chunked.write(`${head}Transfer-Encoding: chunked\r\n\r\n`);
  const chunk = "x".repeat(64 * 1024);
  const answered = once(chunked, "data");
  for (let sent = 0; sent <= MAX_BODY && !stopped; sent += chunk.length) {
    if (!chunked.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`)) await once(chunked, "drain");
  }
  assert.match(String((await answered)[0]), /^HTTP\/1\.1 413 .*"code":"too_large"/s);
  chunked.destroy();
});

Deno.test("POST /v1/notifications takes a body in chunks", async () => {
  await using database = await testDatabase();
  await using api = await testApi(database);
  const stream = ReadableStream.from(
    ['{"to":"us', 'er:1","title":"in ch', 'unks"}'].map((part) => new TextEncoder().encode(part)),
  );
  const response = await api.call("/v1/notifications", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: stream,
  });
  await ids(response);
  const [row] = await database.sql`select title from tidings.notification`;
  assert.equal(row!["title"], "in chunks");
});
