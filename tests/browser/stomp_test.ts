import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { startCommand } from "../helpers/process.ts";
import { Inbox, stompUrl } from "../helpers/stomp.ts";
import { startBrowser } from "./chromium.ts";

const FRONT_END = fileURLToPath(new URL("stomp_page.cjs", import.meta.url));
const PACKAGES = fileURLToPath(new URL("../../node_modules/", import.meta.url));
const LIBRARIES = {
  "/stomp.js": `${PACKAGES}@stomp/stompjs/bundles/stomp.umd.js`,
  "/sockjs.js": `${PACKAGES}sockjs-client/dist/sockjs.min.js`,
};
const SPRING = {
  TIDINGS_STOMP_USER_PREFIX: "/user,/member",
  TIDINGS_STOMP_BODY:
    '{"memberId":"number:user","notificationId":"number:id","message":"body","redirectPath":"link"}',
};
const RIGHTS = { subscribe: ["room:*"], publish: ["room:*"] };

/** An application's own server: its page on an origin of its own. */
async function servePage(): Promise<{ origin: string } & AsyncDisposable> {
  const files: Record<string, string> = {
    "/": "<!doctype html><title>app</title><script src=/stomp.js></script><script src=/sockjs.js></script>" +
      "<script src=/page.js></script>",
    "/stomp.js": await readFile(LIBRARIES["/stomp.js"], "utf8"),
    "/sockjs.js": await readFile(LIBRARIES["/sockjs.js"], "utf8"),
    "/page.js": await readFile(FRONT_END, "utf8"),
  };
  const server = createServer((request, response) => {
    const text = files[request.url ?? ""];
    if (text === undefined) return void response.writeHead(204).end();
    response.setHeader("content-type", request.url === "/" ? "text/html" : "text/javascript");
    response.end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://localhost:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

for (const by of ["WebSocket", "SockJS"]) {
  Deno.test(`a Spring front end in Chromium connects unchanged by ${by}, with its HttpOnly cookie, talks, and misses nothing while it reloads`, () =>
    inChromium(by === "SockJS"));
}

for (
  const [name, command, args] of [["Node", "node", []], ["Deno", Deno.execPath(), ["run", "-A"]]] as const
) {
  for (const by of ["WebSocket", "SockJS"]) {
    Deno.test(`the same front end in ${name} by ${by}`, async () => {
      await using database = await testDatabase();
      await using gateway = await startGateway(database, { env: SPRING });
      await using program = startCommand(command, [...args, FRONT_END], {
        STOMP_URL: stompUrl(gateway.url),
        ...(by === "SockJS" ? { SOCKJS_URL: `${gateway.url}/ws` } : {}),
        STOMP_TOKEN: await gateway.token("42", RIGHTS),
      });
      await program.until(/"kind":"room","value":"hello"/);
      await database.sql`select tidings.send('user:42', body => 'one', link => '/a')`;
      await program.until(
        /"kind":"notification","value":\{"memberId":42,"notificationId":\d+,"text":"one","redirectPath":"\/a"\}/,
      );
    });
  }
}

async function inChromium(sockJs: boolean): Promise<void> {
  await using database = await testDatabase();
  await using page = await servePage();
  await using gateway = await startGateway(database, {
    env: { ...SPRING, TIDINGS_COOKIE: "session", TIDINGS_ALLOWED_ORIGINS: page.origin },
  });
  await using chromium = await startBrowser();
  const context = await chromium.context();
  await context.addCookies([{
    name: "session",
    value: await gateway.token("42", RIGHTS),
    domain: "localhost",
    path: "/",
    httpOnly: true,
  }]);
  const tab = await context.newPage();
  const seen = new Inbox<{ kind: string; value: unknown }>();
  await tab.exposeFunction("tell", (kind: string, value: unknown) => seen.push({ kind, value }));
  const address = gateway.url.replace("127.0.0.1", "localhost");
  const where = sockJs ? { sockJs: `${address}/ws` } : { url: stompUrl(address) };
  const load = async () => {
    await tab.goto(page.origin);
    await tab.evaluate((where) => {
      const { frontEnd, tell } = globalThis as unknown as Record<string, (...args: unknown[]) => unknown>;
      frontEnd!({
        ...where,
        onNotification: (value: unknown) => tell!("notification", value),
        onRoom: (value: unknown) => tell!("room", value),
        onError: (value: unknown) => tell!("error", value),
      });
    }, where);
  };
  await load();
  assert.deepEqual(await seen.next(), { kind: "room", value: "hello" });
  const send = async (text: string) =>
    (await database.sql`select tidings.send('user:42', body => ${text}, link => '/posts/7')::text as id`)[0]![
      "id"
    ];
  const first = await send("one");
  assert.deepEqual(await seen.next(), {
    kind: "notification",
    value: { memberId: 42, notificationId: Number(first), text: "one", redirectPath: "/posts/7" },
  });
  await tab.goto("about:blank");
  await send("two");
  await load();
  const after = (await seen.take(2)).map(({ kind, value }) =>
    `${kind} ${(value as { text?: string }).text ?? value}`
  );
  assert.deepEqual(after.sort(), ["notification two", "room hello"]);
}
