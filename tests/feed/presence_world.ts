/**
 * Gateways' presence on a real database, without the gateways around it.
 * @module
 */
import assert from "node:assert/strict";
import type postgres from "postgres";
import { type Clock, systemClock } from "../../src/clock.ts";
import { Presence, type PresenceHold, type PresenceTimes, presenceTopic } from "../../src/feed/presence.ts";
import { type BeatResult, createPresenceStore, type PresenceStore } from "../../src/feed/presence_store.ts";

/** Short ones. */
export const TIMES = { beat: 50, lease: 400, grace: 100, gather: 1 };

/** A gateway's presence, with a signal for each beat that came back. */
export class Gateway implements AsyncDisposable {
  readonly presence: Presence;
  readonly store: PresenceStore;
  readonly errors: unknown[] = [];
  #waiting: { when: (result: BeatResult) => boolean; resolve: () => void }[] = [];
  /** While true the database is away for this gateway. */
  cut = false;

  /** Called with every statement. */
  each: () => void = () => {};

  constructor(
    sql: postgres.Sql,
    instance: string,
    times: Partial<PresenceTimes> = TIMES,
    clock: Clock = systemClock,
  ) {
    this.store = createPresenceStore(sql);
    this.presence = new Presence({
      store: {
        present: this.store.present,
        beat: async (beat) => {
          if (this.cut) throw new Error("the database is away");
          this.each();
          const result = await this.store.beat(beat);
          for (const each of this.#waiting.filter(({ when }) => when(result))) {
            this.#waiting.splice(this.#waiting.indexOf(each), 1);
            each.resolve();
          }
          return result;
        },
      },
      clock,
      instance,
      onError: (error) => this.errors.push(error),
      times,
    });
  }

  /** Resolves at the first beat whose result is this. */
  beat(when: (result: BeatResult) => boolean): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ when, resolve }));
  }

  async [Symbol.asyncDispose]() {
    await this.presence.stop();
  }
}

/** One that has started. */
export async function gateway(
  sql: postgres.Sql,
  instance: string,
  times?: Partial<PresenceTimes>,
): Promise<Gateway> {
  const made = new Gateway(sql, instance, times);
  await made.presence.start();
  return made;
}

let sessions = 0;
/** Opens a session. */
export function connect(on: Gateway, user: string): PresenceHold {
  return on.presence.open({ id: `s${++sessions}`, user, transport: "websocket", userAgent: "test" });
}

/** What was told of a topic, such as `join kim`. */
export async function told(sql: postgres.Sql, topic: string): Promise<string[]> {
  const rows = await sql<{ type: string; user: string; transient: boolean }[]>`
    select type, data->>'user' as user, transient from tidings.notification
    where topic = ${presenceTopic(topic)} order by id`;
  assert(rows.every((row) => row.transient));
  return rows.map((row) => `${row.type.replace("tidings.", "")} ${row.user}`);
}

/** Who is in a topic. */
export async function here(on: Gateway, topic: string): Promise<string[]> {
  return (await on.store.present(topic, 100)).people.map((person) => person.user);
}
