-- What else grows is kept as long as notifications are, and goes in the same small steps. Some tables look after themselves:
-- tickets, idempotency keys, presence and deliveries have functions of their own.

alter table tidings.retention
  add column walked_inbox text not null default '',
  add column walked_acknowledged text not null default '';

create index attach_failure_age on tidings.attach_failure (failed_at);
create index schedule_failed on tidings.schedule (due_at) where cron is null and failure is not null;

-- One step: at most so many rows of each table. Returns whether another step would find something; null: somebody else is at it.
create function tidings.tidy(retention interval, max_rows integer default 1000) returns boolean
language plpgsql volatile security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
#variable_conflict use_variable
declare
  old timestamptz := pg_catalog.clock_timestamp() - retention;
  place tidings.retention;
  walked text;
  gone integer;
  most integer;
begin
  if not pg_catalog.pg_try_advisory_xact_lock(7434460955) then
    return null;
  end if;
  most := tidings.forget_readings(max_rows);

  -- A stretch of following, once nothing of it is left.
  delete from tidings.subscription s
  where s.id = any (array(
    select o.id from tidings.subscription o
    where o.until is not null and o.ended_at < old - interval '1 day' order by o.ended_at limit max_rows));
  get diagnostics gone = row_count;
  most := greatest(most, gone);

  delete from tidings.attach_failure f
  where f.id = any (array(select o.id from tidings.attach_failure o where o.failed_at < old order by o.failed_at limit max_rows));
  get diagnostics gone = row_count;
  most := greatest(most, gone);

  -- What was to be sent once and could not be: whoever made it has had the time to look.
  delete from tidings.schedule s
  where s.id = any (array(
    select o.id from tidings.schedule o
    where o.cron is null and o.failure is not null and o.due_at < old order by o.due_at limit max_rows));
  get diagnostics gone = row_count;
  most := greatest(most, gone);

  -- Where a durable STOMP subscription was left: its cursor would be reset.
  delete from tidings.stomp_subscription s
  where s.ctid = any (array(
    select o.ctid from tidings.stomp_subscription o
    where o.kept_at < old - interval '1 day' order by o.kept_at limit max_rows for update skip locked));
  get diagnostics gone = row_count;
  most := greatest(most, gone);

  -- People are walked through by name, some at a time, round and round. Whose places are all behind what was purged has a
  -- row that says nothing any more: everything there is came later, as it does for somebody who never was here.
  select * into place from tidings.retention;
  select max(w.user_id) into walked
  from (select i.user_id from tidings.inbox i where i.user_id > place.walked_inbox order by i.user_id limit max_rows) w;
  delete from tidings.inbox i
  where i.user_id = any (array(
    select o.user_id from tidings.inbox o
    where o.user_id > place.walked_inbox and o.user_id <= walked
      and coalesce((o.seen).xmax, '0') <= place.log_xid and coalesce((o.counted).xmax, '0') <= place.log_xid
      and coalesce(o.seen_at < old - interval '1 day', true)
    for update skip locked));
  place.walked_inbox := coalesce(walked, '');

  select max(w.user_id) into walked
  from (select a.user_id from tidings.acknowledged a where a.user_id > place.walked_acknowledged order by a.user_id limit max_rows) w;
  delete from tidings.acknowledged a
  where a.user_id > place.walked_acknowledged and a.user_id <= walked and a.at < old - interval '1 day';
  place.walked_acknowledged := coalesce(walked, '');

  update tidings.retention r
  set walked_inbox = place.walked_inbox, walked_acknowledged = place.walked_acknowledged
  where (r.walked_inbox, r.walked_acknowledged) <> (place.walked_inbox, place.walked_acknowledged);
  return most >= max_rows;
end $$;
