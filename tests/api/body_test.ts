import assert from "node:assert/strict";
import { MAX_BODY } from "../../src/api/notifications.ts";
import { testApi } from "../helpers/api.ts";
import { testDatabase } from "../helpers/database.ts";
import { rawHttp } from "../helpers/raw_http.ts";
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

  const request = "POST /v1/notifications HTTP/1.1";
  const headers = {
    Authorization: `Bearer ${await api.token()}`,
    "Content-Type": "application/json",
    Connection: "close",
  };
  const refused = /^HTTP\/1\.1 413 .*"code":"too_large"/s;
  await using told = rawHttp(api.url, request, { ...headers, "Content-Length": String(MAX_BODY + 1) });
  await told.until(refused);

  await using chunked = rawHttp(api.url, request, { ...headers, "Transfer-Encoding": "chunked" });
  const chunk = "x".repeat(64 * 1024);
  for (let sent = 0; sent <= MAX_BODY && chunked.socket.writable; sent += chunk.length) {
    if (chunked.socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`)) continue;
    // the server may answer and close before it has taken all
    await Promise.race([new Promise((resolve) => chunked.socket.once("drain", resolve)), chunked.closed]);
  }
  await chunked.until(refused);
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
