import assert from "node:assert/strict";
import fc from "fast-check";
import type postgres from "postgres";
import { type TestDatabase, testDatabase } from "../helpers/database.ts";
import { type Mark, Model, type Sent, type State, STATES } from "./model.ts";

const PEOPLE = ["ada", "bo", "cy"];
const TOPICS = ["user:ada", "user:bo", "all", "climb:1", "climb:2"];
const TYPES = ["like", "match"];
const END = { xid: "9223372036854775807", id: "9223372036854775807" };

Deno.test("the inbox is the simple inbox, whatever is sent, marked and followed in which transactions", async () => {
  await using database = await testDatabase();
  await fc.assert(
    fc.asyncProperty(fc.array(operation(), { minLength: 10, maxLength: 60 }), async (operations) => {
      await using run = await Run.begin(database);
      for (const one of operations) await run.do(one);
      await run.finish();
    }),
    { seed: 20_260_801, numRuns: 30 },
  );
});

type Operation =
  | { op: "begin" | "commit" | "rollback"; tx: number }
  | { op: "send"; tx: number; topic: string; type: string; transient: boolean; rows: number }
  | { op: "mark"; tx: number; user: string; picks: number[]; state: Mark }
  | { op: "markAll"; tx: number; user: string; state: Mark; before?: number }
  | { op: "follow"; tx: number; user: string; topic: string }
  | { op: "unfollow"; tx: number; user: string; topic: string }
  | { op: "hide"; user: string; scope: "topic" | "type"; name: string; shown: boolean }
  | { op: "delete"; pick: number }
  | { op: "keep"; user: string }
  | { op: "stranger"; user: string; pick: number };

/** Transaction 0 is none: the operation commits by itself. */
function operation(): fc.Arbitrary<Operation> {
  const tx = fc.nat(3);
  const user = fc.constantFrom(...PEOPLE);
  const state = fc.constantFrom<Mark>("seen", "read", "unread", "archived");
  const followed = fc.constantFrom("climb:1", "climb:2");
  return fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        op: fc.constantFrom("begin", "commit", "rollback"),
        tx: fc.integer({ min: 1, max: 3 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        op: fc.constant("send"),
        tx,
        topic: fc.constantFrom(...TOPICS),
        type: fc.constantFrom(...TYPES),
        transient: fc.nat(5).map((n) => n === 0),
        rows: fc.integer({ min: 1, max: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        op: fc.constant("mark"),
        tx,
        user,
        picks: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
        state,
      }),
    },
    { weight: 3, arbitrary: fc.record({ op: fc.constant("markAll"), tx, user, state }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant("markAll"), tx, user, state, before: fc.nat() }) },
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constantFrom("follow", "unfollow"), tx, user, topic: followed }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        op: fc.constant("hide"),
        user,
        scope: fc.constant("topic"),
        name: followed,
        shown: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        op: fc.constant("hide"),
        user,
        scope: fc.constant("type"),
        name: fc.constantFrom(...TYPES),
        shown: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("delete"), pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant("keep"), user }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("stranger"), user, pick: fc.nat() }) },
  ) as fc.Arbitrary<Operation>;
}

/** An open transaction: its connection, what it sent, whose inbox it holds, and what the model is to do when it commits. */
interface Open {
  sql: postgres.ReservedSql;
  sent: Sent[];
  holds: Set<string>;
  effects: (() => void)[];
}

class Run {
  readonly #sql: postgres.Sql;
  readonly #model = new Model();
  readonly #open = new Map<number, Open>();

  static async begin(database: TestDatabase): Promise<Run> {
    await database
      .sql`truncate tidings.notification, tidings.inbox, tidings.receipt, tidings.subscription, tidings.preference`;
    return new Run(database.sql);
  }

  constructor(sql: postgres.Sql) {
    this.#sql = sql;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tx of [...this.#open.keys()]) await this.#end(tx, "rollback");
  }

  async do(one: Operation): Promise<void> {
    switch (one.op) {
      case "begin": {
        if (this.#open.has(one.tx)) return;
        const sql = await this.#sql.reserve();
        await sql`begin`;
        this.#open.set(one.tx, { sql, sent: [], holds: new Set(), effects: [] });
        return;
      }
      case "commit":
      case "rollback":
        if (this.#open.has(one.tx)) await this.#end(one.tx, one.op);
        return await this.#check();
      case "send": {
        const where = this.#open.get(one.tx);
        for (let row = 0; row < one.rows; row++) {
          const [sent] = await (where?.sql ?? this.#sql)<{ id: string }[]>`
            select tidings.send(${one.topic}, type => ${one.type}, transient => ${one.transient}) as id`;
          const entry = { id: sent?.id ?? "", topic: one.topic, type: one.type, transient: one.transient };
          if (where === undefined) this.#model.commit([entry]);
          else where.sent.push(entry);
        }
        return await this.#check();
      }
      case "delete": {
        if (this.#open.size > 0) return;
        const id = pick([...this.#model.visible.keys()], one.pick);
        if (id === undefined) return;
        await this.#sql`delete from tidings.notification where id = ${id}`;
        this.#model.remove(id);
        return await this.#check();
      }
      case "keep": {
        if (this.#held(one.user)) return;
        await this.#sql`select tidings.keep_count(${one.user}, tidings.count_now(${one.user}))`;
        return await this.#check();
      }
      case "hide": {
        if (this.#held(one.user)) return;
        await this.#sql`select tidings.prefer(${one.user}, ${one.scope}, ${one.name}, ${one.shown}, true)`;
        const person = this.#model.person(one.user);
        const names = one.scope === "topic" ? person.hiddenTopics : person.hiddenTypes;
        if (one.shown) names.delete(one.name);
        else names.add(one.name);
        return await this.#check();
      }
      case "stranger": {
        const strangers = [...this.#model.visible.values()].filter((n) => !this.#model.sentTo(one.user, n));
        const other = pick(strangers, one.pick);
        if (other === undefined || this.#held(one.user)) return;
        for (const id of [other.id, "900000000000"]) {
          const refused: { code?: string; message?: string } = await this.#sql`
            select tidings.mark(${one.user}, ${[id]}, 'read')`.then(() => ({}), (error) => error);
          assert.equal(refused.code, "TD404");
          assert.equal(refused.message, "Cannot mark: ids: 1 of them are not in this inbox");
        }
        return;
      }
      default:
        return await this.#change(one);
    }
  }

  /** What changes a person's inbox: in a transaction that may hold their row. */
  async #change(one: Extract<Operation, { op: "mark" | "markAll" | "follow" | "unfollow" }>): Promise<void> {
    const { user } = one;
    const where = this.#open.get(one.tx);
    // whoever else holds the person's row would be waited for
    if (this.#held(user) && where?.holds.has(user) !== true) return;
    const sql = where?.sql ?? this.#sql;
    const visible = new Map(this.#model.visible);
    for (const sent of where?.sent ?? []) visible.set(sent.id, sent);
    const seen = new Set(visible.keys());
    const apply = (effect: () => void) => {
      if (where === undefined) effect();
      else {
        where.holds.add(user);
        where.effects.push(effect);
      }
    };
    if (one.op === "follow" || one.op === "unfollow") {
      await (one.op === "follow"
        ? sql`select tidings.follow(${user}, ${one.topic})`
        : sql`select tidings.unfollow(${user}, ${one.topic})`);
      apply(() => this.#model[one.op](user, one.topic, seen));
      return await this.#check();
    }
    // the model knows what is this person's only up to the last commit: no cut behind changes of the same transaction
    if (where !== undefined && where.effects.length > 0 && one.op === "markAll" && one.before !== undefined) {
      return;
    }
    const mine = [...visible.values()].filter((n) => !n.transient && this.#model.sentTo(user, n));
    if (one.op === "mark") {
      const ids = [...new Set(one.picks.map((p) => pick(mine, p)?.id).filter((id) => id !== undefined))];
      if (ids.length === 0) return;
      await sql`select tidings.mark(${user}, ${ids}, ${one.state})`;
      apply(() => this.#model.mark(user, ids, one.state, true));
      return await this.#check();
    }
    let reach = seen;
    if (one.before !== undefined) {
      const cut = pick(mine, one.before);
      if (cut === undefined) return;
      reach = await this.#upTo(sql, cut.id);
      await sql`select tidings.mark_all(${user}, ${one.state}, ${cut.id})`;
    } else await sql`select tidings.mark_all(${user}, ${one.state})`;
    apply(() => {
      const now = new Set(
        [...visible.values()].filter((n) => reach.has(n.id) && !n.transient && this.#model.sentTo(user, n))
          .map((n) => n.id),
      );
      this.#model.mark(user, now, one.state, false);
    });
    await this.#check();
  }

  /** What this connection sees that is not after the row, in the order of the log. */
  async #upTo(sql: postgres.Sql | postgres.ReservedSql, id: string): Promise<Set<string>> {
    const rows = await sql<{ id: string }[]>`
      select n.id from tidings.notification n, (select xid, id from tidings.notification where id = ${id}) c
      where (n.xid, n.id) <= (c.xid, c.id)`;
    return new Set(rows.map((row) => row.id));
  }

  #held(user: string): boolean {
    return [...this.#open.values()].some(({ holds }) => holds.has(user));
  }

  async #end(tx: number, how: "commit" | "rollback"): Promise<void> {
    const { sql, sent, effects } = this.#open.get(tx) as Open;
    this.#open.delete(tx);
    await (how === "commit" ? sql`commit` : sql`rollback`);
    sql.release();
    if (how === "rollback") return;
    this.#model.commit(sent);
    for (const effect of effects) effect();
  }

  async finish(): Promise<void> {
    for (const tx of [...this.#open.keys()]) await this.#end(tx, "commit");
    await this.#check();
    for (const user of PEOPLE) await this.#checkPages(user);
  }

  async #check(): Promise<void> {
    const counts = await this.#sql<{ user: string; unread: number; unseen: number }[]>`
      select p.name as user, c.unread, c.unseen
      from unnest(${PEOPLE}::text[]) p(name) cross join lateral tidings.inbox_count(p.name) c`;
    for (const { user, unread, unseen } of counts) {
      assert.deepEqual({ unread, unseen }, this.#model.count(user), `count of ${user}`);
    }
  }

  async #checkPages(user: string): Promise<void> {
    const choices: State[][] = [["unseen", "seen", "read"], ["unseen"], ["unseen", "seen"], ["read"], [
      "archived",
    ], [...STATES]];
    for (const states of choices) {
      for (const [topic, type] of [[null, null], ["climb:1", null], [null, "like"]] as const) {
        const got: [string, string][] = [];
        let { xid, id } = END;
        for (;;) {
          // Looks so little further that pages end early.
          const [page] = await this.#sql<
            { entries: unknown[][] | null; next_xid: string; next_id: string }[]
          >`
            select * from tidings.inbox_page(${user}, ${states}, ${topic}, ${type}, ${xid}::text::xid8, ${id}, 3, 100000, 4)`;
          const { entries, next_xid, next_id } = page!;
          assert.ok((entries?.length ?? 0) <= 3);
          for (const row of entries ?? []) got.push([String(row[0]), row[14] as string]);
          if (next_id === null) break;
          [id, xid] = [next_id, next_xid];
        }
        const expected = this.#model.shown(user, states, topic ?? undefined, type ?? undefined);
        const order = await this.#sql<
          { id: string }[]
        >`select id from tidings.notification order by xid desc, id desc`;
        const rank = new Map(order.map((row, index) => [row.id, index]));
        expected.sort((a, b) => (rank.get(a.id) ?? 0) - (rank.get(b.id) ?? 0));
        assert.deepEqual(
          got,
          expected.map((n) => [n.id, this.#model.state(user, n.id)]),
          `${user}: ${states} ${topic} ${type}`,
        );
      }
    }
  }
}

function pick<T>(from: readonly T[], choice: number): T | undefined {
  return from.length === 0 ? undefined : from[choice % from.length];
}
