import assert from "node:assert/strict";
import { Versions } from "@stomp/stompjs";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
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

for (const version of ["1.0", "1.1", "1.2"] as const) {
  Deno.test(`@stomp/stompjs in STOMP ${version} subscribes, talks, acknowledges, commits, gets its receipts, and leaves`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    const token = await gateway.token("42", TALK);
    await using client = await connectStomp(stompUrl(gateway.url), token, {
      stompVersions: new Versions([version]),
      heartbeatIncoming: 10_000,
      heartbeatOutgoing: 10_000,
    });
    assert.equal(client.client.connectedVersion, version);
    await client.subscribe("/topic/room.1");
    await client.subscribe("/user/queue/notification", { ack: "client-individual" });
    await client.publish("/app/room.1", "a: b\\c\n안녕", { title: "t: 1" });
    const room = await client.messages.next();
    const { title, body, sender } = JSON.parse(room.body);
    assert.deepEqual([title, body, sender], ["t: 1", "a: b\\c\n안녕", "42"]);
    assert(room.headers["cursor"] !== undefined);
    await database.sql`select tidings.send('user:42', body => 'b' || n) from generate_series(1, 2) n`;
    const [first, second] = await client.messages.take(2);
    first!.ack();
    // 1.0 has no word for it
    if (version !== "1.0") second!.nack();
    const transaction = client.client.begin("t");
    for (const destination of ["/topic/room.1", "/publish/room/1"]) {
      client.client.publish({ destination, body: destination, headers: { transaction: transaction.id } });
    }
    transaction.commit();
    const committed = (await client.messages.take(2)).map((message) => JSON.parse(message.body).body);
    assert.deepEqual(committed, ["/topic/room.1", "/publish/room/1"]);
    const [count] = await database.sql`select (tidings.count_now('42')).unseen`;
    assert.equal(count!["unseen"], 1);
    await client.client.deactivate();
    assert.deepEqual([await client.closed.next(), client.errors.all], [1000, []]);
  });
}

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
