import assert from "node:assert/strict";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { random } from "../helpers/random.ts";
import { connectStomp, RawStomp, stompUrl } from "../helpers/stomp.ts";

const TALK = { subscribe: ["room:*"], publish: ["room:*", "user:*"] };

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

Deno.test("a client that goes on where another of the same person stopped has a place of its own from then on", async () => {
  await using database = await testDatabase();
  await using gateway = await startGateway(database);
  const token = await gateway.token("42");
  const connect = async (device: string) => {
    const client = await RawStomp.connect(stompUrl(gateway.url), token, "1.2", { "client-id": device });
    await client.confirm("SUBSCRIBE", { id: "inbox", destination: "/user/queue/x", ack: "client" });
    return client;
  };
  await using phone = await connect("phone");
  {
    await using laptop = await connect("laptop");
    await database.sql`select tidings.send('user:42', body => 'one')`;
    // it came, and the laptop went before it said so
    await laptop.messages.next();
  }
  await phone.confirm("ACK", { id: (await phone.messages.next()).headers["ack"]! });
  await phone.confirm("UNSUBSCRIBE", { id: "inbox" });
  await using laptop = await connect("laptop");
  assert.equal(JSON.parse((await laptop.messages.next()).body).body, "one");
});

for (const ack of ["auto", "client", "client-individual"]) {
  Deno.test(`a client with ack:${ack} that is cut again and again, on two gateways, goes on where it stopped and misses nothing`, async () => {
    await using database = await testDatabase();
    await using one = await startGateway(database);
    await using other = await startGateway(database);
    const token = await one.token("42");
    const chance = random(5_101);
    const most = ack === "auto" ? 400 : 80;
    const connect = async () => {
      const url = stompUrl(chance() < 0.5 ? one.url : other.url);
      const client = await RawStomp.connect(url, token, "1.2", { "client-id": "phone" });
      const headers = { id: "inbox", destination: "/user/queue/x", ack, "prefetch-count": "40" };
      await client.confirm("SUBSCRIBE", headers);
      return client;
    };
    // its place is known before anything is sent
    await (await connect())[Symbol.asyncDispose]();
    const sending = (async () => {
      for (let n = 1; n <= most; n += 4) {
        await database.sql`select tidings.send('user:42', body => n::text) from generate_series(${n}::int, ${
          n + 3
        }) n`;
      }
    })();
    const seen: number[] = [];
    let connections = 0;
    while (seen.length < most) {
      const client = await connect();
      connections++;
      for (let left = 1 + Math.floor(chance() * 30); left > 0; left--) {
        const message = await client.messages.next();
        if (JSON.parse(message.body).body === String(most)) left = 0;
        if (ack !== "auto" && chance() < 0.7) {
          await client.confirm("ACK", { id: message.headers["ack"]! });
        }
      }
      await client[Symbol.asyncDispose]();
      // all that arrived counts, also what nobody looked at yet
      const arrived = client.messages.all.map((message) => Number(JSON.parse(message.body).body));
      assert.deepEqual(arrived, arrived.toSorted((a, b) => a - b));
      for (const n of arrived) if (!seen.includes(n)) seen.push(n);
    }
    await sending;
    assert.deepEqual(seen, Array.from({ length: most }, (_, index) => index + 1));
    assert(ack === "auto" || connections > 1, `${connections}`);
  });
}
