-- Later, once or again and again. What is due is sent by whichever gateway looks first, in one transaction with its row's
-- removal or advance: never twice, and a gateway that dies in the middle has sent nothing.

-- A notification that is to be sent, with the same constraints: what cannot be sent is refused when it is scheduled.
create table tidings.schedule (like tidings.notification including constraints);
alter table tidings.schedule drop column xid, drop column expires_at;
alter table tidings.schedule
  add column ttl interval,
  add column due_at timestamptz,
  add column name text,
  add column cron text,
  add column timezone text,
  add column missed text not null default 'send',
  add column last_at timestamptz,
  add column failure text,
  add primary key (id),
  -- One sequence with the log's: an id is either a notification's or a schedule's.
  alter column id set default pg_catalog.nextval(pg_catalog.pg_get_serial_sequence('tidings.notification', 'id')),
  alter column type set default 'notification',
  alter column transient set default false,
  alter column created_at set default pg_catalog.clock_timestamp(),
  add constraint "ttl: must be positive" check (ttl > interval '0'),
  add constraint "name: 1 to 200 characters, of a recurring schedule"
    check (name is null or (length(name) between 1 and 200 and cron is not null)),
  add constraint "cron: 1 to 200 characters" check (length(cron) between 1 and 200),
  add constraint "timezone: only with cron" check (timezone is null or cron is not null),
  add constraint "missed: send or skip" check (missed in ('send', 'skip')),
  add constraint "type: tidings.* cannot be scheduled" check (type not like 'tidings.%'),
  add constraint "due_at: needed without cron" check (cron is not null or due_at is not null or failure is not null);

-- Two indexes, so that a million waiting ones cost one probe each. A recurring one without due_at waits for a gateway to
-- compute it, because only gateways know cron.
create index schedule_once on tidings.schedule (due_at) where cron is null and failure is null;
create index schedule_recurring on tidings.schedule (due_at nulls first) where cron is not null and failure is null;
create unique index schedule_name on tidings.schedule (coalesce(sender, ''), name) where name is not null;
create unique index schedule_dedupe on tidings.schedule (topic, dedupe_key) where dedupe_key is not null and cron is null;
create index schedule_sender on tidings.schedule (sender, id);
create index schedule_topic on tidings.schedule (topic);

comment on table tidings.schedule is
  'What is still to be sent. Change it by tidings.send(… deliver_at), tidings.schedule, tidings.cancel.';

-- The part of tidings.send for deliver_at. Returns the schedule's id; tidings.cancel takes it.
create function tidings.send_later(
  topic text, title text, body text, type text, link text, data jsonb, sender text, priority text, collapse_key text,
  dedupe_key text, ttl interval, transient boolean, deliver_at timestamptz, push boolean) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  planned bigint;
begin
  if deliver_at > pg_catalog.clock_timestamp() + interval '10 years' then
    raise exception 'Cannot send: deliver_at: within 10 years, got %', deliver_at
      using errcode = 'invalid_parameter_value';
  end if;
  loop
    if dedupe_key is not null then
      select n.id into planned from tidings.notification n
      where n.topic = send_later.topic and n.dedupe_key = send_later.dedupe_key;
      if found then
        return planned;
      end if;
    end if;
    insert into tidings.schedule
      (topic, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, transient, push, ttl, due_at)
    values
      (send_later.topic, coalesce(send_later.type, 'notification'), send_later.title, send_later.body, send_later.link,
       send_later.data, send_later.sender, send_later.priority::tidings.priority, send_later.collapse_key, send_later.dedupe_key,
       coalesce(send_later.transient, false), send_later.push, send_later.ttl, deliver_at)
    on conflict do nothing
    returning id into planned;
    if planned is null then
      select s.id into planned from tidings.schedule s
      where s.topic = send_later.topic and s.dedupe_key = send_later.dedupe_key and s.cron is null;
    end if;
    if planned is not null then
      return planned;
    end if;
    -- What it clashed with was sent in between: the log has it now.
  end loop;
end $$;

-- Sends again and again: cron in a time zone. Called again with the same name (and sender), it changes what was planned.
-- Without a time zone it is the one of the person that the topic belongs to, and follows it.
create function tidings.schedule(
  name         text,
  cron         text,
  topic        text,
  title        text default null,
  body         text default null,
  timezone     text default null,
  missed       text default 'send',
  type         text default 'notification',
  link         text default null,
  data         jsonb default null,
  sender       text default null,
  priority     text default null,
  collapse_key text default null,
  ttl          interval default null,
  transient    boolean default false,
  push         boolean default null
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  planned bigint;
begin
  perform tidings.check_send(type, title, link, sender, priority, collapse_key, null);
  if timezone is not null and not exists (select from pg_catalog.pg_timezone_names z where z.name = schedule.timezone) then
    raise exception 'Cannot schedule: timezone must be an IANA name such as Europe/Berlin, got %', timezone
      using errcode = 'invalid_parameter_value';
  end if;
  if cron is null or cron !~ '^\s*(@(yearly|annually|monthly|weekly|daily|hourly)|[0-9A-Za-z*/,#?+-]+(\s+[0-9A-Za-z*/,#?+-]+){4,5})\s*$' then
    raise exception 'Cannot schedule: cron must have five fields (minute hour day month weekday) or six with seconds first, got %', cron
      using errcode = 'invalid_parameter_value';
  end if;
  insert into tidings.schedule as known
    (name, cron, timezone, missed, topic, type, title, body, link, data, sender, priority, collapse_key, transient, push, ttl)
  values
    (schedule.name, schedule.cron, schedule.timezone, coalesce(schedule.missed, 'send'), schedule.topic,
     coalesce(schedule.type, 'notification'), schedule.title, schedule.body, schedule.link, schedule.data, schedule.sender,
     schedule.priority::tidings.priority, schedule.collapse_key, coalesce(schedule.transient, false), schedule.push, schedule.ttl)
  on conflict (coalesce(sender, ''), name) where name is not null do update set
    cron = excluded.cron, timezone = excluded.timezone, missed = excluded.missed, topic = excluded.topic,
    type = excluded.type, title = excluded.title, body = excluded.body, link = excluded.link, data = excluded.data,
    priority = excluded.priority, collapse_key = excluded.collapse_key, transient = excluded.transient,
    push = excluded.push, ttl = excluded.ttl, failure = null,
    -- What only says something else keeps its time.
    due_at = case when (known.cron, known.timezone, known.topic)
                       is not distinct from (excluded.cron, excluded.timezone, excluded.topic)
                  then known.due_at end
  returning known.id into planned;
  return planned;
end $$;

-- Takes back what was not sent yet. False: there is no such schedule (any more).
create function tidings.cancel(id bigint) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  delete from tidings.schedule s where s.id = cancel.id;
  return found;
end $$;

create function tidings.cancel(name text, sender text default null) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  delete from tidings.schedule s
  where coalesce(s.sender, '') = coalesce(cancel.sender, '') and s.name = cancel.name;
  return found;
end $$;

-- Sends one schedule's notification, as due at that time. Its ttl counts from then. Returns its id; null when it would be
-- expired already, or the topic has its dedupe_key.
create function tidings.send_scheduled(s tidings.schedule, due timestamptz) returns bigint
language plpgsql volatile set search_path = '' as $$
declare
  expires timestamptz := due + coalesce(s.ttl, case when s.transient then interval '1 minute' end);
  sent bigint;
begin
  if expires <= pg_catalog.clock_timestamp() then
    return null;
  end if;
  insert into tidings.notification
    (topic, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, transient, push, expires_at)
  values
    (s.topic, s.type, s.title, s.body, s.link, s.data, s.sender, s.priority, s.collapse_key,
     case when s.cron is null then s.dedupe_key end, s.transient, s.push, expires)
  on conflict do nothing
  returning id into sent;
  return sent;
end $$;

-- Sends what is due once, oldest first, at most so many. `wait` is the time until the next of all schedules is due, in
-- milliseconds by this server's clock; null when nothing waits. One that cannot be sent (an application's own trigger
-- refuses it) is kept with the reason, and holds nobody up.
create function tidings.send_due(max_rows integer)
returns table (taken integer, sent integer, wait double precision)
language plpgsql volatile security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
  ids bigint[];
  one tidings.schedule;
begin
  sent := 0;
  ids := array(
    select s.id from tidings.schedule s
    where s.cron is null and s.failure is null and s.due_at <= pg_catalog.now()
    order by s.due_at limit max_rows for update skip locked);
  taken := cardinality(ids);
  if taken > 0 then
    begin
      with gone as (
        delete from tidings.schedule s where s.id = any (ids) returning s.*
      ), inserted as (
        insert into tidings.notification
          (topic, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, transient, push, expires_at)
        select g.topic, g.type, g.title, g.body, g.link, g.data, g.sender, g.priority, g.collapse_key, g.dedupe_key,
               g.transient, g.push, g.due_at + coalesce(g.ttl, case when g.transient then interval '1 minute' end)
        from gone g
        where coalesce(g.due_at + coalesce(g.ttl, case when g.transient then interval '1 minute' end), 'infinity')
              > pg_catalog.clock_timestamp()
        order by g.due_at, g.id
        on conflict do nothing
        returning 1
      )
      select pg_catalog.count(*) into sent from inserted;
    exception when data_exception or integrity_constraint_violation or raise_exception then
      sent := 0;
      for one in select * from tidings.schedule s where s.id = any (ids) order by s.due_at, s.id loop
        begin
          perform tidings.send_scheduled(one, one.due_at);
          delete from tidings.schedule s where s.id = one.id;
          sent := sent + 1;
        exception when data_exception or integrity_constraint_violation or raise_exception then
          update tidings.schedule s set failure = pg_catalog.left(sqlerrm, 500) where s.id = one.id;
        end;
      end loop;
    end;
  end if;
  wait := extract(epoch from tidings.next_due() - pg_catalog.clock_timestamp()) * 1000;
  return next;
end $$;

-- When something is due next; the past when a recurring one waits to be computed; null when nothing waits.
create function tidings.next_due() returns timestamptz
language sql stable set search_path = '' as $$
  select least(
    (select s.due_at from tidings.schedule s where s.cron is null and s.failure is null order by s.due_at limit 1),
    (select coalesce(r.due_at, '-infinity') from tidings.schedule r where r.cron is not null and r.failure is null
     order by r.due_at nulls first limit 1))
$$;

-- The time zone of the person that a topic belongs to: their own, or the one they keep quiet hours in.
create function tidings.timezone_of(topic text) returns text
language sql stable set search_path = '' as $$
  select coalesce(
    (select z.name from tidings.time_zone z where z.user_id = p.person),
    (select q.time_zone from tidings.quiet_hours q where q.user_id = p.person), 'UTC')
  from (select case when timezone_of.topic like 'user:%' then pg_catalog.substr(timezone_of.topic, 6) end) p(person)
$$;

-- Somebody moved: what follows their time zone is computed anew.
create function tidings.moved() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
begin
  update tidings.schedule s set due_at = null
  where s.topic = 'user:' || coalesce(new.user_id, old.user_id) and s.cron is not null and s.timezone is null;
  return null;
end $$;

create trigger moved after insert or delete on tidings.quiet_hours
  for each row execute function tidings.moved();
create trigger moved_on after update of time_zone on tidings.quiet_hours
  for each row when (old.time_zone is distinct from new.time_zone) execute function tidings.moved();
create trigger moved after insert or delete on tidings.time_zone
  for each row execute function tidings.moved();
create trigger moved_on after update of name on tidings.time_zone
  for each row when (old.name is distinct from new.name) execute function tidings.moved();

-- Recurring ones that are due or not computed yet. Nothing is claimed: tidings.advance takes only what is as it was seen.
create function tidings.due_recurring(max_rows integer)
returns table (id bigint, cron text, timezone text, missed text, due double precision, now double precision)
language sql volatile security definer set search_path = '' as $$
  select s.id, s.cron, coalesce(s.timezone, tidings.timezone_of(s.topic)), s.missed,
         extract(epoch from s.due_at) * 1000, extract(epoch from pg_catalog.clock_timestamp()) * 1000
  from (
    (select n.* from tidings.schedule n where n.cron is not null and n.failure is null and n.due_at is null
     limit max_rows)
    union all
    (select d.* from tidings.schedule d where d.cron is not null and d.failure is null and d.due_at <= pg_catalog.now()
     order by d.due_at limit max_rows)
  ) s limit max_rows
$$;

-- Moves recurring ones on: each from the time it was seen with to its next (null with a failure: never again), and sends
-- those that say so. Only one gateway's call finds a row as it was seen. Times in milliseconds. Returns how many were sent.
create function tidings.advance(steps jsonb) returns integer
language plpgsql volatile security definer set search_path = '' as $$
declare
  step record;
  one tidings.schedule;
  sent integer := 0;
begin
  for step in
    select u.* from pg_catalog.jsonb_to_recordset(steps)
      u(id bigint, seen double precision, next double precision, sending boolean, failure text)
    order by u.id
  loop
    select * into one from tidings.schedule s
    where s.id = step.id and s.failure is null
      and s.due_at is not distinct from pg_catalog.to_timestamp(step.seen / 1000)
    for update skip locked;
    continue when not found;
    begin
      if step.sending and tidings.send_scheduled(one, one.due_at) is not null then
        sent := sent + 1;
      end if;
      update tidings.schedule s
      set due_at = pg_catalog.to_timestamp(step.next / 1000), failure = step.failure,
          last_at = case when step.sending then pg_catalog.clock_timestamp() else s.last_at end
      where s.id = step.id;
    exception when data_exception or integrity_constraint_violation or raise_exception then
      update tidings.schedule s set failure = pg_catalog.left(sqlerrm, 500) where s.id = step.id;
    end;
  end loop;
  return sent;
end $$;

-- What waits, of one sender or (null) of all, oldest first: a page after that id, or one by its id. As JSON for clients,
-- times in milliseconds, ttl in seconds.
create function tidings.schedules(sender text, after bigint, max_rows integer, id bigint default null) returns setof jsonb
language sql stable security definer set search_path = '' as $$
  select pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
      'id', s.id::text, 'name', s.name, 'cron', s.cron, 'timezone', s.timezone,
      'missed', case when s.cron is not null then s.missed end,
      'dueAt', floor(extract(epoch from s.due_at) * 1000), 'lastAt', floor(extract(epoch from s.last_at) * 1000),
      'failure', s.failure, 'to', s.topic, 'type', s.type, 'title', s.title, 'body', s.body, 'link', s.link,
      'sender', s.sender, 'priority', s.priority, 'collapseKey', s.collapse_key, 'dedupeKey', s.dedupe_key,
      'ttl', extract(epoch from s.ttl), 'transient', nullif(s.transient, false), 'push', s.push,
      'createdAt', floor(extract(epoch from s.created_at) * 1000)))
    || case when s.data is null then '{}' else pg_catalog.jsonb_build_object('data', s.data) end
  from tidings.schedule s
  where (schedules.sender is null or s.sender = schedules.sender) and s.id > coalesce(schedules.after, 0)
    and (schedules.id is null or s.id = schedules.id)
  order by s.id limit max_rows
$$;

-- Takes back one's own; null: anybody's. False: there is none.
create function tidings.cancel_schedule(sender text, id bigint) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  delete from tidings.schedule s
  where s.id = cancel_schedule.id and (cancel_schedule.sender is null or s.sender = cancel_schedule.sender);
  return found;
end $$;

-- How many of a sender's wait, counted no further than that.
create function tidings.count_schedules(sender text, most integer) returns integer
language sql stable security definer set search_path = '' as $$
  select pg_catalog.count(*)::integer
  from (select from tidings.schedule s where s.sender = count_schedules.sender limit most) c
$$;

create or replace function tidings.sending_functions() returns text[]
language sql immutable set search_path = '' as $$ select array['send', 'schedule', 'cancel'] $$;
