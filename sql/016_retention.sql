-- What is old goes, in small steps: whoever holds the advisory lock for a step deletes some thousand rows, from the log's
-- beginning, and moves the horizon in the same transaction. Readers are not disturbed: they wait for nothing that this locks.
--
-- Every look begins where the one before it ended, never at an index's beginning: what was deleted stays in the indexes until
-- vacuum comes by, which is never while some transaction stays open, and walking over it again and again would cost more than
-- the deleting.
--
-- Not partitioned by time, though dropping a partition costs nothing. Over 30 partitions the first page of an inbox took 6 times as
-- long and a notification by its id 8 times, since neither says when it was; a dedupe_key could be unique within a partition only;
-- and DROP and DETACH wait for every reader and writer and make those behind them wait. Deleting keeps up: 28,543 rows a second
-- while 4,894 came (tests/bench/retention_bench.ts).

alter table tidings.retention
  add column log_xid xid8 not null default '0',
  add column log_id bigint not null default 0,
  add column expired_at timestamptz not null default '-infinity';

-- A twentieth of the table, not a fifth, so that what is deleted is soon room for what comes.
alter table tidings.notification set (autovacuum_vacuum_scale_factor = 0.05);

-- One step. aged: rows older than the retention; expired: those past their expires_at for a minute, and transient ones that name
-- none and are older than that; more: whether another step would find something. `fresh` looks from the very beginning, where a
-- transaction that was open for long may have left rows. busy: somebody else is at it.
create function tidings.purge(retention interval, max_rows integer default 5000, fresh boolean default false)
returns table (aged integer, expired integer, more boolean, busy boolean)
language plpgsql volatile security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
#variable_conflict use_variable
declare
  -- Plain values: compared with a function's, an index is walked to its end.
  old timestamptz := pg_catalog.clock_timestamp() - retention;
  over timestamptz := pg_catalog.clock_timestamp() - interval '1 minute';
  stored tidings.retention;
  place tidings.retention;
  gone bigint[];
begin
  aged := 0;
  expired := 0;
  more := false;
  busy := not pg_catalog.pg_try_advisory_xact_lock(7434460954);
  if busy then
    return next;
    return;
  end if;
  perform pg_catalog.set_config('tidings.purging', 'on', true);
  select * into stored from tidings.retention;
  place := stored;
  if fresh then
    place.log_xid := '0';
    place.log_id := 0;
    place.expired_at := '-infinity';
  end if;

  -- Only a prefix of the log goes: nothing that is younger than the retention, whatever its xid.
  with page as materialized (
    select n.id, n.xid, n.created_at from tidings.notification n
    where (n.xid, n.id) > (place.log_xid, place.log_id)
    order by n.xid, n.id limit max_rows
  ), young as (
    select p.xid, p.id from page p where p.created_at >= old order by p.xid, p.id limit 1
  )
  select array_agg(p.id order by p.xid, p.id), (array_agg(p.xid order by p.xid desc))[1] into gone, place.log_xid
  from page p left join young y on true
  where y.id is null or (p.xid, p.id) < (y.xid, y.id);
  if gone is null then
    place.log_xid := stored.log_xid;
    place.log_id := stored.log_id;
  else
    aged := pg_catalog.cardinality(gone);
    place.log_id := gone[aged];
    update tidings.history h set horizon = place.log_xid where h.horizon < place.log_xid;
    delete from tidings.notification n where n.id = any (gone);
    delete from tidings.receipt r where r.notification_id = any (gone);
  end if;

  -- From the last one's own moment on, for several may share it.
  select array_agg(s.id), max(s.due) into gone, place.expired_at
  from (
    select n.id, coalesce(n.expires_at, n.created_at) as due from tidings.notification n
    where (n.expires_at is not null or n.transient)
      and coalesce(n.expires_at, n.created_at) >= place.expired_at and coalesce(n.expires_at, n.created_at) <= over
    order by coalesce(n.expires_at, n.created_at) limit max_rows
  ) s;
  if gone is not null then
    expired := pg_catalog.cardinality(gone);
    delete from tidings.notification n where n.id = any (gone);
    delete from tidings.receipt r where r.notification_id = any (gone);
  end if;

  update tidings.retention r
  set log_xid = place.log_xid, log_id = place.log_id, expired_at = coalesce(place.expired_at, stored.expired_at),
      purged_id = greatest(r.purged_id, case when aged > 0 then place.log_id end),
      purged_at = case when aged > 0 then pg_catalog.clock_timestamp() else r.purged_at end
  where aged > 0 or expired > 0;
  perform pg_catalog.set_config('tidings.purging', '', true);
  more := aged >= max_rows or expired >= max_rows;
  return next;
end $$;

-- Whoever deletes or changes notifications by hand changes what was counted: it is counted anew, and open sessions are told.
create function tidings.recount() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
declare
  people text[];
  everybody boolean;
begin
  if coalesce(pg_catalog.current_setting('tidings.purging', true), '') <> '' then
    return null;
  end if;
  if tg_op = 'DELETE' then
    select array_agg(distinct substr(o.topic, 6)) filter (where o.topic like 'user:%'), bool_or(o.topic not like 'user:%')
    into people, everybody from old_rows o where not o.transient;
    delete from tidings.receipt r using old_rows o where r.notification_id = o.id;
  else
    select array_agg(distinct substr(c.topic, 6)) filter (where c.topic like 'user:%'), bool_or(c.topic not like 'user:%')
    into people, everybody
    from (
      select unnest(array[o.topic, n.topic]) as topic from old_rows o join new_rows n using (id)
      where (o.topic, o.type, o.transient, o.expires_at) is distinct from (n.topic, n.type, n.transient, n.expires_at)
    ) c;
  end if;
  if everybody then
    update tidings.inbox i set counted = null, version = i.version + 1;
    insert into tidings.notification (topic, type, data, transient, expires_at)
    values ('all', 'tidings.inbox', '{}', true, pg_catalog.clock_timestamp() + interval '10 minutes');
  elsif people is not null then
    update tidings.inbox i set counted = null, version = i.version + 1 where i.user_id = any (people);
    insert into tidings.notification (topic, type, data, transient, expires_at)
    select 'user:' || p, 'tidings.inbox', '{}', true, pg_catalog.clock_timestamp() + interval '10 minutes' from unnest(people) p;
  end if;
  return null;
end $$;

-- Without conditions: every INSERT copies the triggers of its table, conditions included (of its 21 microseconds these two take
-- 0.25; with conditions it was 1).
create trigger recount_deleted after delete on tidings.notification referencing old table as old_rows
  for each statement execute function tidings.recount();
create trigger recount_changed after update on tidings.notification referencing old table as old_rows new table as new_rows
  for each statement execute function tidings.recount();

-- Called by tidings.adopt, before the rows' xids are replaced (strange) or kept: places of the other cluster become places of this
-- one. Where "has a lower id than the place" and "was there at the place" differ, because a transaction was open at that moment,
-- the difference is written down.
create function tidings.adopting(strange boolean) returns void
language plpgsql volatile set search_path = '' as $$
begin
  perform pg_catalog.set_config('tidings.purging', 'on', true);
  if strange then
    insert into tidings.receipt (user_id, notification_id, state)
    select i.user_id, n.id, tidings.state_of(i, n.xid, n.id)
    from tidings.inbox i
    cross join lateral tidings.sources(i.user_id) t
    join tidings.notification n on n.topic = t.topic and not n.transient
      and n.xid >= least(tidings.low(i.seen), case when (i.read).xmax is not null then tidings.low(i.read) end,
                         case when (i.archived).xmax is not null then tidings.low(i.archived) end)
    where (i.seen).xmax is not null
      and ((n.id <= (i.seen).top and not tidings.behind(i.seen, n.xid, n.id))
        or (n.id <= (i.read).top and not tidings.behind(i.read, n.xid, n.id))
        or (n.id <= (i.archived).top and not tidings.behind(i.archived, n.xid, n.id)))
    on conflict do nothing;

    perform tidings.adopting_stretch(s) from tidings.subscription s;
  end if;
  update tidings.inbox i
  set seen = tidings.adopted(i.seen, strange), read = tidings.adopted(i.read, strange),
      archived = tidings.adopted(i.archived, strange), counted = null, version = i.version + 1;
  update tidings.subscription s
  set since = tidings.adopted(s.since, strange), until = tidings.adopted(s.until, strange);
  update tidings.retention set log_xid = '0', log_id = 0, expired_at = '-infinity';
end $$;

-- Makes the stretch one of ids: cut before the first row that is not its own, with a stretch for each of its own outside.
create function tidings.adopting_stretch(s tidings.subscription) returns void
language plpgsql volatile set search_path = '' as $$
declare
  foreigner bigint;
  top bigint;
begin
  if ((s).until).xmax is not null then
    select min(n.id) into foreigner from tidings.notification n
    where n.topic = (s).topic and n.xid >= tidings.low((s).until) and n.id > ((s).since).top and n.id <= ((s).until).top
      and not tidings.behind((s).until, n.xid, n.id);
  end if;
  top := least(((s).until).top, foreigner - 1);
  insert into tidings.subscription (user_id, topic, since, until, followed_at, ended_at)
  select (s).user_id, (s).topic,
    row((((s).since).xmax), '{}', '{}', n.id - 1)::tidings.place, row((((s).since).xmax), '{}', '{}', n.id)::tidings.place,
    (s).followed_at, pg_catalog.clock_timestamp()
  from tidings.notification n
  where n.topic = (s).topic and n.xid >= tidings.low((s).since)
    and not tidings.behind((s).since, n.xid, n.id)
    and (((s).until).xmax is null or tidings.behind((s).until, n.xid, n.id))
    and not (n.id > ((s).since).top and (top is null or n.id <= top));
  if foreigner is not null then
    update tidings.subscription o set until.top = top where o.id = (s).id;
  end if;
end $$;
