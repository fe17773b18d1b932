import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import { headOf, readCredentials } from "../../src/auth/credentials.ts";
import { createOrigins } from "../../src/auth/origin.ts";
import { createVerifier, mint } from "../../src/auth/token.ts";
import { TidingsError } from "../../src/errors.ts";
import { manualClock } from "../helpers/manual_clock.ts";

const SECRET = "a secret of at least thirty-two bytes, for tests";
const clock = manualClock();
const token = await mint(SECRET, { sub: "42" }, 60, clock);

/** A node:http server that tells a WebSocket client who it is, and one address of it. */
async function server(): Promise<{ address: string } & AsyncDisposable> {
  const never = () => Promise.reject(new Error("no tickets here"));
  const deps = {
    verifier: createVerifier({ key: { secret: SECRET } }, { clock, fetch: never }),
    tickets: { create: never, redeem: never },
    origins: createOrigins([]),
    cookie: "session",
  };
  const http = createServer();
  const sockets = new WebSocketServer({ noServer: true });
  http.on("upgrade", async (request: IncomingMessage, socket, head) => {
    const says = await readCredentials(headOf(request, true), deps).then(
      (found) => found.kind === "none" ? "none" : `${found.identity.user} by ${found.via}`,
      (error) => error instanceof TidingsError ? error.code : String(error),
    );
    sockets.handleUpgrade(request, socket, head, (client) => {
      client.send(says);
      client.close();
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(http.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      sockets.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

async function connect(url: string, headers: Record<string, string>): Promise<string> {
  const client = new WebSocket(url, { headers });
  const closed = new Promise((resolve) => client.once("close", resolve));
  const says = await new Promise<string>((resolve, reject) => {
    client.once("message", (data) => resolve(String(data)));
    client.once("error", reject);
  });
  await closed;
  return says;
}

Deno.test("credentials of a raw upgrade are read like any other request's", async () => {
  await using gateway = await server();
  const { address } = gateway;
  const feed = `ws://${address}/v1/feed`;
  const cookie = `session=${token}`;
  const cases: [string, Record<string, string>, string][] = [
    [feed, {}, "none"],
    [feed, { authorization: `Bearer ${token}` }, "42 by bearer"],
    [feed, { cookie, origin: `http://${address}` }, "42 by cookie"],
    [feed, { cookie, origin: `http://${address}.evil.test` }, "origin_not_allowed"],
    [feed, { cookie, origin: "http://evil.test", "x-forwarded-host": "evil.test" }, "origin_not_allowed"],
    [feed, { cookie }, "origin_not_allowed"],
    [`${feed}?token=${token}`, {}, "invalid_request"],
    [`${feed}?ticket=${token}`, {}, "invalid_request"],
  ];
  for (const [url, headers, expected] of cases) {
    assert.equal(await connect(url, headers), expected, `${url.slice(0, 60)} ${Object.keys(headers)}`);
  }
});
