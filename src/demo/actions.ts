/**
 * What the members of the demo can do: each one statement of plain SQL, run as it is shown.
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
  /** The statement; `:me` is who acts, `:you` the other one, `:done` how much of a job is done. */
  sql: string;
}

/** Everything to do, in the order of a visit to the gym. */
export const ACTIONS: readonly Action[] = [
  {
    name: "match_requested",
    label: "Ask for a match",
    sql: `select tidings.send('user:' || :you,
  type  => 'match.requested', sender => :me,
  title => initcap(:me) || ' wants to climb with you',
  body  => 'Saturday, 10:00, Peakers Jongno', link => '#match')`,
  },
  {
    name: "match_made",
    label: "Accept it",
    sql: `select tidings.send('user:' || :you,
  type  => 'match.made', sender => :me,
  title => initcap(:me) || ' accepted your match',
  body  => 'See you at the wall', link => '#match')`,
  },
  {
    name: "opponent_ready",
    label: "I am ready",
    sql: `select tidings.send('user:' || :you,
  type  => 'match.ready', sender => :me, transient => true,
  title => initcap(:me) || ' is at the wall')`,
  },
  {
    name: "match_cancelled",
    label: "Cancel it",
    sql: `select tidings.send('user:' || :you,
  type  => 'match.cancelled', sender => :me,
  title => initcap(:me) || ' cancelled your match')`,
  },
  {
    name: "post_liked",
    label: "Like a post",
    sql: `select tidings.send('user:' || :you,
  type  => 'post.liked', sender => :me,
  title => initcap(:me) || ' liked your post',
  body  => 'Three sessions for one arete', link => '#post')`,
  },
  {
    name: "route_completed",
    label: "Send a route",
    sql: `select tidings.send(array['user:' || :me, 'user:' || :you],
  type  => 'route.completed', sender => :me,
  title => initcap(:me) || ' climbed the blue V5')`,
  },
  {
    name: "personal_record",
    label: "Personal record",
    sql: `select tidings.send('user:' || :me,
  type  => 'record.personal',
  title => 'A new personal record', body => 'V6, on the first of March')`,
  },
  {
    name: "ranking_changed",
    label: "Move up",
    sql: `select tidings.send('all',
  type  => 'ranking.changed', sender => :me,
  title => initcap(:me) || ' leads the ranking of this week')`,
  },
  {
    name: "answer",
    label: "Ask the coach",
    sql: `select tidings.send('user:' || :me,
  title => 'The coach writes your plan',
  data  => jsonb_build_object('progress', :done::float8),
  collapse_key => 'coach', transient => true)`,
  },
];

/** The other member. */
export function other(member: Member): Member {
  return member === "jisoo" ? "alex" : "jisoo";
}

/** Whether it is a job that goes on for a while. */
export function isJob({ sql }: Action): boolean {
  return sql.includes(":done");
}

/** The statement with numbered parameters, and their values. */
export function bound(
  action: Action,
  member: Member,
  done: number,
): { sql: string; values: (string | number)[] } {
  const names: string[] = [];
  const sql = action.sql.replace(PARAMETER, (_, name: string) => {
    if (!names.includes(name)) names.push(name);
    // a text that stands alone has no type for the server to see
    return `$${names.indexOf(name) + 1}${name === "done" ? "" : "::text"}`;
  });
  return { sql, values: names.map((name) => valueOf(name, member, done)) };
}

/** The statement as somebody would type it. */
export function written(action: Action, member: Member, done = 0.5): string {
  return action.sql.replace(PARAMETER, (_, name: string) => {
    const value = valueOf(name, member, done);
    return typeof value === "number" ? String(value) : `'${value}'`;
  });
}

const PARAMETER = /(?<!:):(me|you|done)\b/g;

function valueOf(name: string, member: Member, done: number): string | number {
  return name === "me" ? member : name === "you" ? other(member) : done;
}
