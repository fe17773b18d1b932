-- The inbox: what was sent to a person, to all, and to the topics they followed, with its state. Nothing is written when a
-- notification is sent. A person has one row here once they mark, follow or choose anything: up to which place all is seen,
-- read, archived; what differs from that has a receipt of its own.

create type tidings.state as enum ('unseen', 'seen', 'read', 'archived');

-- archived is behind read, and read behind seen: what is behind one is behind the others.
create table tidings.inbox (
  user_id    text primary key,
  -- Not the number of an earlier row of the same person: theirs goes when it says nothing any more (050_tidy.sql).
  version    bigint not null default extract(epoch from clock_timestamp()) * 1000,
  seen       tidings.place,
  read       tidings.place,
  archived   tidings.place,
  seen_at    timestamptz,
  read_at    timestamptz,
  archived_at timestamptz,
  -- The count as of a place; null: to be counted anew. Valid while nothing that it counts expires or is purged.
  counted    tidings.place,
  unread     integer,
  unseen     integer,
  oldest     bigint,
  expiry     timestamptz
);

comment on table tidings.inbox is 'One row per person: up to where all is seen, read, archived, and what was counted. Change it by tidings.mark.';
comment on column tidings.inbox.version is 'Grows with every change of the person''s marks, subscriptions and preferences.';
comment on column tidings.inbox.oldest is 'The lowest id that the count counts.';

create table tidings.receipt (
  user_id         text not null,
  notification_id bigint not null,
  state           tidings.state not null,
  marked_at       timestamptz not null default clock_timestamp(),
  primary key (user_id, notification_id)
);

create index receipt_notification on tidings.receipt (notification_id);
create index receipt_state on tidings.receipt (user_id, state, notification_id);

comment on table tidings.receipt is 'The state of one notification for one person, where it is not what tidings.inbox says of all.';

-- Who followed what, from where to where. `until` is null while they do.
create table tidings.subscription (
  id          bigint generated always as identity primary key,
  user_id     text not null,
  topic       text not null,
  since       tidings.place not null,
  until       tidings.place,
  followed_at timestamptz not null default clock_timestamp(),
  ended_at    timestamptz
);

create unique index subscription_open on tidings.subscription (user_id, topic) where until is null;
create index subscription_person on tidings.subscription (user_id, topic);
create index subscription_topic on tidings.subscription (topic) where until is null;
create index subscription_ended on tidings.subscription (ended_at) where until is not null;

-- What somebody wants of a topic, of a type, or (default) of whatever has no rule of its own. One rule that says no is enough.
create table tidings.preference (
  user_id text not null,
  scope   text not null,
  name    text not null default '',
  in_app  boolean not null default true,
  push    boolean not null default true,
  primary key (user_id, scope, name),
  constraint "scope: topic, type or default" check (scope in ('topic', 'type', 'default')),
  constraint "name: 1 to 200 characters, and none with default" check ((scope = 'default') = (name = '') and length(name) <= 200)
);

create table tidings.quiet_hours (
  user_id   text primary key,
  starts    time not null,
  ends      time not null,
  time_zone text not null,
  constraint "quiet hours: start and end must differ" check (starts <> ends)
);

-- Where somebody lives, for what is sent at a time of their day; whoever has no row here, where they keep quiet hours.
create table tidings.time_zone (
  user_id text primary key,
  name    text not null
);

-- How far retention has come: the highest id it purged.
create table tidings.retention (
  only_row  boolean primary key default true check (only_row),
  purged_id bigint not null default 0,
  purged_at timestamptz
);
insert into tidings.retention default values;

-- The topics of a person with the stretch of each that is theirs; null: without end.
create function tidings.sources(user_id text) returns table (topic text, since tidings.place, until tidings.place)
language sql stable as $$
  select 'user:' || user_id, null::tidings.place, null::tidings.place
  union all
  select 'all', null, null
  union all
  select s.topic, s.since, s.until from tidings.subscription s where s.user_id = sources.user_id
$$;

-- Which rules hide something from a person: rules as arrays, so that a row is tested without a look-up.
create type tidings.rules as (off_topics text[], on_topics text[], off_types text[], on_types text[], off boolean);

create function tidings.in_app_rules(user_id text) returns tidings.rules
language sql stable set search_path = '' as $$
  select row(
    coalesce(array_agg(p.name) filter (where p.scope = 'topic' and not p.in_app), '{}'),
    coalesce(array_agg(p.name) filter (where p.scope = 'topic' and p.in_app), '{}'),
    coalesce(array_agg(p.name) filter (where p.scope = 'type' and not p.in_app), '{}'),
    coalesce(array_agg(p.name) filter (where p.scope = 'type' and p.in_app), '{}'),
    coalesce(bool_or(not p.in_app) filter (where p.scope = 'default'), false))::tidings.rules
  from tidings.preference p where p.user_id = in_app_rules.user_id
$$;

create function tidings.hidden(rules tidings.rules, topic text, type text) returns boolean
language sql immutable parallel safe as $$
  select topic = any ((rules).off_topics) or type = any ((rules).off_types)
    or ((rules).off and not (topic = any ((rules).on_topics) or type = any ((rules).on_types)))
$$;

-- A count and all that has to be known to go on from it. `scanned`: how many rows were looked at.
create type tidings.count as (
  unread integer, unseen integer, place tidings.place, oldest bigint, expiry timestamptz, scanned integer, version bigint);

-- Counts from what was counted before and what came since then; where that cannot be used, from all that is not read.
create function tidings.count_now(user_id text) returns tidings.count
language plpgsql stable set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
#variable_conflict use_variable
declare
  i tidings.inbox;
  rules tidings.rules := tidings.in_app_rules(user_id);
  c tidings.count;
  low xid8;
begin
  select * into i from tidings.inbox b where b.user_id = count_now.user_id;
  c.place := tidings.here();
  c.version := coalesce(i.version, 0);
  if (i.counted).xmax is not null
    and (i.expiry is null or i.expiry > pg_catalog.now())
    and (i.oldest is null or i.oldest > (select r.purged_id from tidings.retention r))
  then
    low := tidings.low(i.counted);
    select i.unread + count(*) filter (where s.state < 'read'), i.unseen + count(*) filter (where s.state = 'unseen'),
           least(i.oldest, min(s.id) filter (where s.state < 'read')),
           least(i.expiry, min(s.expires_at) filter (where s.state < 'read')), count(*)
    into c.unread, c.unseen, c.oldest, c.expiry, c.scanned
    from (
      select n.id, n.expires_at, coalesce(r.state, case
               when tidings.behind(i.archived, n.xid, n.id) then 'archived'::tidings.state
               when tidings.behind(i.read, n.xid, n.id) then 'read'
               when tidings.behind(i.seen, n.xid, n.id) then 'seen' else 'unseen' end) as state
      from tidings.sources(user_id) t
      cross join lateral (
        select a.* from tidings.notification a where a.topic = t.topic and a.xid >= (i.counted).xmax
        union all
        -- The offset keeps the planner from turning the two around.
        select o.* from unnest((i.counted).xip, (i.counted).at) x(xid, id)
        cross join lateral (
          select a.* from tidings.notification a where a.topic = t.topic and a.xid = x.xid and a.id > x.id offset 0) o
      ) n
      left join tidings.receipt r on r.user_id = count_now.user_id and r.notification_id = n.id
      where ((t.until).xmax is null or (t.until).xmax > low)
        and not n.transient and (n.expires_at is null or n.expires_at > pg_catalog.now())
        and not tidings.behind(t.since, n.xid, n.id)
        and ((t.until).xmax is null or tidings.behind(t.until, n.xid, n.id))
        and not tidings.hidden(rules, n.topic, n.type)
    ) s;
    return c;
  end if;

  low := tidings.low(i.read);
  select count(*) filter (where s.state < 'read'), count(*) filter (where s.state = 'unseen'),
         min(s.id) filter (where s.state < 'read'), min(s.expires_at) filter (where s.state < 'read'), count(*) + 1000
  into c.unread, c.unseen, c.oldest, c.expiry, c.scanned
  from (
    select n.id, n.expires_at, coalesce(r.state, case
             when tidings.behind(i.archived, n.xid, n.id) then 'archived'::tidings.state
             when tidings.behind(i.read, n.xid, n.id) then 'read'
             when tidings.behind(i.seen, n.xid, n.id) then 'seen' else 'unseen' end) as state
    from tidings.sources(user_id) t
    join tidings.notification n on n.topic = t.topic and n.xid >= greatest(low, tidings.low(t.since))
    left join tidings.receipt r on r.user_id = count_now.user_id and r.notification_id = n.id
    where not n.transient and (n.expires_at is null or n.expires_at > pg_catalog.now())
      and not tidings.behind(t.since, n.xid, n.id)
      and ((t.until).xmax is null or tidings.behind(t.until, n.xid, n.id))
      and not tidings.hidden(rules, n.topic, n.type)
    union all
    -- Back to unread, below all that.
    select n.id, n.expires_at, r.state
    from tidings.receipt r
    join tidings.notification n on n.id = r.notification_id and n.xid < low
    join tidings.sources(user_id) t on t.topic = n.topic
    where r.user_id = count_now.user_id and r.state < 'read'
      and not n.transient and (n.expires_at is null or n.expires_at > pg_catalog.now())
      and not tidings.behind(t.since, n.xid, n.id)
      and ((t.until).xmax is null or tidings.behind(t.until, n.xid, n.id))
      and not tidings.hidden(rules, n.topic, n.type)
  ) s;
  return c;
end $$;

-- Keeps a count for the next time, unless something changed since it was made. It never waits: who counts is no writer.
create function tidings.keep_count(user_id text, c tidings.count) returns void
language plpgsql volatile set search_path = '' set lock_timeout = '20ms' as $$
begin
  perform from tidings.inbox b where b.user_id = keep_count.user_id for update skip locked;
  if not found and exists (select from tidings.inbox b where b.user_id = keep_count.user_id) then
    return;
  end if;
  insert into tidings.inbox as b (user_id, counted, unread, unseen, oldest, expiry)
  select keep_count.user_id, (c).place, (c).unread, (c).unseen, (c).oldest, (c).expiry
  on conflict on constraint inbox_pkey do update
    set counted = excluded.counted, unread = excluded.unread, unseen = excluded.unseen, oldest = excluded.oldest,
        expiry = excluded.expiry
    where b.version = (c).version;
exception
  -- Another transaction writes this person's first row at this moment: the count is kept another time.
  when lock_not_available then return;
end $$;

-- How many of a person's notifications are not read, and how many were never looked at; as of a place in the log, so that what
-- comes after it can be added. Keeps what was dear to count. `expiry`: when the count changes by itself, at the earliest.
create function tidings.inbox_count(user_id text)
returns table (unread integer, unseen integer, xmax text, xip text[], at text[], expiry timestamptz)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  c tidings.count := tidings.count_now(user_id);
begin
  if c.scanned > 200 then
    perform tidings.keep_count(user_id, c);
  end if;
  return query select c.unread, c.unseen, (c.place).xmax::text, (c.place).xip::text[], (c.place).at::text[], c.expiry;
end $$;
