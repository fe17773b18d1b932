/**
 * What the members of the demo can do: each one statement on the climbing application's own tables, run as it is shown. The
 * notifications are made by what `sql/demo/climbing.sql` attached to the tables; a job's progress is one call.
 * @module
 */

/** The two members: their ids in `climbing.member`, which are their users here. */
export const MEMBERS = ["1", "2"] as const;
/** One of them. */
export type Member = typeof MEMBERS[number];
/** Their names. */
export const NAMES: Readonly<Record<Member, string>> = { 1: "Ada", 2: "Bo" };

/** Something to do. */
export interface Action {
  name: string;
  label: string;
  /** Said when no row was touched. */
  nothing?: string;
  /** The statement; `:me` is who acts, `:name` that one's name, `:you` the other one, `:done` how much of a job is done. */
  sql: string;
}

/** Everything to do, in the order of a visit to the gym. */
export const ACTIONS: readonly Action[] = [
  {
    name: "match_requested",
    label: "Challenge",
    sql: `insert into climbing.match
  (route_id, challenger_id, challenger_name, opponent_id)
values (1, :me, :name, :you)`,
  },
  {
    name: "match_made",
    label: "Accept",
    nothing: "Nobody has challenged you: let the other one press Challenge first.",
    sql: `update climbing.match set state = 'made'
where state = 'requested' and opponent_id = :me`,
  },
  {
    name: "opponent_ready",
    label: "I am ready",
    nothing: "There is no match yet: Challenge, and let the other one Accept.",
    sql: `update climbing.match
set challenger_ready = challenger_ready or challenger_id = :me,
    opponent_ready = opponent_ready or opponent_id = :me
where state = 'made'`,
  },
  {
    name: "match_cancelled",
    label: "Cancel",
    nothing: "There is no match to cancel: Challenge first.",
    sql: `update climbing.match
set state = 'cancelled', cancelled_by = :me
where state <> 'cancelled'`,
  },
  {
    name: "post_published",
    label: "Post",
    sql: `insert into climbing.post (author_id, author_name, title)
values (:me, :name, 'Three sessions for one arete')`,
  },
  {
    name: "post_liked",
    label: "Like",
    nothing: "You like everything there is: let the other one Post first.",
    sql: `insert into climbing.liked
select max(id), :me from climbing.post
where author_id = :you having max(id) is not null
on conflict do nothing`,
  },
  {
    name: "route_completed",
    label: "Climb",
    sql: `insert into climbing.ascent (member_id, route_id, seconds)
select :me, id, 120 from climbing.route
where setter_id = :you limit 1`,
  },
  {
    name: "personal_record",
    label: "Be faster",
    nothing: "You have no record yet: Climb first.",
    sql: `insert into climbing.ascent (member_id, route_id, seconds)
select :me, route_id, seconds - 1 from climbing.record
where member_id = :me and seconds > 1 limit 1`,
  },
  {
    name: "ranking_changed",
    label: "Swap places",
    sql: `update climbing.ranking set place = 3 - place
where member_id in (:me, :you) and place < 3`,
  },
  {
    name: "answer",
    label: "Ask the coach",
    sql: `select tidings.send('user:' || :me,
  title => 'The coach writes your plan',
  data => jsonb_build_object('progress', :done),
  collapse_key => 'coach', transient => true)`,
  },
];

/** The other member. */
export function other(member: Member): Member {
  return member === "1" ? "2" : "1";
}

/** Whether it is a job that goes on for a while. */
export function isJob({ sql }: Action): boolean {
  return sql.includes(":done");
}

/** A statement with numbered parameters, and their values. */
export interface Bound {
  sql: string;
  values: (string | number)[];
}

/** The statement as it is run. */
export function bound(action: Action, member: Member, done: number): Bound {
  const names: string[] = [];
  const sql = action.sql.replace(PARAMETER, (_, name: string) => {
    if (!names.includes(name)) names.push(name);
    return `$${names.indexOf(name) + 1}::${TYPES[name]}`;
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

const PARAMETER = /(?<!:):(me|you|name|done)\b/g;
const TYPES: Record<string, string> = { me: "int", you: "int", name: "text", done: "float8" };

function valueOf(name: string, member: Member, done: number): string | number {
  if (name === "name") return NAMES[member];
  return name === "me" ? Number(member) : name === "you" ? Number(other(member)) : done;
}
