import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { connectStomp, RawStomp, stompUrl } from "../helpers/stomp.ts";

Deno.test("a Spring front end gets what is sent to its person, as it comes", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database, { env: { TIDINGS_STOMP_USER_PREFIX: "/user,/member" } });
  await using client = await connectStomp(stompUrl(gateway.url), await gateway.token("42"));
  await client.subscribe("/member/queue/notification");
  await database.sql`select tidings.send('user:42', body => 'one')`;
  const message = await client.messages.next();
  assert.equal(JSON.parse(message.body).body, "one");
  assert.equal(message.headers["destination"], "/member/queue/notification");
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

Deno.test("since goes on from any MESSAGE's cursor", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42", { subscribe: ["room:*"] });
  await using client = await RawStomp.connect(stompUrl(gateway.url), token);
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
