/**
 * What the members of the demo can do: each a plain statement on the climbing application's own tables
 * (`sql/demo/climbing.sql`), run as it is shown. The notification is made by the tables' triggers, or, for a job's progress,
 * by one call.
 * @module
 */

/** The two members. */
export const MEMBERS = ["jisoo", "alex"] as const;
/** One of them. */
export type Member = typeof MEMBERS[number];

/** Something to do. */
export interface Action {
  name: string;
  label: string;
  /** Who hears of it. */
  rings: "the other" | "oneself" | "both";
  /** The statement; `$1` is who acts, `$2` the other one, `$3` how much of a job is done. */
  sql: string;
}

/** Everything to do, in the order of a visit to the gym. */
export const ACTIONS: readonly Action[] = [
  {
    name: "match_requested",
    label: "Ask for a match",
    rings: "the other",
    sql: `select tidings.send(
  topic => 'user:' || $2, type => 'match.requested',
  title => initcap($1) || ' wants to climb with you', body => 'Saturday, 10:00, Peakers Jongno')`,
  },
  {
    name: "job",
    label: "Ask the coach",
    rings: "oneself",
    sql: `select tidings.send(
  topic => 'user:' || $1, title => 'The coach is thinking …',
  data => jsonb_build_object('progress', $3::float),
  collapse_key => 'coach', transient => true)`,
  },
];

/** The other member. */
export function other(member: Member): Member {
  return member === "jisoo" ? "alex" : "jisoo";
}

/** The values of a statement's parameters; only those it has. */
export function valuesOf({ sql }: Action, member: Member, progress: number): (string | number)[] {
  const most = Math.max(0, ...[...sql.matchAll(/\$(\d)/g)].map(([, digit]) => Number(digit)));
  return [member, other(member), progress].slice(0, most);
}

/** The statement as somebody would type it. */
export function written(action: Action, member: Member, progress = 0.5): string {
  const values = [member, other(member), progress];
  return action.sql.replace(/\$(\d)(::\w+)?/g, (_, digit) => {
    const value = values[Number(digit) - 1];
    return typeof value === "number" ? String(value) : `'${value}'`;
  });
}
