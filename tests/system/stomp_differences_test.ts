/**
 * The same script against Tidings and against RabbitMQ's web-stomp: where they differ is the table of docs/stomp.md. And Debian's
 * `python3-stomp`, through a bridge from TCP to WebSocket.
 *
 * Needs Debian's rabbitmq-server and python3-stomp; talks to loopback only, and ends by itself.
 * @module
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { WebSocket } from "ws";
import { testDatabase } from "../helpers/database.ts";
import { startGateway } from "../helpers/gateway.ts";
import { startCommand } from "../helpers/process.ts";
import { RawStomp, stompUrl } from "../helpers/stomp.ts";
import { startRabbitMq } from "./rabbitmq.ts";

const RIGHTS = { subscribe: ["room:*"], publish: ["room:*", "user:42"] };

/** How a broker is reached. */
interface Broker {
  url: string;
  login: Record<string, string>;
}

/** One question, asked on a connection of its own; the answer in a few words. */
interface Probe {
  question: string;
  ask(broker: Broker): Promise<string>;
  /** Why they differ, for the table. */
  why: string;
}

async function connect(broker: Broker, headers: Record<string, string> = {}): Promise<RawStomp> {
  const client = await RawStomp.open(broker.url);
  client.send("CONNECT", { "accept-version": "1.2", host: "/", ...broker.login, ...headers });
  assert.equal((await client.frames.next()).command, "CONNECTED");
  return client;
}

/** What a frame with a receipt is answered with. */
async function answer(
  client: RawStomp,
  command: string,
  headers: Record<string, string>,
  body = "",
): Promise<string> {
  client.send(command, { ...headers, receipt: "probe" }, body);
  return (await client.frames.next()).command;
}

function single(command: string, headers: Record<string, string>, body = "") {
  return async (broker: Broker) => {
    await using client = await connect(broker);
    return await answer(client, command, headers, body);
  };
}

/** The first MESSAGE, or the ERROR that came instead. */
async function first(client: RawStomp): Promise<string> {
  const frame = await Promise.race([client.messages.next(), client.frames.next()]);
  return frame.command === "MESSAGE" ? `MESSAGE ${JSON.stringify(frame.body).slice(0, 18)}` : frame.command;
}

const PROBES: Probe[] = [
  {
    question: "Version agreed on for 1.0, 1.1, 1.2",
    async ask(broker) {
      await using client = await RawStomp.open(broker.url);
      client.send("CONNECT", { "accept-version": "1.0,1.1,1.2", host: "/", ...broker.login });
      return (await client.frames.next()).headers["version"] ?? "none";
    },
    why: "",
  },
  {
    question: "No version in common",
    async ask(broker) {
      await using client = await RawStomp.open(broker.url);
      client.send("CONNECT", { "accept-version": "9.9", host: "/", ...broker.login });
      return (await client.frames.next()).command;
    },
    why: "",
  },
  {
    question: "Heart-beat offered to a client that asks for 4 s",
    async ask(broker) {
      await using client = await RawStomp.open(broker.url);
      client.send("CONNECT", {
        "accept-version": "1.2",
        host: "/",
        "heart-beat": "4000,4000",
        ...broker.login,
      });
      return (await client.frames.next()).headers["heart-beat"] ?? "none";
    },
    why: "RabbitMQ takes the client's pace; Tidings beats every 10 s for everybody",
  },
  {
    question: "Body of a text that was sent to a topic",
    async ask(broker) {
      await using client = await connect(broker);
      await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.1" });
      client.send("SEND", { destination: "/topic/room.1" }, "hello");
      return await first(client);
    },
    why: "a notification has an id, a time and a sender; the shape can be set (`TIDINGS_STOMP_BODY`)",
  },
  {
    question: "The sender's own header on the MESSAGE",
    async ask(broker) {
      await using client = await connect(broker);
      await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.2" });
      client.send("SEND", { destination: "/topic/room.2", colour: "red" }, "hello");
      return (await client.messages.next()).headers["colour"] ?? "none";
    },
    why: "facts belong into `data`, where every transport has them",
  },
  {
    question: "Subscription to /topic/room.*",
    ask: single("SUBSCRIBE", { id: "a", destination: "/topic/room.*" }),
    why: "a feed is of named topics: each is checked against the token, and read by its index",
  },
  {
    question: "Subscription to a /temp-queue",
    ask: single("SUBSCRIBE", { id: "a", destination: "/temp-queue/x" }),
    why: "answers go to a person: `/user/<id>/queue/…`",
  },
  {
    question: "Subscription with an id that is taken",
    async ask(broker) {
      await using client = await connect(broker);
      await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.1" });
      return await answer(client, "SUBSCRIBE", { id: "a", destination: "/topic/room.2" });
    },
    why: "1.2: an id is one subscription's; two streams under one id cannot be told apart",
  },
  {
    question: "UNSUBSCRIBE of an id that is not there",
    ask: single("UNSUBSCRIBE", { id: "never" }),
    why: "gone already is what was asked for; pages that unmount twice stay connected",
  },
  {
    question: "ACK of a message that does not wait",
    ask: single("ACK", { id: "999" }),
    why: "after a reconnect, pages acknowledge messages of the last connection",
  },
  {
    question: "COMMIT of a transaction that did not begin",
    ask: single("COMMIT", { transaction: "none" }),
    why: "",
  },
  {
    question: "SEND to a destination that nobody serves",
    ask: single("SEND", { destination: "/nowhere" }, "x"),
    why: "",
  },
  {
    question: "An escape that 1.2 does not define",
    ask: single("SEND", { destination: "/topic/room.1", odd: "a\\tb" }, "x"),
    why: "1.2: an undefined escape is a fatal error",
  },
  {
    question: "A frame in one-byte messages",
    async ask(broker) {
      await using client = await connect(broker);
      for (const char of "SEND\ndestination:/topic/room.1\nreceipt:r\n\nx\0") client.socket.send(char);
      return (await client.frames.next()).command;
    },
    why: "",
  },
  {
    question: "A message that was NACKed",
    async ask(broker) {
      await using client = await connect(broker);
      await client.confirm("SUBSCRIBE", { id: "a", destination: "/topic/room.3", ack: "client-individual" });
      client.send("SEND", { destination: "/topic/room.3" }, "once");
      const message = await client.messages.next();
      client.send("NACK", { id: message.headers["ack"] ?? "" });
      client.send("SEND", { destination: "/topic/room.3" }, "twice");
      const next = await client.messages.next();
      return next.body.includes("once") ? "comes again" : "does not come again";
    },
    why: "it stays unseen in the inbox; coming again at once would only go round in circles",
  },
  {
    question: "What was sent while nobody was subscribed",
    async ask(broker) {
      const destination = "/topic/room.4";
      {
        await using client = await connect(broker);
        await client.confirm("SUBSCRIBE", { id: "a", destination });
        await client.confirm("UNSUBSCRIBE", { id: "a" });
        await client.confirm("SEND", { destination }, "missed");
      }
      await using client = await connect(broker);
      await client.confirm("SUBSCRIBE", { id: "a", destination });
      await client.confirm("SEND", { destination }, "live");
      return (await client.messages.next()).body.includes("missed") ? "comes first" : "is lost";
    },
    why: "every subscription is durable unless it says `durable:false`",
  },
  {
    question: "DISCONNECT with a receipt",
    ask: single("DISCONNECT", {}),
    why: "1.2: the receipt says that all before it was taken, so that the client may close",
  },
];

Deno.test("Tidings and RabbitMQ's web-stomp differ where docs/stomp.md says, and nowhere else", async () => {
  const rows: string[] = [];
  {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    await using rabbit = await startRabbitMq();
    const token = await gateway.token("42", RIGHTS);
    const tidings: Broker = { url: stompUrl(gateway.url), login: { Authorization: `Bearer ${token}` } };
    const rabbitmq: Broker = { url: rabbit.url, login: { login: "guest", passcode: "guest" } };
    for (const { question, ask, why } of PROBES) {
      const [ours, theirs] = [await inTime(ask(tidings)), await inTime(ask(rabbitmq))];
      const because = ours === theirs ? "" : why || "?";
      rows.push(`| ${question} | ${ours} | ${theirs} | ${because} |`.replaceAll("*", "\\*"));
    }
  }
  const table = ["| asked | Tidings | RabbitMQ 3.10 | why they differ |", "|---|---|---|---|", ...rows].join(
    "\n",
  );
  assert(!table.includes("| ? |"), `a difference that nobody explains:\n${table}`);
  const documented = await readFile(new URL("../../docs/stomp.md", import.meta.url), "utf8");
  assert(
    plain(documented).includes(plain(table)),
    `docs/stomp.md has another table than this one:\n${table}`,
  );
});

for (const version of ["1.0", "1.1", "1.2"]) {
  Deno.test(`Debian's python3-stomp in STOMP ${version} subscribes, sends, gets and acknowledges, through a bridge from TCP to WebSocket`, async () => {
    await using database = await testDatabase();
    await using gateway = await startGateway(database);
    await python(gateway.url, await gateway.token("42", RIGHTS), version);
    const [count] = await database.sql`select (tidings.count_now('42')).unseen`;
    assert.equal(count!["unseen"], 0);
  });
}

/** A table without what is only there to align it. */
function plain(markdown: string): string {
  return markdown.replaceAll(/-{3,}/g, "---").replaceAll(/ +/g, " ").replaceAll("| --- ", "|---").replaceAll(
    "--- |",
    "---|",
  );
}

/** What a broker answers within two seconds; some questions RabbitMQ meets with silence. */
async function inTime(answer: Promise<string>): Promise<string> {
  const late = Promise.withResolvers<string>();
  const timer = setTimeout(() => late.resolve("silence"), 2_000);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** `python3-stomp` speaks TCP: a bridge passes its bytes on to the WebSocket. */
async function python(url: string, token: string, version: string): Promise<void> {
  const bridge = createServer((tcp) => {
    const socket = new WebSocket(stompUrl(url), [`v${version.replace(".", "")}.stomp`]);
    tcp.pause();
    socket.on("open", () => tcp.resume());
    tcp.on("data", (bytes) => socket.send(bytes));
    socket.on("message", (bytes: Uint8Array) => tcp.write(bytes));
    socket.on("close", () => tcp.end());
    tcp.on("close", () => socket.close());
  });
  await new Promise<void>((resolve) => bridge.listen(0, "127.0.0.1", resolve));
  const { port } = bridge.address() as AddressInfo;
  const client = startCommand("/usr/bin/python3", [
    "-c",
    SCRIPT,
    String(port),
    token,
    version.replace(".", ""),
  ]);
  await client.until(/got from python/);
  assert.equal((await client.ended).code, 0);
  await new Promise((resolve) => bridge.close(resolve));
}

const SCRIPT = `
import json, stomp, sys, threading
port, token, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
done = threading.Event()
class Listener(stomp.ConnectionListener):
    def on_message(self, frame):
        h = frame.headers
        if version == "10": c.ack(h["message-id"], receipt="acknowledged")
        elif version == "11": c.ack(h["message-id"], h["subscription"], receipt="acknowledged")
        else: c.ack(h["ack"], receipt="acknowledged")
        print("got", json.loads(frame.body)["body"], flush=True)
    def on_receipt(self, frame):
        if frame.headers["receipt-id"] == "acknowledged": done.set()
    def on_error(self, frame):
        print("error", frame.headers.get("message"), flush=True) ; done.set()
kind = {"10": stomp.Connection10, "11": stomp.Connection11, "12": stomp.Connection12}[version]
beats = {} if version == "10" else {"heartbeats": (0, 0)}
c = kind([("127.0.0.1", port)], **beats)
c.set_listener("", Listener())
c.connect(wait=True, headers={"Authorization": "Bearer " + token})
c.subscribe("/user/queue/x", id="a", ack="client")
c.send("/user/queue/x", "from python")
assert done.wait(60)
c.disconnect()
`;
