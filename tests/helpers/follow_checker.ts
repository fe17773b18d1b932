/**
 * People who follow and unfollow while others write, and the judge of what they must have received.
 *
 * The log says it: each follow and unfollow is a row of it, with its place. A row between the two is received once, whatever
 * the clients did meanwhile; a row outside is not. In between lie rows that were committed while the follow or unfollow itself
 * was under way: those may come or not, but what came is in the inbox. The judge goes by the places, and by the clock besides:
 * what was over before the one began, or began after the other had been answered, leaves no choice.
 * @module
 */
import postgres from "postgres";
import { isBehind, type Place } from "../../src/log/cursor.ts";
import { type StretchRecord, toStretch } from "../../src/database/stretch.ts";
import { type CheckReport, disorder, type Progress, type Span } from "./checker.ts";
import { pick, random } from "./random.ts";

/** What followers need. */
export interface FollowOptions {
  seed: number;
  database: { url: string };
  gateways(): readonly string[];
  users: readonly string[];
  topics: readonly string[];
  /** Of each user. */
  changes: number;
  /** A token that may follow the topics. */
  token(user: string): Promise<string>;
}

/** A change that took effect. */
interface Change extends Span {
  follow: boolean;
  topic: string;
}

/** What the judge found. Each of the lists names a user and a row. */
export interface Judgement {
  /** Rows that had to come, and those that had not to. */
  received: number;
  held: number;
  /** Rows that came or not by chance: committed while a follow or unfollow was. */
  chance: number;
  lost: string[];
  strayed: string[];
  /** Of what had to come, what came out of the promised order among all that came. */
  disordered: string[];
  /** Received and not in the inbox, in the inbox and not between follow and unfollow, or counted wrong. */
  inbox: string[];
}

/** The people. */
export class Followers {
  readonly #options: FollowOptions;
  readonly #changes = new Map<string, Change[]>();

  constructor(options: FollowOptions) {
    this.#options = options;
  }

  /** All of them, each one change after the other, while the writers go on. */
  async run(progress: Progress): Promise<void> {
    const { users, seed, database, changes } = this.#options;
    await Promise.all(users.map(async (user, index) => {
      const sql = postgres(database.url, { max: 1, fetch_types: false, onnotice: () => {} });
      try {
        const chance = random(seed + 5_000 + index);
        const mine: Change[] = [];
        this.#changes.set(user, mine);
        const follows = new Set<string>();
        for (let turn = 0; turn < changes; turn++) {
          await progress.more(1 + Math.floor(chance() * 12));
          const topic = pick(this.#options.topics, chance());
          const follow = !follows.has(topic);
          const began = performance.now();
          if (!await this.#change(sql, { user, topic, follow }, progress, chance)) continue;
          mine.push({ follow, topic, began, committed: performance.now() });
          if (follow) follows.add(topic);
          else follows.delete(topic);
        }
      } finally {
        await sql.end({ timeout: 1 });
      }
    }));
  }

  /** Whether it was committed. */
  async #change(
    sql: postgres.Sql,
    { user, topic, follow }: { user: string; topic: string; follow: boolean },
    progress: Progress,
    chance: () => number,
  ): Promise<boolean> {
    const kind = chance();
    if (kind < 0.4) {
      const url = `${pick(this.#options.gateways(), chance())}/v1/subscriptions/${topic}`;
      const headers = { authorization: `Bearer ${await this.#options.token(user)}` };
      const response = await fetch(url, { method: follow ? "PUT" : "DELETE", headers });
      if (response.status !== 204) throw new Error(`${response.status}: ${await response.text()}`);
      return true;
    }
    const change = () =>
      follow
        ? sql`select tidings.follow(${user}, ${topic})`
        : sql`select tidings.unfollow(${user}, ${topic})`;
    if (kind < 0.6) {
      await change();
      return true;
    }
    // Slow ones: others commit between the change and its commit.
    await sql`begin`;
    await change();
    await progress.more(1 + Math.floor(chance() * 10));
    const commits = chance() < 0.8;
    await (commits ? sql`commit` : sql`rollback`);
    return commits;
  }

  /** Compares what the clients of a check received, and the inboxes, with what the log says. */
  async judge({ received, spans }: CheckReport): Promise<Judgement> {
    const { database, users, topics } = this.#options;
    const sql = postgres(database.url, { max: 1, onnotice: () => {} });
    const result: Judgement = {
      received: 0,
      held: 0,
      chance: 0,
      lost: [],
      strayed: [],
      disordered: [],
      inbox: [],
    };
    try {
      const all = await sql<{ id: string; xid: string; topic: string; tx: string | null }[]>`
        select id::text, xid::text, topic, data ->> 'tx' as tx from tidings.notification
        where type not like 'tidings.%'`;
      const byId = new Map(all.map((row) => [row.id, row]));
      const rows = all.filter(({ topic }) => topics.includes(topic))
        .map(({ id, xid, topic, tx }) => ({
          id,
          topic,
          place: { xid: Number(xid), id: Number(id) },
          // What carries no name was the last.
          span: spans.get(tx ?? "") ?? { began: Infinity, committed: Infinity },
        }));
      for (const user of users) {
        const stretches = await this.#stretches(sql, user);
        const got = new Set(received.get(user));
        const [inbox] = await sql<{ ids: string[]; unread: number; whole: number }[]>`
          select c.unread, coalesce(json_array_length(p.page), 0) as whole,
            array(select e->>0 from json_array_elements(p.page) e) as ids
          from tidings.inbox_count(${user}) c,
            tidings.read_inbox(${user}, '{unseen,seen,read}', null, null, '9223372036854775807', 9223372036854775807, 1000000,
              1000000000) as p(page)`;
        const kept = new Set(inbox!.ids);
        if (kept.size !== inbox!.whole || inbox!.unread !== inbox!.whole) {
          result.inbox.push(`${user}: ${kept.size} of ${inbox!.whole} rows, ${inbox!.unread} counted`);
        }
        const open = new Set<string>();
        for (const row of rows) {
          const mine = stretches.filter(({ topic }) => topic === row.topic);
          const [came, has] = [got.has(row.id), kept.has(row.id)];
          const name = `${user}: ${row.id} of ${row.topic}`;
          if (came && !has) result.inbox.push(`${name} was received and is not in the inbox`);
          if (mine.some((one) => one.certain(row.span))) {
            result.received++;
            if (!came) result.lost.push(`${name}, by the clock`);
            if (!has) result.inbox.push(`${name} is not in the inbox`);
          } else if (mine.every((one) => one.excludes(row.span))) {
            result.held++;
            if (came) result.strayed.push(`${name}, by the clock`);
            if (has) result.inbox.push(`${name} is in the inbox`);
          } else {
            result.chance++;
            open.add(row.id);
            const within = mine.find((one) => one.holds(row.place));
            if (within !== undefined && !has) result.inbox.push(`${name} is not in the inbox`);
            // Only while the follow was under way is it open whether a row between the places comes.
            if (within !== undefined && within.follow.committed < row.span.began && !came) {
              result.lost.push(name);
            }
          }
        }
        const ordered = received.get(user)!.filter((id) => !open.has(id));
        result.disordered.push(...disorder(ordered, byId, spans).map((text) => `${user}: ${text}`));
      }
      return result;
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  /** What the log says of a user's following, with the calls that led to it. */
  async #stretches(sql: postgres.Sql, user: string): Promise<Stretch[]> {
    const told = await sql<{ type: string; data: StretchRecord }[]>`
      select type, data from tidings.notification
      where topic = ${`user:${user}`} and type in ('tidings.follow', 'tidings.unfollow') order by id`;
    const changes = this.#changes.get(user) ?? [];
    if (told.length !== changes.length) {
      throw new Error(`${user}: ${told.length} rows of ${changes.length} changes`);
    }
    const open = new Map<string, Stretch>();
    const all: Stretch[] = [];
    for (const [index, { type, data }] of told.entries()) {
      const change = changes[index]!;
      if (change.follow !== (type === "tidings.follow") || change.topic !== data.topic) {
        throw new Error(`${user}: ${JSON.stringify(data)} is not ${JSON.stringify(change)}`);
      }
      if (change.follow) {
        const stretch = new Stretch(data, change);
        open.set(data.id, stretch);
        all.push(stretch);
      } else open.get(data.id)!.end(data, change);
    }
    return all;
  }
}

/** From one follow to the next unfollow. */
class Stretch {
  readonly follow: Span;
  readonly topic: string;
  #record: StretchRecord;
  #unfollow: Span = { began: Infinity, committed: Infinity };

  constructor(record: StretchRecord, follow: Span) {
    this.#record = record;
    this.topic = record.topic;
    this.follow = follow;
  }

  end(record: StretchRecord, unfollow: Span): void {
    this.#record = record;
    this.#unfollow = unfollow;
  }

  /** Whether the row lies between the places. */
  holds(place: Place): boolean {
    const { since, until } = toStretch(this.#record);
    return !isBehind({ epoch: "", ...since }, place) &&
      (until === undefined || isBehind({ epoch: "", ...until }, place));
  }

  /** Whether it was written after the follow was answered, and committed before the unfollow was asked for. */
  certain({ began, committed }: Span): boolean {
    return this.follow.committed < began &&
      (committed < this.#unfollow.began || this.#unfollow.began === Infinity);
  }

  /** Whether it was committed before the follow was asked for, or begun after the unfollow was answered. */
  excludes({ began, committed }: Span): boolean {
    return committed < this.follow.began || this.#unfollow.committed < began;
  }
}
