/**
 * The checker: many writers commit, hold open, and roll back; clients on every transport are cut at random, go on at another
 * gateway, by another transport; and in the end each must have what was committed on its topics, each once, in the order that
 * is promised. What was committed is what the table holds.
 *
 * Nothing waits for time: slow writers wait for the commits of others, and a client is done when it has the last row of each of
 * its topics.
 * @module
 */
import assert from "node:assert/strict";
import postgres from "postgres";
import { type Claims, mint } from "../../src/auth/token.ts";
import { systemClock } from "../../src/clock.ts";
import { CheckedClient, type Leg, LEGS } from "./checker_client.ts";
import { TEST_SECRET } from "./gateway.ts";
import { pick, random } from "./random.ts";

/** What to check. */
export interface CheckOptions {
  seed: number;
  database: { url: string };
  /** Where gateways can be reached at the moment; looked at whenever a client or a writer connects. */
  gateways(): readonly string[];
  /** At once. @default 40 */
  writers?: number;
  /** Each writer's. @default 10 */
  transactions?: number;
  /** @default 24 */
  clients?: number;
  /** In place of the feed's three transports. */
  legs?: Record<string, Leg>;
  /** Topics that are written to besides; what of them clients are to have is for the caller to judge. */
  further?: readonly string[];
  /** Whether writers go on for as long as `during` runs, beyond their transactions. */
  during?(progress: Progress): Promise<void>;
}

/** How far the writers are: what is waited for in place of time. */
export interface Progress {
  readonly commits: number;
  /** Resolves when so many more transactions are over, or the writers are done. */
  more(commits: number): Promise<void>;
}

/** What came of it. Each of the lists names a client and a row. */
export interface CheckReport {
  rows: number;
  deliveries: number;
  legs: Record<string, number>;
  /** Connections that ended in another way than by the client's will. */
  broken: number;
  /** Transactions and requests that failed; what they wrote may have been committed. */
  failures: number;
  lost: string[];
  doubled: string[];
  disordered: string[];
  /** Cursors that were refused. */
  resets: string[];
  /** The ids that each user's client received, in order. */
  received: ReadonlyMap<string, readonly string[]>;
  /** When the transactions ran that wrote `data ->> 'tx'`. */
  spans: ReadonlyMap<string, Span>;
}

/** Throws unless everybody received each row once, in order, and no cursor was refused. */
export function assertWhole({ lost, doubled, disordered, resets }: CheckReport): void {
  assert.deepEqual({ lost, doubled, disordered, resets }, {
    lost: [],
    doubled: [],
    disordered: [],
    resets: [],
  });
}

const ROOMS = ["room:1", "room:2", "room:3", "room:4"];
const LAST = "the last one";
/** Milliseconds between a writer's transactions while there is trouble. */
const PACE = 100;

/** When a transaction certainly had not begun yet, and when it certainly was committed. */
export interface Span {
  began: number;
  committed: number;
}

/** Runs it all to the end. */
export async function check(options: CheckOptions): Promise<CheckReport> {
  const { seed, database, clients: many = 24 } = options;
  const chance = random(seed);
  const users = Array.from({ length: many }, (_, index) => `u${index}`);
  const clients = await Promise.all(users.map(async (user, index) => {
    const topics = ROOMS.filter(() => chance() < 0.4);
    return new CheckedClient({
      user,
      topics,
      done: new Set([...topics, `user:${user}`, "all"]),
      isLast: (item) => item.title === LAST,
      token: await token(user, { subscribe: ["room:*"] }),
      gateways: options.gateways,
      legs: options.legs ?? LEGS,
      chance: random(seed + 1_000 + index),
    });
  }));
  const { further = [] } = options;
  const writers = new Writers(options, [...further, ...ROOMS, "all", ...users.map((user) => `user:${user}`)]);
  const gone = new AbortController();
  const reading = Promise.all(clients.map(async (client, index) => {
    // Some come late and have much to catch up with.
    await writers.progress.more(index % 4 * 20);
    await client.run(writers.progress, gone.signal);
  }));
  try {
    await writers.run();
    await reading;
  } finally {
    gone.abort();
    await Promise.allSettled([reading]);
    await writers.close();
  }
  return await report(database.url, clients, writers, new Set(further));
}

async function report(
  url: string,
  clients: CheckedClient[],
  writers: Writers,
  further: ReadonlySet<string>,
): Promise<CheckReport> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    const table = await sql<{ id: string; topic: string; xid: string; tx: string | null }[]>`
      select id::text, topic, xid::text, data ->> 'tx' as tx from tidings.notification
      where type not like 'tidings.%'`;
    const rows = new Map(table.map((row) => [row.id, row]));
    const result: CheckReport = {
      rows: rows.size,
      deliveries: 0,
      legs: {},
      broken: 0,
      failures: writers.failures,
      lost: [],
      doubled: [],
      disordered: [],
      resets: [],
      received: new Map(clients.map(({ user, received }) => [user, received.map(({ id }) => id)])),
      spans: writers.spans,
    };
    for (const client of clients) {
      const name = client.user;
      result.deliveries += client.received.length;
      result.broken += client.broken;
      result.resets.push(...client.resets.map((reset) => `${name}: ${reset}`));
      for (const [transport, legs] of client.legs) {
        result.legs[transport] = (result.legs[transport] ?? 0) + legs;
      }
      const got = new Set<string>();
      for (const { id } of client.received) {
        if (got.has(id)) result.doubled.push(`${name}: ${id}`);
        got.add(id);
        const row = rows.get(id);
        if (row === undefined || !(client.wants(row.topic) || further.has(row.topic))) {
          result.doubled.push(`${name}: ${id}, which was not committed or not for this client`);
        }
      }
      const ordered = client.received.map(({ id }) => id).filter((id) =>
        client.wants(rows.get(id)?.topic ?? "")
      );
      result.disordered.push(...disorder(ordered, rows, writers.spans).map((text) => `${name}: ${text}`));
      for (const [id, row] of rows) {
        if (client.wants(row.topic) && !got.has(id)) result.lost.push(`${name}: ${id}`);
      }
    }
    return result;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Which of these ids, as they were received, are out of the order that is promised. */
export function disorder(
  ids: readonly string[],
  rows: ReadonlyMap<string, { xid: string; tx: string | null }>,
  spans: ReadonlyMap<string, Span>,
): string[] {
  const wrong: string[] = [];
  let latestBegin = -Infinity;
  const lastOf = new Map<string, number>();
  for (const id of ids) {
    const { xid, tx } = rows.get(id)!;
    const span = spans.get(tx ?? "");
    if (span !== undefined && span.committed < latestBegin) {
      wrong.push(`${id} after one whose transaction began when it was committed`);
    }
    if (Number(id) < (lastOf.get(xid) ?? 0)) wrong.push(`${id} after a later one of its transaction`);
    latestBegin = Math.max(latestBegin, span?.began ?? -Infinity);
    lastOf.set(xid, Number(id));
  }
  return wrong;
}

/** The writers, and how far they are. */
class Writers {
  readonly spans = new Map<string, Span>();
  failures = 0;
  readonly progress: Progress;
  readonly #options: CheckOptions;
  readonly #topics: string[];
  readonly #pools: postgres.Sql[] = [];
  #commits = 0;
  #waiting: { at: number; resolve: () => void }[] = [];
  /** Writers that are not waiting for others; when there are none, nobody is waited for. */
  #active = 0;
  #over = false;

  constructor(options: CheckOptions, topics: string[]) {
    this.#options = options;
    this.#topics = topics;
    const commits = () => this.#commits;
    this.progress = {
      get commits() {
        return commits();
      },
      more: (count) => this.#more(count),
    };
  }

  async run(): Promise<void> {
    const { seed, writers = 40, transactions = 10, during } = this.#options;
    const trouble = during?.(this.progress).finally(() => this.#troubled = false);
    this.#troubled = trouble !== undefined;
    this.#active = writers;
    const results = await Promise.allSettled(Array.from({ length: writers }, async (_, index) => {
      const chance = random(seed + 2_000 + index);
      const sql = this.#connect();
      for (let turn = 0; turn < transactions || this.#troubled; turn++) {
        await this.#transaction(sql, `${index}.${turn}`, index, chance);
        this.#committed();
        // Beyond their number they only keep up the load.
        if (turn >= transactions) {
          await new Promise((resolve) => setTimeout(resolve, PACE * (0.5 + chance())));
        }
      }
      this.#active--;
      this.#release();
    }));
    await trouble;
    for (const result of results) if (result.status === "rejected") throw result.reason;
    this.#over = true;
    this.#release();
    await this.#sayLast();
  }

  async close(): Promise<void> {
    this.#over = true;
    this.#release();
    await Promise.all(this.#pools.map((sql) => sql.end({ timeout: 1 })));
  }

  #troubled = false;

  #connect(): postgres.Sql {
    const sql = postgres(this.#options.database.url, { max: 1, fetch_types: false, onnotice: () => {} });
    this.#pools.push(sql);
    return sql;
  }

  async #transaction(sql: postgres.Sql, tx: string, index: number, chance: () => number): Promise<void> {
    const span = { began: performance.now(), committed: Infinity };
    this.spans.set(tx, span);
    try {
      if (await this.#write(sql, tx, index, chance)) span.committed = performance.now();
    } catch (error) {
      // Its connection or its gateway was taken away; whether it is committed, the table knows.
      this.failures++;
      if (!this.#troubled && this.#options.during === undefined) throw error;
      await new Promise((resolve) => setTimeout(resolve, PACE));
    }
  }

  async #write(sql: postgres.Sql, tx: string, index: number, chance: () => number): Promise<boolean> {
    const topic = () => pick(this.#topics, chance());
    const data = JSON.stringify({ tx });
    const kind = chance();
    if (kind < 0.25) {
      await sql`insert into tidings.notification (topic, title, data) values (${topic()}, 'plain', ${data}::text::jsonb)`;
    } else if (kind < 0.4) {
      await sql`select tidings.send(${topic()}, 'sent', data => ${data}::text::jsonb)`;
    } else if (kind < 0.55) {
      await this.#overHttp(tx, chance);
    } else if (kind < 0.65) {
      await sql`insert into tidings.notification (topic, title, data)
        select topic, 'many', ${data}::text::jsonb
        from unnest(string_to_array(${this.#topics.join()}, ',')) topic, generate_series(1, ${
        1 + Math.floor(chance() * 5)
      }::int)`;
    } else {
      await sql`begin`;
      const rows = 1 + Math.floor(chance() * 12);
      if (index % 4 === 0) {
        await sql`insert into tidings.notification (topic, title, data) values (${topic()}, 'first', ${data}::text::jsonb)`;
      }
      for (let row = 0; row < rows; row++) {
        await sql`select tidings.send(${topic()}, 'one of several', data => ${data}::text::jsonb)`;
      }
      if (index % 3 === 0) await this.#hold(1 + Math.floor(chance() * 30));
      if (chance() < 0.25) {
        await sql`rollback`;
        return false;
      }
      await sql`commit`;
    }
    return true;
  }

  async #overHttp(tx: string, chance: () => number): Promise<void> {
    const gateway = pick(this.#options.gateways(), chance());
    if (gateway === undefined) throw new Error("No gateway is there");
    const count = 1 + Math.floor(chance() * 5);
    const response = await fetch(`${gateway}/v1/notifications`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${await token("writer", { publish: ["**"] })}`,
        "content-type": "application/json",
      },
      body: JSON.stringify(Array.from({ length: count }, () => ({
        to: pick(this.#topics, chance()),
        title: "posted",
        data: { tx },
      }))),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    if (response.status !== 201) throw new Error(`POST was answered with ${response.status}: ${text}`);
  }

  /** The last row of each topic, after everything else is committed. */
  async #sayLast(): Promise<void> {
    for (let attempt = 0;; attempt++) {
      try {
        const sql = this.#connect();
        await sql`insert into tidings.notification (topic, title)
          select topic, ${LAST} from unnest(string_to_array(${
          [...new Set(this.#topics)].join()
        }, ',')) topic`;
        return;
      } catch (error) {
        if (attempt > 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Keeps a transaction open until so many others are over. */
  async #hold(commits: number): Promise<void> {
    this.#active--;
    const others = this.#more(commits);
    this.#release();
    await others;
    this.#active++;
  }

  #more(commits: number): Promise<void> {
    if (this.#over || commits === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ at: this.#commits + commits, resolve }));
  }

  #committed(): void {
    this.#commits++;
    this.#release();
  }

  #release(): void {
    const all = this.#over || this.#active <= 0;
    const due = this.#waiting.filter(({ at }) => all || at <= this.#commits);
    this.#waiting = this.#waiting.filter((entry) => !due.includes(entry));
    for (const { resolve } of due) resolve();
  }
}

/** A token for as long as a check can take. */
function token(user: string, rights: Claims["tidings"]): Promise<string> {
  return mint(
    TEST_SECRET,
    { sub: user, ...(rights === undefined ? {} : { tidings: rights }) },
    3_600,
    systemClock,
  );
}
