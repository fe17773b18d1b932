import assert from "node:assert/strict";
import { WebSocket } from "ws";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { RawStomp, stompUrl } from "../helpers/stomp.ts";

const TALK = { subscribe: ["room:*"], publish: ["room:*", "user:*"] };

// The suites that RabbitMQ's web-stomp keeps, a counterpart each: amqp_stomp and cowboy_websocket are stomp_send_test.ts,
// stomp_resume_test.ts and stomp_test.ts; sockjs_websocket is sockjs_test.ts; config_schema is config_test.ts;
// listener_addresses and proxy_protocol are server_test.ts and the system tests behind proxies; unit is stomp_frame_test.ts.

Deno.test("web-stomp, credential expiry: the session ends with its token, unless a fresh one came", async () => {
  await using database = await testDatabase();
  const clock = jumpClock();
  await using gateway = await startGateway(database, { clock });
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42", {}, 20));
  await using staying = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42", {}, 20));
  await staying.confirm("SEND", {
    destination: "/tidings/auth",
    authorization: `Bearer ${await gateway.token("42", {}, 6_000)}`,
  });
  await clock.jump(21_000);
  const error = await client.frames.next();
  assert.deepEqual([error.command, error.headers["code"]], ["ERROR", "token_expired"]);
  assert.equal((await client.closed.next()).code, 4401);
  await staying.confirm("SUBSCRIBE", { id: "a", destination: "/user/queue/x" });
  staying.send("SEND", {
    destination: "/tidings/auth",
    authorization: `Bearer ${await gateway.token("43")}`,
  });
  assert.equal((await staying.frames.next()).headers["code"], "invalid_token");
});

Deno.test("web-stomp, frame accumulation: a frame may come in any pieces, as text or binary, and never grow without end", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42", TALK);
  await using client = await RawStomp.connect(stompUrl(gateway.url), token);
  const frame = `SEND\ndestination:/topic/room.1\nreceipt:r\ncontent-length:3\n\na\nb\0`;
  for (const [index, char] of [...frame].entries()) {
    client.socket.send(index % 2 === 0 ? char : Buffer.from(char));
  }
  assert.equal((await client.frames.next()).command, "RECEIPT");
  for (let i = 0; i < 5; i++) {
    client.socket.send(
      `SEND\ndestination:/topic/room.1\n\n`.slice(0, i === 0 ? undefined : 0) + "x".repeat(120_000),
    );
  }
  const error = await client.frames.next();
  assert.deepEqual([error.headers["code"], JSON.parse(error.body).errors[0].field], [
    "too_large",
    "body-bytes",
  ]);
  assert.equal((await client.closed.next()).code, 1009);
});

Deno.test("web-stomp, frame accumulation: before CONNECT is good there is room for a login in pieces, and for no more", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42", TALK);
  const login = `CONNECT\naccept-version:1.2\nAuthorization:Bearer ${token}\n\n\0`;
  await using client = await RawStomp.open(stompUrl(gateway.url));
  for (let at = 0; at < login.length; at += 8) client.socket.send(login.slice(at, at + 8));
  assert.equal((await client.frames.next()).command, "CONNECTED");
  await client.confirm("SEND", { destination: "/topic/room.1" }, "x".repeat(60_000));
  // never whole, and whole but not CONNECT
  for (const rest of ["", "\0"]) {
    await using greedy = await RawStomp.open(stompUrl(gateway.url));
    greedy.socket.send("SEND\ndestination:/topic/room.1\ncontent-length:100000000\n\n");
    for (let sent = 0; sent < 7; sent++) greedy.socket.send("x".repeat(3_000));
    greedy.socket.send(rest);
    assert.equal((await greedy.frames.next()).headers["code"], "too_large");
    assert.equal((await greedy.closed.next()).code, 1009);
  }
});

Deno.test("web-stomp, frame accumulation: a frame that has begun is whole within 30 s, however busy the client is", async () => {
  await using database = await testDatabase();
  const clock = jumpClock();
  await using gateway = await startGateway(database, { clock });
  const token = await gateway.token("42", TALK);
  const url = stompUrl(gateway.url);
  await using stalling = await RawStomp.connect(url, token);
  await using finishing = await RawStomp.connect(url, token);
  await using busy = await RawStomp.connect(url, token);
  // the receipt says that what came with it, the beginning of another frame, was read
  const whole = "BEGIN\ntransaction:t\nreceipt:r\n\n\0ABORT\ntransaction:t\n\n\0";
  const [start, end] = ["SEND\ndestination:/topic/room.1\nreceipt:", "last\n\nx\0"];
  for (const client of [stalling, finishing, busy]) {
    client.socket.send(whole + start);
    assert.equal((await client.frames.next()).command, "RECEIPT");
  }
  await clock.jump(15_000);
  // each message ends the frame before and begins another
  busy.socket.send(end + start);
  assert.equal((await busy.frames.next()).headers["receipt-id"], "last");
  await clock.jump(2_000);
  finishing.socket.send(end);
  assert.equal((await finishing.frames.next()).headers["receipt-id"], "last");
  assert.equal(stalling.frames.left, 0);
  await clock.jump(14_000);
  assert.equal((await stalling.frames.next()).headers["code"], "request_timeout");
  assert.equal((await stalling.closed.next()).code, 4408);
  busy.socket.send(end);
  assert.equal((await busy.frames.next()).headers["receipt-id"], "last");
  await finishing.confirm("BEGIN", { transaction: "t" });
});

Deno.test("web-stomp, dead peers: one that answers no ping is cut, one that does stays, without any heart-beat agreed", async () => {
  await using database = await testDatabase();
  const clock = jumpClock();
  await using gateway = await startGateway(database, { clock });
  const token = await gateway.token("42", TALK);
  const open = async (autoPong: boolean) => {
    const client = await RawStomp.open(stompUrl(gateway.url), ["v12.stomp"], {}, autoPong);
    client.send("CONNECT", { "accept-version": "1.2", Authorization: `Bearer ${token}` });
    assert.equal((await client.frames.next()).command, "CONNECTED");
    return client;
  };
  await using dead = await open(false);
  await using alive = await open(true);
  // the first ping is behind CONNECTED or before it: this one is asked at 25 s, and looked at 25 s later
  const pinged = new Promise((resolve) => alive.socket.once("ping", resolve));
  await clock.jump(25_000);
  await pinged;
  assert.equal(dead.closed.all.length, 0);
  // the gateway has read the answer when it answers what came after it
  await alive.confirm("BEGIN", { transaction: "t" });
  await clock.jump(25_000);
  assert.equal((await dead.closed.next()).code, 4408);
  await alive.confirm("ABORT", { transaction: "t" });
});

Deno.test("web-stomp, login timeout: whoever does not connect in time is cut", async () => {
  await using database = await testDatabase();
  const clock = jumpClock();
  await using gateway = await startGateway(database, { clock });
  await using silent = await RawStomp.open(stompUrl(gateway.url));
  await using stalling = await RawStomp.open(stompUrl(gateway.url));
  stalling.socket.send("CONNECT\naccept-version:1.2\n");
  await clock.jump(5_100);
  for (const client of [silent, stalling]) {
    assert.equal((await client.frames.next()).headers["code"], "request_timeout");
    assert.equal((await client.closed.next()).code, 4408);
  }
});

Deno.test("web-stomp, frame size: a message, a frame and a login that are too large are refused", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42", TALK);
  {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    client.send("SEND", { destination: "/topic/room.1" }, "x".repeat(600_000));
    assert.equal((await client.closed.next()).code, 1009);
  }
  {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    client.send("SEND", { destination: "/topic/room.1", big: "x".repeat(17_000) }, "x");
    assert.equal((await client.frames.next()).headers["code"], "too_large");
  }
  await using client = await RawStomp.open(stompUrl(gateway.url));
  client.send("CONNECT", { "accept-version": "1.2", big: "x".repeat(20_000) });
  assert.equal((await client.frames.next()).headers["code"], "too_large");
  assert.equal((await client.closed.next()).code, 1009);
});

Deno.test("web-stomp, origin: a page of a foreign origin is refused whatever its credentials, an allowed one has its cookie", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, {
    env: { TIDINGS_COOKIE: "session", TIDINGS_ALLOWED_ORIGINS: "https://app.example.com" },
  });
  const token = await gateway.token("42");
  const knock = async (headers: Record<string, string>, connect: Record<string, string> = {}) => {
    await using client = await RawStomp.open(stompUrl(gateway.url), ["v12.stomp"], headers);
    client.send("CONNECT", { "accept-version": "1.2", ...connect });
    const { command, headers: { code } } = await client.frames.next();
    return code ?? command;
  };
  const cookie = `session=${token}`;
  const Authorization = `Bearer ${token}`;
  assert.equal(await knock({ origin: "https://app.example.com", cookie }), "CONNECTED");
  assert.equal(await knock({ origin: "https://evil.example.com", cookie }), "origin_not_allowed");
  assert.equal(await knock({ origin: "https://evil.example.com" }, { Authorization }), "origin_not_allowed");
  assert.equal(await knock({ origin: "https://app.example.com" }, { Authorization }), "CONNECTED");
  assert.equal(await knock({}, { Authorization }), "CONNECTED");
  assert.equal(await knock({}), "token_required");
  // an old cookie does not stand in the way of a good token
  const old = `session=${await gateway.token("42", {}, -10)}`;
  assert.equal(await knock({ origin: "https://app.example.com", cookie: old }), "token_expired");
  assert.equal(
    await knock({ origin: "https://app.example.com", cookie: old }, { Authorization }),
    "CONNECTED",
  );
});

Deno.test("web-stomp, unauthorised: no token, a wrong one, and topics that it does not allow get an ERROR and the end", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  for (
    const [token, code, close] of [["", "token_required", 4501], ["a.b.c", "invalid_token", 4501]] as const
  ) {
    await using client = await RawStomp.open(stompUrl(gateway.url));
    client.send("CONNECT", {
      "accept-version": "1.2",
      ...(token === "" ? {} : { Authorization: `Bearer ${token}` }),
    });
    assert.equal((await client.frames.next()).headers["code"], code);
    assert.equal((await client.closed.next()).code, close);
  }
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42"));
  client.send("SUBSCRIBE", { id: "a", destination: "/topic/user.43" });
  assert.equal((await client.frames.next()).headers["code"], "forbidden");
  assert.equal((await client.closed.next()).code, 4503);
});

Deno.test("web-stomp, unsubscribe: nothing comes afterwards, and a new subscription of the same id is a new one", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42", TALK));
  await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.1" });
  await client.confirm("UNSUBSCRIBE", { id: "a" });
  await client.confirm("UNSUBSCRIBE", { id: "never" });
  await database.sql`select tidings.send('room:1', body => 'unheard')`;
  await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.2" });
  await database.sql`select tidings.send('room:2', body => 'heard')`;
  assert.equal(JSON.parse((await client.messages.next()).body).body, "heard");
  assert.equal(client.messages.left, 0);
});

Deno.test("web-stomp, unsubscribe: giving up a durable place gives up one's own, whatever the frame names", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const url = stompUrl(gateway.url);
  const subscribed = async (user: string, device: string) => {
    const client = await RawStomp.connect(url, await gateway.token(user, TALK), "1.2", {
      "client-id": device,
    });
    await client.confirm("SUBSCRIBE", { id: "inbox", destination: "/topic/room.1" });
    return client;
  };
  await using mine = await subscribed("42", "phone");
  await using other = await subscribed("42", "laptop");
  await using theirs = await subscribed("43", "phone");
  await mine.confirm("UNSUBSCRIBE", {
    id: "inbox",
    durable: "true",
    "client-id": "laptop",
    user: "43",
    destination: "/topic/room.2",
  });
  const rows = await database.sql`select user_id, client from tidings.stomp_subscription order by user_id`;
  assert.deepEqual(rows.map((row) => `${row["user_id"]} ${row["client"]}`), ["42 id laptop", "43 id phone"]);
  for (const client of [other, theirs]) await client.confirm("BEGIN", { transaction: "t" });
});

Deno.test("web-stomp, raw WebSocket: subprotocols are chosen, all three versions speak, and a client without one finds STOMP on /ws", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42");
  for (
    const [offered, chosen] of [[["v10.stomp"], "v10.stomp"], [
      ["v10.stomp", "v12.stomp", "v11.stomp"],
      "v12.stomp",
    ], [[], ""]] as const
  ) {
    for (const path of offered.length === 0 ? ["/ws"] : ["/ws", "/v1/feed"]) {
      await using client = await RawStomp.open(stompUrl(gateway.url, path), [...offered]);
      assert.equal(client.socket.protocol, chosen);
    }
  }
  for (const version of ["1.0", "1.1", "1.2"] as const) {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token, version);
    await client.confirm("SUBSCRIBE", { id: "a", destination: "/user/queue/x", since: "now" });
    await database.sql`select tidings.send('user:42', body => ${version})`;
    assert.equal(JSON.parse((await client.messages.next()).body).body, version);
    client.send("DISCONNECT", { receipt: "bye" });
    assert.equal((await client.frames.next()).headers["receipt-id"], "bye");
    assert.equal((await client.closed.next()).code, 1000);
  }
  const other = new WebSocket(stompUrl(gateway.url), ["mqtt"]);
  const refused = await new Promise<number | undefined>((resolve) => {
    other.on("unexpected-response", (_request, response) => {
      response.destroy();
      resolve(response.statusCode);
    });
    // destroying the response makes one
    other.on("error", () => {});
  });
  assert.equal(refused, 400);
});

Deno.test("web-stomp, heart-beats: kept in both directions, and a client that falls silent is cut", async () => {
  await using database = await testDatabase();
  const clock = jumpClock();
  await using gateway = await startGateway(database, { clock });
  const token = await gateway.token("42");
  await using client = await RawStomp.connect(stompUrl(gateway.url), token, "1.2", {
    "heart-beat": "10000,10000",
  });
  await using quiet = await RawStomp.connect(stompUrl(gateway.url), token, "1.2", { "heart-beat": "0,0" });
  await clock.jump(10_000);
  await client.beats.next();
  client.socket.send("\n");
  // the gateway has heard it when it answers what came after it
  await client.confirm("BEGIN", { transaction: "t" });
  await clock.jump(10_000);
  await client.beats.next();
  // its WebSocket answers pings all the while
  await clock.jump(33_000);
  assert.equal((await client.closed.next()).code, 4408);
  await quiet.confirm("BEGIN", { transaction: "t" });
  assert.equal(quiet.beats.all.length, 0);
});

Deno.test("web-stomp, malformed frames: whatever is no STOMP gets an ERROR that names it, and the end", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42");
  for (
    const [text, field] of [
      ["nonsense\n\n\0", "command"],
      ["SEND\nno colon\n\n\0", "header"],
      ["SEND\ncontent-length:x\n\n\0", "content-length"],
      ["MESSAGE\n\n\0", "command"],
      ["CONNECT\n\n\0", "command"],
      ["SUBSCRIBE\nid:a\n\n\0", "destination"],
      ["SUBSCRIBE\nid:a\ndestination:/topic/a b\n\n\0", "destination"],
      ["SUBSCRIBE\nid:a\ndestination:/user/queue/a\nsince:yesterday\n\n\0", "since"],
      ["COMMIT\ntransaction:none\n\n\0", "transaction"],
    ] as const
  ) {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    client.socket.send(text);
    const error = await client.frames.next();
    assert.equal(JSON.parse(error.body).errors?.[0].field, field, text);
    assert.equal((await client.closed.next()).code, 4500);
  }
});
