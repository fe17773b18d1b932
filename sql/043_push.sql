-- Planning, claiming and settling pushes (042_delivery.sql). Every function is one operation of a gateway.

-- Reads the log from where the last call stopped, at most so many notifications (those of one transaction always together),
-- and queues a delivery for each device of each person that is to get a push. One caller at a time; returns how many were
-- read, null when another is at it.
create function tidings.push_plan(max_rows integer, grace interval) returns integer
language plpgsql volatile security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
declare
  was tidings.push_position;
  history text := (select h.epoch from tidings.history h);
  here pg_catalog.pg_snapshot;
  seen integer;
  wanted bigint[];
  readers text[];
  p xid8;
begin
  select * into was from tidings.push_position for update skip locked;
  if not found then
    return null;
  end if;
  if was.epoch is distinct from history then
    -- Another history's transaction numbers mean nothing here: what is in the log by now is not pushed.
    update tidings.push_position
    set epoch = history,
        ceiling = case when was.epoch is null then was.ceiling
                    else pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) end,
        open = case when was.epoch is null then was.open
                   else array(select pg_catalog.pg_snapshot_xip(pg_catalog.pg_current_snapshot())) end
    returning * into was;
  end if;

  -- The rows and the snapshot they were seen in, from one statement.
  select pg_catalog.pg_current_snapshot(), pg_catalog.count(*),
         -- For one person, nobody having asked for a push and no preference of theirs: most of a log, and told from the rest by one
         -- look into an index (a limit, so that the planner does not read all preferences instead).
         pg_catalog.array_agg(r.id) filter (where r.push is distinct from false and not r.transient and (
           r.push or r.topic not like 'user:%'
           or (select true from tidings.preference f where f.user_id = pg_catalog.substr(r.topic, 6) limit 1))),
         pg_catalog.array_agg(distinct pg_catalog.substr(r.topic, 6)) filter (where r.type = 'tidings.inbox'),
         case when pg_catalog.count(*) >= max_rows then pg_catalog.max(r.xid::text::bigint)::text::xid8 end
  into here, seen, wanted, readers, p
  from (
    select a.* from (
      (select o.* from unnest(was.open) x(xid)
       cross join lateral (
         select n.id, n.xid, n.topic, n.type, n.push, n.transient from tidings.notification n
         where n.xid = x.xid order by n.xid, n.id limit max_rows) o
       order by o.xid, o.id limit max_rows)
      union all
      (select n.id, n.xid, n.topic, n.type, n.push, n.transient from tidings.notification n
       where n.xid >= was.ceiling order by n.xid, n.id limit max_rows)
    ) a order by a.xid, a.id limit max_rows
  ) r;

  if p is not null then
    -- The page ends with transaction p: what is left of it is taken as well, and beyond p nothing was read.
    wanted := array(
      select w.id from unnest(wanted) w(id)
      union
      select n.id from tidings.notification n
      where n.xid = p and n.push is distinct from false and not n.transient);
    readers := array(
      select r.id from unnest(readers) r(id)
      union
      select pg_catalog.substr(n.topic, 6) from tidings.notification n where n.xid = p and n.type = 'tidings.inbox');
  end if;

  if cardinality(wanted) > 0 then
    perform tidings.push_queue(
      array(select n.id from tidings.notification n where n.id = any (wanted) and n.topic like 'user:%' order by n.xid, n.id),
      array(select pg_catalog.substr(n.topic, 6) from tidings.notification n
            where n.id = any (wanted) and n.topic like 'user:%' order by n.xid, n.id),
      grace);
    insert into tidings.fan_out (notification_id)
    select n.id from tidings.notification n
    where n.id = any (wanted) and n.topic not like 'user:%'
      -- Where it was not asked for, somebody must want it.
      and (n.push or exists (
        select from tidings.preference r
        where r.push and ((r.scope = 'topic' and r.name = n.topic) or (r.scope = 'type' and r.name = n.type)
                          or (r.scope = 'default' and r.name = ''))))
    on conflict do nothing;
  end if;
  -- What people marked stands in the same log.
  if cardinality(readers) > 0 then
    perform tidings.push_take_back(readers);
  end if;

  if p is not null then
    update tidings.push_position set
      ceiling = greatest(was.ceiling::text::bigint, p::text::bigint + 1)::text::xid8,
      open = array(select x from pg_catalog.pg_snapshot_xip(here) x where x <= p
                  union select x from unnest(was.open) x where x > p);
  elsif seen > 0 or pg_catalog.pg_snapshot_xmax(here)::text::bigint - was.ceiling::text::bigint > 1000 then
    -- Otherwise nothing is written: an idle gateway leaves no trace.
    update tidings.push_position set
      ceiling = pg_catalog.pg_snapshot_xmax(here),
      open = array(select x from pg_catalog.pg_snapshot_xip(here) x);
  end if;
  return seen;
end $$;

-- Queues the next so many deliveries of a notification to many. Returns whether anything may be left to do.
create function tidings.push_fan_out(max_rows integer, grace interval) returns boolean
language plpgsql volatile security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
declare
  f tidings.fan_out;
  n tidings.notification;
  found_users text[];
  reached bigint;
  looked integer;
begin
  select * into f from tidings.fan_out o order by o.notification_id limit 1 for update skip locked;
  if not found then
    return false;
  end if;
  select * into n from tidings.notification m where m.id = f.notification_id;
  if n.topic = 'all' then
    select pg_catalog.array_agg(distinct d.user_id), max(d.number), pg_catalog.count(*) into found_users, reached, looked
    from (select c.number, c.user_id from tidings.device c
          where c.number > f.position order by c.number limit max_rows) d;
  elsif n.id is not null then
    select pg_catalog.array_agg(s.user_id) filter (
             where not tidings.behind(s.since, n.xid, n.id)
               and exists (select from tidings.device d where d.user_id = s.user_id)),
           max(s.id), pg_catalog.count(*)
    into found_users, reached, looked
    from (select c.id, c.user_id, c.since from tidings.subscription c
          where c.topic = n.topic and c.until is null and c.id > f.position order by c.id limit max_rows) s;
  end if;
  if cardinality(found_users) > 0 then
    perform tidings.push_queue(pg_catalog.array_fill(n.id, array[cardinality(found_users)]), found_users, grace);
  end if;
  if looked = max_rows then
    update tidings.fan_out o set position = reached where o.notification_id = f.notification_id;
  else
    delete from tidings.fan_out o where o.notification_id = f.notification_id;
  end if;
  return true;
end $$;

-- Takes what is due: settles what needs no push any more with the reason, holds back what falls into quiet hours, and
-- returns the rest, which nobody else gets before the lease ends. `read` is what this device showed and was read elsewhere
-- since: it tells it with this push.
create function tidings.push_claim(max_rows integer, lease interval)
returns table (
  delivery bigint, attempt integer, action text, device bigint, kind text, address text, keys jsonb, item jsonb,
  ids bigint[], read bigint[], unread integer, ttl integer, title text, body text)
language plpgsql volatile security definer set search_path = '' set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
  d tidings.delivery;
  n tidings.notification;
  target tidings.device;
  expires timestamptz;
  refusal text;
  quiet timestamptz;
  mates bigint[];
begin
  for d in
    select c.* from tidings.delivery c
    where c.state in ('queued', 'sending', 'closing') and c.due_at <= pg_catalog.now()
      -- Of a digest the oldest speaks for all.
      and (c.digest is null or c.state <> 'queued' or not exists (
        select from tidings.delivery o
        where o.device = c.device and o.digest = c.digest and o.state = 'queued' and o.id < c.id))
    order by c.due_at limit max_rows for update skip locked
  loop
    select * into target from tidings.device t where t.number = d.device;
    select * into n from tidings.notification m where m.id = d.notification_id;
    expires := coalesce(n.expires_at, n.created_at + interval '3 days');
    refusal := case
      when n.id is null then 'purged'
      when target.number is null then 'device_removed'
      when target.user_id <> d.user_id then 'device_moved'
      when expires <= pg_catalog.clock_timestamp() then 'expired'
    end;

    if d.state = 'closing' then
      if refusal is not null then
        update tidings.delivery u set state = 'closed', due_at = null, events = u.events || tidings.push_note('closed', refusal)
        where u.id = d.id;
        continue;
      end if;
      update tidings.delivery u set due_at = pg_catalog.clock_timestamp() + lease, attempt = u.attempt + 1
      where u.id = d.id;
      action := 'close';
      ids := coalesce(d.ids, array[d.notification_id]);
      read := ids;
      title := null;
      body := null;
    else
      if d.digest is not null and d.state = 'queued' then
        -- Those that speak through this one, without those that need not be said any more.
        mates := array[]::bigint[];
        declare
          mate tidings.delivery;
          m tidings.notification;
        begin
          for mate in
            select o.* from tidings.delivery o
            where o.device = d.device and o.digest = d.digest and o.state = 'queued' and o.id <> d.id
            order by o.id for update
          loop
            select * into m from tidings.notification x where x.id = mate.notification_id;
            if m.id is null or m.expires_at <= pg_catalog.clock_timestamp()
               or tidings.push_needless(mate.user_id, m) is not null then
              update tidings.delivery u
              set state = 'skipped', due_at = null, events = u.events || tidings.push_note('skipped',
                coalesce(case when m.id is null then 'purged' else tidings.push_needless(mate.user_id, m) end, 'expired'))
              where u.id = mate.id;
            else
              update tidings.delivery u
              set state = 'skipped', due_at = null,
                  events = u.events || tidings.push_note('merged', 'pushed with ' || d.notification_id)
              where u.id = mate.id;
              mates := mates || mate.notification_id;
            end if;
          end loop;
        end;
        if cardinality(mates) > 0 then
          d.ids := d.notification_id || mates;
          update tidings.delivery u set ids = d.ids where u.id = d.id;
        end if;
      end if;

      -- A digest is needed as long as one of those it stands for is.
      if refusal is null then
        select tidings.push_needless(d.user_id, x) into refusal from tidings.notification x
        where x.id = any (coalesce(d.ids, array[d.notification_id]))
        order by tidings.push_needless(d.user_id, x) is not null, x.id desc limit 1;
      end if;
      if refusal is null and d.collapse is not null and d.digest is null and exists (
        select from tidings.delivery o
        where o.device = d.device and o.collapse = d.collapse and o.id > d.id and o.state not in ('skipped', 'failed')
      ) then
        refusal := 'collapsed';
      end if;
      if refusal is not null then
        update tidings.delivery u
        set state = 'skipped', due_at = null, events = u.events || tidings.push_note('skipped', refusal)
        where u.id = d.id;
        continue;
      end if;
      quiet := tidings.quiet_until(d.user_id);
      if quiet > pg_catalog.clock_timestamp() then
        update tidings.delivery u
        set state = 'queued', due_at = quiet, events = u.events || tidings.push_note('held', 'quiet_hours')
        where u.id = d.id;
        continue;
      end if;
      update tidings.delivery u
      set state = 'sending', due_at = pg_catalog.clock_timestamp() + lease, attempt = u.attempt + 1
      where u.id = d.id;
      action := 'notify';
      ids := coalesce(d.ids, array[d.notification_id]);
      read := array(
        select unnest(coalesce(o.ids, array[o.notification_id])) from tidings.delivery o
        where o.device = d.device and o.state = 'closing' order by 1 desc limit 50);
      title := case when cardinality(ids) > 1 then pg_catalog.replace(d.digest_title, '{count}', cardinality(ids)::text) end;
      body := case when cardinality(ids) > 1 then pg_catalog.replace(d.digest_body, '{count}', cardinality(ids)::text) end;
    end if;

    delivery := d.id;
    attempt := d.attempt + 1;
    device := target.number;
    kind := target.kind;
    address := target.address;
    keys := target.keys;
    item := tidings.push_item(n);
    unread := (tidings.count_now(d.user_id)).unread;
    -- Push services keep nothing for longer than four weeks, and refuse to be asked.
    ttl := least(greatest(0, floor(extract(epoch from expires - pg_catalog.clock_timestamp()))), 2419200);
    return next;
  end loop;
end $$;

-- How an attempt ended. `outcome`: sent, gone (the device is removed, unless its address is another by now), retry (after so
-- many seconds), failed. What was told about with a push (`told`) is closed with it. An attempt that lost its lease counts
-- only if it sent.
create function tidings.push_settle(
  delivery bigint, attempt integer, outcome text, reason text, retry_seconds double precision, address text, told bigint[])
returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  d tidings.delivery;
begin
  select u.* into d from tidings.delivery u where u.id = delivery for update;
  if not found or d.state not in ('sending', 'closing') or (d.attempt <> attempt and outcome <> 'sent') then
    return;
  end if;
  update tidings.delivery u
  set state = case
        when outcome = 'sent' then case d.state when 'closing' then 'closed' else 'sent' end
        when outcome = 'retry' then case d.state when 'closing' then 'closing' else 'queued' end
        else 'failed' end,
      -- A digest that was refused is pushed again as it is.
      due_at = case when outcome = 'retry'
                 then pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => retry_seconds) end,
      events = (case when pg_catalog.jsonb_array_length(u.events) < 60 then u.events else u.events - -1 end)
        || tidings.push_note(case when outcome = 'sent' and d.state = 'closing' then 'closed' else outcome end, reason)
  where u.id = d.id;
  if outcome = 'gone' then
    delete from tidings.device t where t.number = d.device and t.address = address;
  end if;
  if outcome = 'sent' and cardinality(told) > 0 then
    update tidings.delivery u
    set state = 'closed', due_at = null, events = u.events || tidings.push_note('closed', 'told with the next push')
    where u.device = d.device and u.state = 'closing' and u.id <> d.id
      and coalesce(u.ids, array[u.notification_id]) && told;
  end if;
end $$;

-- The device says that it showed these.
create function tidings.push_shown(device bigint, ids bigint[]) returns void
language sql volatile security definer set search_path = '' as $$
  update tidings.delivery u set events = u.events || tidings.push_note('shown', null)
  where u.device = push_shown.device and u.notification_id = any (push_shown.ids)
    and u.state not in ('queued', 'skipped')
    and not pg_catalog.jsonb_path_exists(u.events, '$[*] ? (@.event == "shown")')
$$;

-- Forgets what was settled so long ago, at most so many. Returns how many.
create function tidings.push_purge(age interval, max_rows integer) returns integer
language plpgsql volatile security definer set search_path = '' as $$
declare
  purged integer;
begin
  delete from tidings.delivery u where u.id in (
    select o.id from tidings.delivery o
    where o.created_at < pg_catalog.now() - age and o.state not in ('queued', 'sending')
    order by o.created_at limit max_rows for update skip locked);
  get diagnostics purged = row_count;
  return purged;
end $$;

-- What became of each push, one row per event, oldest first within a device. `event`: queued, held (until quiet hours end), merged
-- (pushed with another), skipped, sent, retry, gone, failed, shown, read (elsewhere), closed (taken back). `reason` of skipped: muted,
-- preference, no_device, acknowledged (by a client that somebody looked at), seen, read, archived, expired, purged, collapsed,
-- device_removed, device_moved; of sent, retry, gone and failed what the push service answered.
create view tidings.push_trace as
  select d.notification_id, d.user_id, d.device_id, e.event ->> 'event' as event,
         (e.event ->> 'at')::timestamptz as at, e.event ->> 'reason' as reason
  from tidings.delivery d
  cross join lateral pg_catalog.jsonb_array_elements(d.events) with ordinality e(event, place)
  order by d.notification_id, d.device_id, e.place;

-- The same of one notification for one person, in the order of time and in words; and where a push was asked for and there is no
-- trace of one, why: their topic reaches them on no device, or no gateway has come to it yet.
create function tidings.push_story(notification_id bigint, user_id text)
returns table (at timestamptz, event text, detail text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  n tidings.notification;
begin
  return query
  select p.at, p.event, pg_catalog.concat_ws(': ', 'device ' || p.device_id, pg_catalog.replace(p.reason, '_', ' '))
  from tidings.push_trace p
  where p.notification_id = push_story.notification_id and p.user_id = push_story.user_id
  order by p.at;
  if found then
    return;
  end if;
  select * into n from tidings.notification m where m.id = push_story.notification_id;
  if n.push and not n.transient and tidings.was_sent_to(push_story.user_id, n.topic, n.xid, n.id) then
    return query select null::timestamptz, 'none', case
      when exists (select from tidings.device d where d.user_id = push_story.user_id) then 'no gateway has come to it yet'
      else 'no device' end;
  end if;
end $$;

-- What was pushed to a device, for its worker to fetch whole: entries like the item of push_claim.
create function tidings.pushed_items(device bigint, ids bigint[]) returns setof jsonb
language sql stable security definer set search_path = '' as $$
  select tidings.push_item(n)
  from tidings.delivery d
  join tidings.notification n on n.id = d.notification_id
  where d.device = pushed_items.device and d.notification_id = any (pushed_items.ids)
    and d.user_id = (select t.user_id from tidings.device t where t.number = pushed_items.device)
    and d.state <> 'queued' and (n.expires_at is null or n.expires_at > pg_catalog.now())
  order by n.xid, n.id
$$;

-- Marks for the person whose device it is; ids that were not pushed to it are left alone.
create function tidings.mark_pushed(device bigint, ids bigint[], state text)
returns table (unread integer, unseen integer)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  owner text := (select t.user_id from tidings.device t where t.number = device);
begin
  return query
  select m.unread, m.unseen from tidings.mark(owner, array(
    select d.notification_id from tidings.delivery d
    join tidings.notification n on n.id = d.notification_id
    where d.device = mark_pushed.device and d.user_id = owner and d.notification_id = any (ids)), state) m;
end $$;
