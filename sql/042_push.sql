-- Pushes: notification × device. Planned from the log by a cursor of their own, so that sending costs nothing more; claimed
-- with a lease, so that a gateway that dies leaves nothing undone; settled with the reason.

create table tidings.delivery (
  id              bigint generated always as identity primary key,
  notification_id bigint not null,
  user_id         text not null,
  -- Null: the person had no device.
  device          bigint,
  device_id       text,
  -- queued, sending (until due_at: the lease), sent, closing (to be taken back), closed, skipped, failed
  state           text not null,
  due_at          timestamptz,
  attempt         integer not null default 0,
  -- A later one of the same takes its place.
  collapse        text,
  -- Pushed as one with others of this key.
  digest          text,
  digest_title    text,
  digest_body     text,
  -- What a digest stands for.
  ids             bigint[],
  -- What happened, oldest first: {event, at, reason}.
  events          jsonb not null default '[]',
  created_at      timestamptz not null default clock_timestamp(),

  unique (notification_id, device),
  constraint "state: one of the seven"
    check (state in ('queued', 'sending', 'sent', 'closing', 'closed', 'skipped', 'failed'))
);

create index delivery_due on tidings.delivery (due_at) where state in ('queued', 'sending', 'closing');
create index delivery_digest on tidings.delivery (device, digest, id) where state = 'queued' and digest is not null;
create index delivery_collapse on tidings.delivery (device, collapse, id) where collapse is not null;
create index delivery_shown on tidings.delivery (user_id, notification_id) where state in ('sent', 'closing');
create index delivery_closing on tidings.delivery (device, id) where state = 'closing';
create index delivery_age on tidings.delivery (created_at);

-- How far pushes are planned, a snapshot: planned is what has an xid below the ceiling that was not open.
create table tidings.push_position (
  only_row boolean primary key default true check (only_row),
  epoch    text,
  ceiling  xid8 not null,
  open     xid8[] not null
);
insert into tidings.push_position (ceiling, open)
select pg_snapshot_xmax(pg_current_snapshot()), array(select pg_snapshot_xip(pg_current_snapshot()));

-- Notifications of one type or topic to one person, pushed as one.
create table tidings.digest (
  type   text not null default '',
  topic  text not null default '',
  within interval not null,
  title  text not null,
  body   text,

  primary key (type, topic),
  constraint "type or topic: at least one" check (type <> '' or topic <> ''),
  constraint "within: 1 second to 7 days" check (within between interval '1 second' and interval '7 days'),
  constraint "title: 1 to 1000 characters" check (length(title) between 1 and 1000),
  constraint "body: at most 4000 characters" check (length(body) <= 4000)
);

-- Pushes what comes within that time as one, titled so: {count} stands for how many. Called again, it changes the rule.
create function tidings.digest(
  within interval, title text, type text default null, topic text default null, body text default null) returns void
language sql volatile security definer set search_path = '' as $$
  insert into tidings.digest as d (type, topic, within, title, body)
  values (coalesce(digest.type, ''), coalesce(digest.topic, ''), digest.within, digest.title, digest.body)
  on conflict (type, topic) do update set within = excluded.within, title = excluded.title, body = excluded.body
$$;

create function tidings.undigest(type text default null, topic text default null) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  delete from tidings.digest d
  where d.type = coalesce(undigest.type, '') and d.topic = coalesce(undigest.topic, '');
  return found;
end $$;

-- One entry of a delivery's events.
create function tidings.push_note(event text, reason text) returns jsonb
language sql volatile set search_path = '' as $$
  select pg_catalog.jsonb_build_array(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'event', event, 'at', pg_catalog.clock_timestamp(), 'reason', reason)))
$$;

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
         pg_catalog.array_agg(r.id) filter (where r.push is distinct from false and not r.transient),
         case when pg_catalog.count(*) >= max_rows then pg_catalog.max(r.xid::text::bigint)::text::xid8 end
  into here, seen, wanted, p
  from (
    select a.* from (
      (select o.* from unnest(was.open) x(xid)
       cross join lateral (
         select n.id, n.xid, n.push, n.transient from tidings.notification n
         where n.xid = x.xid order by n.xid, n.id limit max_rows) o
       order by o.xid, o.id limit max_rows)
      union all
      (select n.id, n.xid, n.push, n.transient from tidings.notification n
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
  end if;

  if cardinality(wanted) > 0 then
    insert into tidings.delivery
      (notification_id, user_id, device, device_id, state, due_at, collapse, digest, digest_title, digest_body, events)
    select n.id, r.user_id, d.number, d.id, s.state,
           case when s.state = 'queued' then greatest(n.created_at + grace, coalesce(
             (select min(h.due_at) from tidings.delivery h
              where h.device = d.number and h.digest = k.digest and h.state = 'queued'),
             n.created_at + g.within)) end,
           n.topic || ' ' || n.collapse_key, k.digest, g.title, g.body,
           tidings.push_note(s.state, case when s.state = 'skipped' then coalesce(r.refusal, 'no_device') end)
    from tidings.notification n
    cross join lateral tidings.push_recipients(n.topic, n.type, n.push) r
    left join tidings.device d on d.user_id = r.user_id
    left join lateral (
      select o.* from tidings.digest o
      where o.type in ('', n.type) and o.topic in ('', n.topic)
      order by o.topic desc, o.type desc limit 1) g on true
    cross join lateral (
      select case when r.refusal is null and d.number is not null then 'queued' else 'skipped' end as state) s
    cross join lateral (
      select g.type || ' ' || g.topic || ' ' || n.topic || ' ' || coalesce(n.collapse_key, '') as digest) k
    where n.id = any (wanted) and (d.number is not null or n.topic like 'user:%')
    order by n.xid, n.id
    on conflict (notification_id, device) do nothing;
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

-- Who gets a push of this, and who does not although it asked for one, with the reason.
create function tidings.push_recipients(topic text, type text, push boolean)
returns table (user_id text, refusal text)
language plpgsql stable set search_path = '' as $$
begin
  if not coalesce(push, false) then
    return;
  elsif topic like 'user:%' then
    return query select pg_catalog.substr(topic, 6), null::text;
  elsif topic = 'all' then
    return query select distinct d.user_id, null::text from tidings.device d;
  end if;
end $$;

-- Why this person needs no push of it any more; null: it is needed.
create function tidings.push_needless(user_id text, n tidings.notification) returns text
language plpgsql stable set search_path = '' as $$
begin
  return null;
end $$;

-- Until when pushes to this person wait; null: they do not.
create function tidings.push_quiet_until(user_id text) returns timestamptz
language plpgsql stable set search_path = '' as $$
begin
  return null;
end $$;

-- How many this person has not read, for the app's badge; null: not known.
create function tidings.push_unread(user_id text) returns integer
language plpgsql stable set search_path = '' as $$
begin
  return null;
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
      quiet := tidings.push_quiet_until(d.user_id);
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
    item := pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
      'id', n.id::text, 'topic', n.topic, 'type', n.type, 'title', n.title, 'body', n.body, 'link', n.link,
      'sender', n.sender, 'priority', n.priority, 'collapseKey', n.collapse_key,
      'createdAt', extract(epoch from n.created_at) * 1000, 'expiresAt', extract(epoch from n.expires_at) * 1000))
      || case when n.data is null then '{}' else pg_catalog.jsonb_build_object('data', n.data) end;
    unread := tidings.push_unread(d.user_id);
    ttl := greatest(0, floor(extract(epoch from expires - pg_catalog.clock_timestamp())));
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

-- These were read: what is on a screen is taken back, at once where the device can do so in silence, else with its next push.
create function tidings.push_read(user_id text, ids bigint[]) returns void
language sql volatile security definer set search_path = '' as $$
  update tidings.delivery u
  set state = 'closing', attempt = 0,
      due_at = case when d.silent then pg_catalog.clock_timestamp() else 'infinity' end,
      events = u.events || tidings.push_note('read', null)
  from tidings.device d
  where u.user_id = push_read.user_id and u.state = 'sent' and u.notification_id = any (push_read.ids)
    and d.number = u.device
$$;

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

-- What became of each push, one row per event: queued, held, merged, skipped, sent, retry, gone, failed, shown, read, closed.
create view tidings.push_trace as
  select d.notification_id, d.user_id, d.device_id, e.event ->> 'event' as event,
         (e.event ->> 'at')::timestamptz as at, e.event ->> 'reason' as reason
  from tidings.delivery d
  cross join lateral pg_catalog.jsonb_array_elements(d.events) e(event);
