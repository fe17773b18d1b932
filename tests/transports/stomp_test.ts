import assert from "node:assert/strict";
import { WebSocket } from "ws";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { jumpClock } from "../helpers/jump_clock.ts";
import { connectStomp, RawStomp, stompUrl } from "../helpers/stomp.ts";

const TALK = { subscribe: ["room:*"], publish: ["room:*", "user:*"] };

Deno.test("a Spring front end gets what is sent to its person, as it comes, in the shape that it knows", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, {
    env: {
      TIDINGS_STOMP_USER_PREFIX: "/user,/member",
      TIDINGS_STOMP_BODY:
        '{"memberId":"number:user","notificationId":"number:id","message":"body","redirectPath":"link"}',
    },
  });
  await using client = await connectStomp(stompUrl(gateway.url), await gateway.token("42"));
  await client.subscribe("/member/queue/notification");
  const [sent] = await database
    .sql`select tidings.send('user:42', body => 'liked', link => '/posts/7') as id`;
  const message = await client.messages.next();
  assert.deepEqual(JSON.parse(message.body), {
    memberId: 42,
    notificationId: Number(sent!["id"]),
    message: "liked",
    redirectPath: "/posts/7",
  });
  assert.equal(message.headers["destination"], "/member/queue/notification");
  assert.equal(message.headers["content-type"], "application/json");
});

Deno.test("what came while it was away is there when it comes back, exactly once, with no word about cursors", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42");
  {
    await using client = await connectStomp(stompUrl(gateway.url), token);
    await client.subscribe("/user/queue/notification");
    await database.sql`select tidings.send('user:42', body => 'one')`;
    assert.equal(JSON.parse((await client.messages.next()).body).body, "one");
    // a confirmation comes after the gateway's ping, so that the ping is answered when the client goes
    await client.subscribe("/user/queue/other", { durable: "false" });
  }
  await database.sql`select tidings.send('user:42', body => 'two')`;
  await database.sql`select tidings.send('user:42', body => 'three')`;
  await using client = await connectStomp(stompUrl(gateway.url), token);
  await client.subscribe("/user/queue/notification");
  await database.sql`select tidings.send('user:42', body => 'four')`;
  const bodies = (await client.messages.take(3)).map((message) => JSON.parse(message.body).body);
  assert.deepEqual(bodies, ["two", "three", "four"]);
});

Deno.test("what came while it was away is there on another gateway too, after the first was stopped", async () => {
  await using database = await testDatabase();
  await using one = await startGateway(database);
  await using other = await startGateway(database);
  const token = await one.token("42");
  await using client = await connectStomp(stompUrl(one.url), token);
  await client.subscribe("/user/queue/notification");
  await database.sql`select tidings.send('user:42', body => 'one')`;
  await client.messages.next();
  await client.subscribe("/user/queue/other", { durable: "false" });
  await one.stop();
  assert.equal(await client.closed.next(), 1012);
  await database.sql`select tidings.send('user:42', body => 'two')`;
  await using again = await connectStomp(stompUrl(other.url), token);
  await again.subscribe("/user/queue/notification");
  assert.equal(JSON.parse((await again.messages.next()).body).body, "two");
});

Deno.test("two clients that name themselves keep two places; durable:false keeps none; a place can be given up", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42");
  const url = stompUrl(gateway.url);
  const visit = async (name: string, headers: Record<string, string> = {}) => {
    await using client = await RawStomp.connect(url, token, "1.2", { "client-id": name });
    await client.confirm("SUBSCRIBE", { id: "inbox", destination: "/user/queue/notification", ...headers });
    await database.sql`select tidings.send('user:42', body => ${`to ${name}`})`;
    const bodies: string[] = [];
    while (bodies.at(-1) !== `to ${name}`) bodies.push(JSON.parse((await client.messages.next()).body).body);
    await client.confirm("UNSUBSCRIBE", { id: "inbox", ...headers });
    return bodies;
  };
  assert.deepEqual(await visit("phone"), ["to phone"]);
  // never seen: it goes on where the person's latest one stopped
  assert.deepEqual(await visit("laptop"), ["to laptop"]);
  assert.deepEqual(await visit("phone"), ["to laptop", "to phone"]);
  assert.deepEqual(await visit("visitor", { durable: "false" }), ["to visitor"]);
  assert.deepEqual(await visit("laptop"), ["to phone", "to visitor", "to laptop"]);
  await using client = await RawStomp.connect(url, token, "1.2", { "client-id": "laptop" });
  await client.confirm("SUBSCRIBE", { id: "inbox", destination: "/user/queue/notification" });
  await client.confirm("UNSUBSCRIBE", { id: "inbox", durable: "true" });
  const rows = await database.sql`select client from tidings.stomp_subscription order by client`;
  assert.deepEqual(rows.map((row) => row["client"]), ["id phone"]);
});

Deno.test("since goes on from any MESSAGE's cursor", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42", TALK));
  await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.1" });
  await database.sql`select tidings.send('room:1', body => 'b' || n) from generate_series(1, 5) n`;
  const messages = await client.messages.take(5);
  for (const [index, message] of messages.entries()) {
    await client.confirm("SUBSCRIBE", {
      id: `s${index}`,
      destination: "/topic/room/1",
      since: message.headers["cursor"]!,
    });
    const rest = await client.messages.take(4 - index);
    assert.deepEqual(rest.map((frame) => JSON.parse(frame.body).body), ["b2", "b3", "b4", "b5"].slice(index));
    await client.confirm("UNSUBSCRIBE", { id: `s${index}` });
  }
});

Deno.test("acknowledged means seen, NACK leaves it unseen, and what was not acknowledged comes again", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42");
  {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    await client.confirm("SUBSCRIBE", { id: "a", destination: "/user/queue/x", ack: "client-individual" });
    await database.sql`select tidings.send('user:42', body => 'b' || n) from generate_series(1, 4) n`;
    const messages = await client.messages.take(4);
    await client.confirm("ACK", { id: messages[0]!.headers["ack"]! });
    await client.confirm("NACK", { id: messages[1]!.headers["ack"]! });
    await client.confirm("ACK", { id: messages[3]!.headers["ack"]! });
    await client.confirm("UNSUBSCRIBE", { id: "a" });
  }
  const [count] = await database.sql`select (tidings.count_now('42')).unseen`;
  assert.equal(count!["unseen"], 2);
  await using client = await RawStomp.connect(stompUrl(gateway.url), token);
  await client.confirm("SUBSCRIBE", { id: "a", destination: "/user/queue/x", ack: "client-individual" });
  const again = await client.messages.take(2);
  assert.deepEqual(again.map((frame) => JSON.parse(frame.body).body), ["b3", "b4"]);
});

Deno.test("acknowledging what is in nobody's inbox is no mistake", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42", TALK));
  await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.1", ack: "client" });
  await database.sql`select tidings.send('room:1', body => 'x', transient => true)`;
  const message = await client.messages.next();
  await client.confirm("ACK", { id: message.headers["ack"]! });
  await client.confirm("ACK", { id: "999999" });
});

Deno.test("no more than prefetch-count messages wait, and the rest comes as they are acknowledged", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42"));
  await database.sql`select tidings.send('user:42', body => 'b' || n) from generate_series(1, 500) n`;
  await client.confirm("SUBSCRIBE", {
    id: "a",
    destination: "/user/queue/x",
    ack: "client",
    "prefetch-count": "7",
    since: "earliest",
  });
  for (let got = 0; got < 500;) {
    const messages = await client.messages.take(Math.min(7, 500 - got));
    await client.confirm("BEGIN", { transaction: "t" });
    assert.equal(client.messages.left, 0, "more than the prefetch came");
    await client.confirm("ABORT", { transaction: "t" });
    got += messages.length;
    assert.equal(JSON.parse(messages.at(-1)!.body).body, `b${got}`);
    client.send("ACK", { id: messages.at(-1)!.headers["ack"]! });
  }
});

Deno.test("SEND publishes what the token allows: to a topic, to one person, transient, answered when committed", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const url = stompUrl(gateway.url);
  await using kim = await connectStomp(url, await gateway.token("kim", TALK));
  await using mina = await connectStomp(url, await gateway.token("mina", TALK));
  await mina.subscribe("/user/queue/call");
  await mina.subscribe("/topic/room.1");
  await kim.publish("/user/mina/queue/call", JSON.stringify({ type: "offer", sdp: "v=0" }), {
    type: "call",
    transient: "true",
  });
  await kim.publish("/publish/room/1", "hello");
  await kim.publish("/app/room.1", JSON.stringify({ title: "t", body: "b", link: "/x" }));
  const rows = await database
    .sql`select topic, body, sender from tidings.notification where topic like 'room:%' order by id`;
  assert.deepEqual(rows.map((row) => ({ ...row })), [
    { topic: "room:1", body: "hello", sender: "kim" },
    { topic: "room:1", body: "b", sender: "kim" },
  ]);
  const [call, hello, both] = (await mina.messages.take(3)).map((message) => JSON.parse(message.body));
  assert.deepEqual([call.type, call.data, call.transient, call.sender], [
    "call",
    { type: "offer", sdp: "v=0" },
    true,
    "kim",
  ]);
  assert.equal(hello.body, "hello");
  assert.deepEqual([both.title, both.body, both.link], ["t", "b", "/x"]);
});

Deno.test("SEND where the token does not allow it, or with wrong fields, ends with an ERROR that names it", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const cases: [Record<string, string>, string, string, number][] = [
    [{ destination: "/topic/other" }, "x", "forbidden", 4503],
    [{ destination: "/user/queue/x" }, "x", "forbidden", 4503],
    [{ destination: "/topic/room.1", type: "tidings.join" }, "x", "invalid_request", 4500],
    [{ destination: "/nowhere" }, "x", "invalid_request", 4500],
  ];
  const token = await gateway.token("42", { subscribe: [], publish: ["room:*"] });
  for (const [headers, body, code, close] of cases) {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    client.send("SEND", { ...headers, receipt: "r" }, body);
    const error = await client.frames.next();
    assert.deepEqual([error.command, error.headers["code"], error.headers["receipt-id"]], [
      "ERROR",
      code,
      "r",
    ]);
    assert.equal((await client.closed.next()).code, close);
  }
  const [row] = await database.sql`select count(*)::int as n from tidings.notification`;
  assert.equal(row!["n"], 0);
});

Deno.test("COMMIT sends all of a transaction at once or nothing of it; ABORT and a lost connection send nothing", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42", TALK);
  const count = async () =>
    (await database.sql`select count(*)::int as n, count(distinct xid)::int as x from tidings.notification`)[
      0
    ]!;
  const send = (client: RawStomp, destination: string) =>
    client.confirm("SEND", { destination, transaction: "t" }, "x");
  {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    await client.confirm("BEGIN", { transaction: "t" });
    for (let i = 0; i < 3; i++) await send(client, "/topic/room.1");
    assert.equal((await count())["n"], 0);
    await client.confirm("COMMIT", { transaction: "t" });
    assert.deepEqual({ ...(await count()) }, { n: 3, x: 1 });
    await client.confirm("BEGIN", { transaction: "t" });
    await send(client, "/topic/room.1");
    await client.confirm("ABORT", { transaction: "t" });
    await client.confirm("BEGIN", { transaction: "t" });
    await send(client, "/topic/room.1");
    await send(client, "/topic/forbidden");
    client.send("COMMIT", { transaction: "t" });
    assert.equal((await client.frames.next()).headers["code"], "forbidden");
    await client.closed.next();
  }
  {
    await using client = await RawStomp.connect(stompUrl(gateway.url), token);
    await client.confirm("BEGIN", { transaction: "t" });
    await send(client, "/topic/room.1");
  }
  assert.equal((await count())["n"], 3);
});

Deno.test("a session that publishes too fast is slowed down, and refused when it would take too long", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42", TALK));
  for (let i = 0; i < 50; i++) await client.confirm("SEND", { destination: "/topic/room.1" }, "x");
  await client.confirm("BEGIN", { transaction: "t" });
  for (let i = 0; i < 1_000; i++) {
    client.send("SEND", { destination: "/topic/room.1", transaction: "t" }, "x");
  }
  // waits for a full bucket, two and a half seconds at most, and leaves a debt of 950
  await client.confirm("COMMIT", { transaction: "t" });
  client.send("SEND", { destination: "/topic/room.1" }, "x");
  const error = await client.frames.next();
  assert.equal(error.headers["code"], "too_many_requests");
  const wait = Number(error.headers["retry-after"]);
  assert(wait > 30 && wait <= 48, `${wait} s`);
  assert.equal((await client.closed.next()).code, 4429);
});

// The suites that RabbitMQ's web-stomp keeps, a counterpart each (amqp_stomp, cowboy_websocket, raw_websocket, unauthorized…).

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
  await clock.jump(20_001);
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

Deno.test("frames before a bad one in the same message are carried out, in the version that CONNECT in it agreed on", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.open(stompUrl(gateway.url));
  const token = await gateway.token("42", TALK);
  client.parser.version = "1.0";
  client.socket.send(
    `CONNECT\naccept-version:1.0\nAuthorization:Bearer ${token}\n\n\0` +
      "SEND\ndestination:/topic/room:1\ntitle:a\\tb\nreceipt:r\n\nx\0\n\nnonsense\n\n\0",
  );
  const [connected, receipt, error] = await client.frames.take(3);
  assert.deepEqual([connected!.command, receipt!.command, error!.command], ["CONNECTED", "RECEIPT", "ERROR"]);
  const [row] = await database.sql`select title from tidings.notification`;
  assert.equal(row!["title"], "a\\tb");
});

Deno.test("a client that reads nothing holds up nobody, and gets all when it reads again", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42"));
  await using lively = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42"));
  await client.confirm("SUBSCRIBE", { id: "a", destination: "/user/queue/x", since: "now" });
  await lively.confirm("SUBSCRIBE", { id: "a", destination: "/user/queue/x", since: "now" });
  client.socket.pause();
  await database.sql`
    insert into tidings.notification (topic, title, body)
    select 'user:42', n::text, repeat('x', 20000) from generate_series(1, 1000) n`;
  assert.equal(JSON.parse((await lively.messages.take(1_000)).at(-1)!.body).title, "1000");
  client.socket.resume();
  const titles = (await client.messages.take(1_000)).map((message) => JSON.parse(message.body).title);
  assert.deepEqual(titles, Array.from({ length: 1_000 }, (_, n) => String(n + 1)));
});

Deno.test("queues that are set to types show those, and the others show the rest", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, {
    env: { TIDINGS_STOMP_QUEUES: "match=match.found,match.made" },
  });
  await using client = await RawStomp.connect(stompUrl(gateway.url), await gateway.token("42"));
  await client.confirm("SUBSCRIBE", { id: "m", destination: "/user/queue/match", since: "now" });
  await client.confirm("SUBSCRIBE", { id: "n", destination: "/user/queue/notification", since: "now" });
  await database.sql`select tidings.send('user:42', type => 'match.found')`;
  await database.sql`select tidings.send('user:42', type => 'liked')`;
  const got = (await client.messages.take(2)).map(({ headers }) =>
    `${headers["subscription"]} ${headers["type"]}`
  );
  assert.deepEqual(got.sort(), ["m match.found", "n liked"]);
});
