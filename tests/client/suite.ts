/**
 * What the client promises, against a real gateway. Imports nothing of Deno's, so that Node runs the same.
 * @module
 */
import assert from "node:assert/strict";
import { connect, type ConnectOptions, type Item, type TidingsClient } from "../../src/client/mod.ts";
import { pageStore } from "../../src/client/memory.ts";
import { type Transport, TRANSPORTS } from "../../src/client/machine.ts";

/** Where and as whom the suite runs. */
export interface Ground {
  /** The gateway. */
  url: string;
  /** The gateway, over a network that cuts each connection after a second. */
  shaky: string;
  /** A token of this person, with the right to publish and to read `climb:**`. */
  token(user: string, seconds?: number): Promise<string>;
  /** What this platform can use. */
  transports: readonly Transport[];
  WebSocket?: typeof WebSocket;
}

/** One promise. */
export interface Case {
  name: string;
  run(ground: Ground, meet: Meet): Promise<void>;
}

/** Somebody's client, closed when the case is over. */
type Meet = (user: string, options?: ConnectOptions) => Person;

/** Runs one. */
export async function perform({ run }: Case, ground: Ground): Promise<void> {
  const met: Person[] = [];
  try {
    await run(ground, (user, options) => {
      const person = new Person(ground, user, options);
      met.push(person);
      return person;
    });
  } finally {
    met.forEach((person) => person.client.close());
  }
}

/** A client and what it told, for as long as the case runs. */
class Person {
  readonly client: TidingsClient;
  readonly items: Item[] = [];
  readonly resets: string[] = [];
  readonly errors: string[] = [];
  readonly lived = new Set<Transport>();
  #look = () => {};

  constructor(ground: Ground, user: string, options: ConnectOptions = {}) {
    this.client = connect({
      url: ground.url,
      getToken: () => ground.token(user),
      storage: pageStore(),
      transports: ground.transports,
      ...(ground.WebSocket === undefined ? {} : { WebSocket: ground.WebSocket }),
      ...options,
    });
    this.client.on("item", (item) => this.#note(() => this.items.push(item)));
    this.client.on("reset", ({ reason }) => this.#note(() => this.resets.push(reason)));
    this.client.on("error", ({ code }) => this.#note(() => this.errors.push(code)));
    this.client.on("state", ({ transport }) => this.#note(() => transport && this.lived.add(transport)));
  }

  #note(run: () => void): void {
    run();
    this.#look();
  }

  until(holds: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`It never came to this: ${what}`)), 20_000);
      this.#look = () => {
        if (!holds()) return;
        clearTimeout(late);
        this.#look = () => {};
        resolve();
      };
      this.#look();
    });
  }

  live(): Promise<void> {
    return this.until(() => this.client.snapshot.state === "live", "live");
  }

  titles(): (string | undefined)[] {
    return this.items.map((item) => item.title);
  }
}

let people = 0;
/** Somebody new, so that cases do not meet. */
function somebody(): string {
  return `somebody-${++people}`;
}

/** All promises. */
export const CASES: Case[] = [
  ...TRANSPORTS.flatMap((transport): Case[] => {
    const over = (ground: Ground) => ({ transports: [transport], url: ground.url });
    return [
      {
        name:
          `${transport}: what is published arrives once and in order, over connections that are cut all the time`,
        async run(ground: Ground, meet: Meet) {
          const user = somebody();
          const sender = meet(somebody());
          const person = meet(user, { ...over(ground), url: ground.shaky });
          await Promise.all([sender.live(), person.live()]);
          const titles = Array.from({ length: 60 }, (_, n) => `number ${n}`);
          for (const title of titles) {
            await sender.client.publish({ to: `user:${user}`, title });
            await new Promise((resolve) => setTimeout(resolve, 40));
          }
          await person.until(() => person.items.length >= titles.length, "everything arrived");
          assert.deepEqual(person.titles(), titles);
          assert.deepEqual([...person.lived], [transport]);
        },
      },
      {
        name: `${transport}: topics are added and left, and a forbidden one is refused without harm`,
        async run(ground: Ground, meet: Meet) {
          const topic = `climb:route:${somebody()}`;
          const sender = meet(somebody());
          const person = meet(somebody(), over(ground));
          await person.live();
          await person.client.subscribe(topic);
          await assert.rejects(person.client.subscribe("private:1"), { code: "forbidden" });
          await person.live();
          await sender.client.publish({ to: topic, title: "heard" });
          await person.until(() => person.items.length === 1, "the topic's item");
          await person.client.unsubscribe(topic);
          await person.live();
          await sender.client.publish({ to: topic, title: "not heard" });
          await sender.client.publish({ to: `user:${person.client.snapshot.user ?? ""}`, title: "own" });
          await person.until(() => person.items.length === 2, "the own item");
          assert.deepEqual(person.titles(), ["heard", "own"]);
        },
      },
      {
        name: `${transport}: a cursor that cannot be used is reset, and the feed goes on`,
        async run(ground: Ground, meet: Meet) {
          const user = somebody();
          const sender = meet(somebody());
          const person = meet(user, { ...over(ground), since: "zz-99" });
          await person.until(() => person.resets.length === 1, "a reset");
          await person.live();
          await sender.client.publish({ to: `user:${user}`, title: "after" });
          await person.until(() => person.items.length === 1, "what came after");
          assert.deepEqual(person.titles(), ["after"]);
        },
      },
      {
        name: `${transport}: tokens of three seconds are renewed in time, again and again`,
        async run(ground: Ground, meet: Meet) {
          const user = somebody();
          let asked = 0;
          const sender = meet(somebody());
          const person = meet(user, {
            ...over(ground),
            getToken: () => (asked++, ground.token(user, 3)),
          });
          await person.live();
          for (let n = 0; n < 8; n++) {
            await sender.client.publish({ to: `user:${user}`, title: `${n}` });
            await new Promise((resolve) => setTimeout(resolve, 900));
          }
          await person.until(() => person.items.length === 8, "all eight");
          assert.deepEqual(person.titles(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
          assert.ok(asked >= 3 && asked <= 8, `${asked} tokens`);
          assert.deepEqual(person.errors, []);
        },
      },
      {
        name: `${transport}: a token that is not good ends it, with the gateway's reason`,
        async run(ground: Ground, meet: Meet) {
          const getToken = () => "not.a.token";
          const person = meet(somebody(), { ...over(ground), getToken, user: "x" });
          await person.until(() => person.errors.length === 1, "an error");
          assert.deepEqual(person.errors, ["invalid_token"]);
          assert.equal(person.client.snapshot.state, "closed");
        },
      },
    ].map(({ name, run }) => ({
      name,
      run: (ground: Ground, meet: Meet) =>
        ground.transports.includes(transport) ? run(ground, meet) : elsewhere(meet, transport),
    }));
  }),
  {
    name: "the cursor goes along from transport to transport, and from page to page",
    async run(ground: Ground, meet: Meet) {
      const [user, storage] = [somebody(), pageStore()];
      const sender = meet(somebody());
      const heard: (string | undefined)[] = [];
      for (const [turn, transport] of [...ground.transports, ...ground.transports].entries()) {
        const person = meet(user, { transports: [transport], storage });
        await person.live();
        await sender.client.publish({ to: `user:${user}`, title: `${turn} while here` });
        const expected = turn === 0 ? 1 : 2;
        await person.until(() => person.items.length === expected, `turn ${turn}`);
        heard.push(...person.titles());
        person.client.close();
        await sender.client.publish({ to: `user:${user}`, title: `${turn} while away` });
      }
      const turns = ground.transports.length * 2;
      const all = Array.from({ length: turns }, (_, turn) => [`${turn} while here`, `${turn} while away`])
        .flat();
      assert.deepEqual(heard, all.slice(0, -1));
    },
  },
  {
    name: "all fields arrive as they were sent, transient ones as well, and history is there for who asks",
    async run(_: Ground, meet: Meet) {
      const user = somebody();
      const sender = meet(somebody());
      const sent = {
        type: "match.found",
        title: "매치 성사",
        body: "Saturday at ten",
        link: "/matches/4",
        data: { match: 4, at: ["10:00"] },
        priority: "high" as const,
        collapseKey: "match:4",
      };
      const [first] = await sender.client.publish({ to: `user:${user}`, ...sent });
      const person = meet(user, { since: "10m" });
      await person.until(() => person.items.length === 1, "history");
      const [job] = await sender.client.publish({
        to: `user:${user}`,
        title: "half",
        collapseKey: "job",
        transient: true,
        data: { progress: 0.5 },
      });
      await person.until(() => person.items.length === 2, "the transient one");
      const { id, topic, createdAt, sender: by, ...rest } = person.items[0]!;
      assert.deepEqual(rest, sent);
      assert.deepEqual([id, topic, by], [first, `user:${user}`, sender.client.snapshot.user]);
      assert.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 60_000);
      assert.deepEqual([person.items[1]!.id, person.items[1]!.transient], [job, true]);
    },
  },
  {
    name: "publishing twice with one key sends once; without the right it is refused by name",
    async run(_: Ground, meet: Meet) {
      const user = somebody();
      const sender = meet(somebody());
      await sender.live();
      const publication = { to: `user:${user}`, title: "once", dedupeKey: `key of ${user}` };
      assert.deepEqual(await sender.client.publish(publication), await sender.client.publish(publication));
      await assert.rejects(sender.client.publish({ to: "private:1", title: "no" }), { code: "forbidden" });
      await assert.rejects(sender.client.publish({ to: "not a topic" }), { code: "invalid_request" });
    },
  },
  {
    name: "iterating gives what arrives, and ends when the client is closed",
    async run(_: Ground, meet: Meet) {
      const user = somebody();
      const sender = meet(somebody());
      const person = meet(user);
      await person.live();
      const heard: string[] = [];
      const reading = (async () => {
        for await (const item of person.client) {
          heard.push(item.title!);
          if (heard.length === 3) person.client.close();
        }
      })();
      for (const title of ["a", "b", "c"]) await sender.client.publish({ to: `user:${user}`, title });
      await reading;
      assert.deepEqual(heard, ["a", "b", "c"]);
    },
  },
];

/** A platform without this transport goes straight to the next one. */
async function elsewhere(meet: Meet, transport: Transport): Promise<void> {
  const person = meet(somebody(), { transports: TRANSPORTS });
  await person.live();
  assert.notEqual(person.client.snapshot.transport, transport);
}
