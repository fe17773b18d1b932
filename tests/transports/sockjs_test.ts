import assert from "node:assert/strict";
import { WebSocket } from "ws";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { Inbox, RawStomp, stompUrl } from "../helpers/stomp.ts";

/** A client that writes SockJS's frames as the test says. */
async function knock(url: string) {
  const socket = new WebSocket(url);
  const frames = new Inbox<string>();
  const closed = new Inbox<number>();
  socket.on("message", (data) => frames.push(String(data)));
  socket.on("close", (code) => closed.push(code));
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  assert.equal(await frames.next(), "o");
  return {
    frames,
    closed,
    send: (text: string) => socket.send(text),
    async [Symbol.asyncDispose]() {
      if (socket.readyState === WebSocket.CLOSED) return;
      const gone = new Promise((resolve) => socket.once("close", resolve));
      socket.terminate();
      await gone;
    },
  };
}

Deno.test("SockJS: its frames carry STOMP, pieces of frames as well, and the close says why", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42");
  await using client = await knock(stompUrl(gateway.url, "/ws/247/k3f9abcd/websocket"));
  const connect = `CONNECT\naccept-version:1.2\nAuthorization:Bearer ${token}\n\n\0`;
  client.send("");
  client.send(JSON.stringify([connect.slice(0, 30), connect.slice(30)]));
  const [connected] = JSON.parse((await client.frames.next()).slice(1));
  assert.match(connected, /^CONNECTED\nversion:1.2\n/);
  client.send(JSON.stringify("SUBSCRIBE\nid:a\ndestination:/user/queue/x\nreceipt:r\n\n\0"));
  assert.match(JSON.parse((await client.frames.next()).slice(1))[0], /^RECEIPT\nreceipt-id:r\n/);
  await database.sql`select tidings.send('user:42', body => '안녕 "quoted"')`;
  const [message] = JSON.parse((await client.frames.next()).slice(1));
  assert.equal(JSON.parse(message.slice(message.indexOf("\n\n") + 2, -1)).body, '안녕 "quoted"');
  client.send(JSON.stringify(["NONSENSE\n\n\0"]));
  assert.match(JSON.parse((await client.frames.next()).slice(1))[0], /^ERROR\n/);
  assert.equal(await client.frames.next(), 'c[4500,"The frame is not valid"]');
  assert.equal(await client.closed.next(), 4500);
});

Deno.test("SockJS: what is no frame of it ends the connection", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  for (const broken of ["CONNECT\n\n\0", "[1]", "{}", "null", '["a", null]']) {
    await using client = await knock(stompUrl(gateway.url, "/ws/0/s/websocket"));
    client.send(broken);
    assert.equal(await client.frames.next(), 'c[4500,"Broken framing"]', broken);
    assert.equal(await client.closed.next(), 4500);
  }
});

Deno.test("SockJS: it is told that WebSocket is to be had, and finds it, and nothing else, beside STOMP's path", async () => {
  await using database = await testDatabase();
  const origin = "https://app.example.com";
  await using gateway = await startGateway(database, {
    env: { TIDINGS_STOMP_PATH: "/socket/ws", TIDINGS_ALLOWED_ORIGINS: origin },
  });
  const info = await fetch(`${gateway.url}/socket/ws/info?t=1`, { headers: { origin } });
  const { entropy, ...rest } = await info.json();
  assert.deepEqual(rest, { websocket: true, cookie_needed: false, origins: ["*:*"] });
  assert(Number.isInteger(entropy));
  assert.equal(info.headers.get("access-control-allow-origin"), origin);
  assert.equal(info.headers.get("access-control-allow-credentials"), "true");
  const token = await gateway.token("42");
  // the raw endpoint, for clients without SockJS's framing
  for (const path of ["/socket/ws/websocket", "/socket/ws"]) {
    await using raw = await RawStomp.open(stompUrl(gateway.url, path));
    raw.send("CONNECT", { "accept-version": "1.2", Authorization: `Bearer ${token}` });
    assert.equal((await raw.frames.next()).command, "CONNECTED");
  }
  await using framed = await knock(stompUrl(gateway.url, "/socket/ws/000/abcdefgh/websocket"));
  assert.equal(framed.closed.all.length, 0);
  for (
    const path of ["/socket/ws/000/abcdefgh/xhr_streaming", "/socket/ws/000/abcdefgh/websocket", "/ws/info"]
  ) {
    const response = await fetch(gateway.url + path);
    await response.body?.cancel();
    assert.equal(response.status, 404, path);
  }
  for (
    const path of ["/socket/ws/000/websocket", "/socket/ws/a/b/c/websocket", "/socket/wsx/a/b/websocket"]
  ) {
    await assert.rejects(knock(stompUrl(gateway.url, path)), /404/, path);
  }
});
