/**
 * The people who have sessions open here, each known as long as one of their sessions is open or about to. Changed counts are
 * told a moment after they changed, together with whatever else changed in that moment.
 * @module
 */
import type { OpenedInbox } from "../database/inbox_store.ts";
import type { StretchRecord } from "../database/stretch.ts";
import { TidingsError } from "../errors.ts";
import type { Cursor } from "../log/cursor.ts";
import type { Row } from "../log/row.ts";
import type { InboxCount } from "../protocol.ts";
import type { Entry, People } from "./feed.ts";
import { Person, type PersonDeps } from "./person.ts";
import type { Session } from "./session.ts";
import type { ShownKeeper } from "./shown.ts";
import { signedOut } from "./withdrawal.ts";

/** Everybody with a session here. */
export interface Crowd extends People {
  /** A session's person was told something by a row of the log. */
  told(session: Session, count?: InboxCount): void;
  /** The counts as they are known here, when they are from after this row. */
  known(session: Session, row: Row): InboxCount | undefined;
  /** A session learnt that its person no longer follows a topic, and was given the topic up to a position beyond `until`. */
  shown(session: Session, stretch: StretchRecord, until: Cursor, position: Cursor): void;
  /** How many people. */
  readonly size: number;
}

/** Milliseconds until changed counts are told; with many people longer, so that it stays a small part of the work. */
const TELL = { least: 50, perPerson: 0.05, most: 2_000 } as const;

/** Nobody, to begin with. */
export function createPeople(deps: PersonDeps & { keeper: Pick<ShownKeeper, "keep"> }): Crowd {
  const people = new Map<string, Person>();
  const bySession = new WeakMap<Session, Person>();
  const changed = new Set<Person>();
  let telling = false;

  function change(person: Person): void {
    changed.add(person);
    if (telling) return;
    telling = true;
    deps.clock.after(Math.min(TELL.most, Math.max(TELL.least, people.size * TELL.perPerson)), () => {
      telling = false;
      const now = [...changed];
      changed.clear();
      for (const one of now) one.tell();
    });
  }

  function leave(person: Person): void {
    if (!person.deserted) return;
    person.end();
    changed.delete(person);
    people.delete(person.user);
  }

  async function enter({ user, topics, issuedAt, admin }: Parameters<People["enter"]>[0]): Promise<Entry> {
    let person = people.get(user);
    if (person === undefined) {
      person = new Person(user, deps, change);
      people.set(user, person);
    }
    const mine = person;
    mine.entering++;
    const back = () => {
      mine.entering--;
      leave(mine);
    };
    try {
      const opened = await mine.load(admin === true ? [] : topics);
      refuse(opened, user, issuedAt);
      let done = false;
      return {
        followed: mine.followed,
        admit(session, personal) {
          done = true;
          if (personal) bySession.set(session, mine);
          mine.admit(session, personal);
          session.onEnd(() => {
            mine.dismiss(session);
            leave(mine);
          });
          back();
        },
        turnBack() {
          if (!done) back();
          done = true;
        },
      };
    } catch (error) {
      back();
      throw error;
    }
  }

  return {
    enter,
    async count(user) {
      return await people.get(user)?.settled() ?? await deps.store.count(user);
    },
    told(session, count) {
      const person = bySession.get(session);
      if (person === undefined) return;
      if (count !== undefined) person.sessions.set(session, count);
      change(person);
    },
    shown(session, stretch, until, position) {
      const person = bySession.get(session);
      if (person !== undefined) deps.keeper.keep({ user: person.user, stretch, until, position });
    },
    known: (session, row) => bySession.get(session)?.after(row),
    get size() {
      return people.size;
    },
  };
}

function refuse(opened: OpenedInbox, user: string, issuedAt: number | undefined): void {
  if (opened.signedOut !== undefined && (issuedAt ?? 0) < opened.signedOut) throw signedOut();
  if (opened.refused.length === 0) return;
  throw new TidingsError(
    "forbidden",
    `Cannot subscribe: ${user} may not read ${
      opened.refused.map((topic) => JSON.stringify(topic)).join(", ")
    }`,
    {
      errors: opened.refused.map((topic) => ({
        field: "topics",
        message: `${JSON.stringify(topic)} is refused`,
      })),
    },
  );
}
