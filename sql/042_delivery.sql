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
create index delivery_shown on tidings.delivery (user_id, notification_id) where state = 'sent';
create index delivery_closing on tidings.delivery (device, id) where state = 'closing';
create index delivery_age on tidings.delivery (created_at);
create index subscription_fan_out on tidings.subscription (topic, id) where until is null;
create index preference_push on tidings.preference (scope, name) where push;

-- How far pushes are planned, a snapshot: planned is what has an xid below the ceiling that was not open.
create table tidings.push_position (
  only_row boolean primary key default true check (only_row),
  epoch    text,
  ceiling  xid8 not null,
  open     xid8[] not null
);
insert into tidings.push_position (ceiling, open)
select pg_snapshot_xmax(pg_current_snapshot()), array(select pg_snapshot_xip(pg_current_snapshot()));

-- Notifications to many: how far their deliveries are queued, by the number of the device (all) or the id of the subscription.
create table tidings.fan_out (
  notification_id bigint primary key,
  position        bigint not null default 0
);

-- Notifications of one type or topic to one person, pushed as one.
create table tidings.digest (
  type   text not null default '' collate "C",
  topic  text not null default '' collate "C",
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

-- The rules, as JSON for clients; within in seconds.
create function tidings.digests() returns setof jsonb
language sql stable security definer set search_path = '' as $$
  select pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'type', nullif(d.type, ''), 'topic', nullif(d.topic, ''), 'within', extract(epoch from d.within),
    'title', d.title, 'body', d.body))
  from tidings.digest d order by d.type, d.topic
$$;

-- One entry of a delivery's events.
create function tidings.push_note(event text, reason text) returns jsonb
language sql volatile set search_path = '' as $$
  select pg_catalog.jsonb_build_array(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'event', event, 'at', pg_catalog.clock_timestamp(), 'reason', reason)))
$$;

-- A notification as clients know it, but for its times: milliseconds.
create function tidings.push_item(n tidings.notification) returns jsonb
language sql stable set search_path = '' as $$
  select pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
      'id', n.id::text, 'topic', n.topic, 'type', n.type, 'title', n.title, 'body', n.body, 'link', n.link,
      'sender', n.sender, 'priority', n.priority, 'collapseKey', n.collapse_key,
      'createdAt', floor(extract(epoch from n.created_at) * 1000),
      'expiresAt', floor(extract(epoch from n.expires_at) * 1000)))
    || case when n.data is null then '{}' else pg_catalog.jsonb_build_object('data', n.data) end
$$;

-- Why this person gets no push of it: muted, preference, or unasked (nobody asked for one). Null: they do.
create function tidings.push_refusal(user_id text, topic text, type text, push boolean) returns text
language sql stable set search_path = '' as $$
  select case
    when not tidings.wants_in_app(user_id, topic, type) then 'muted'
    when not tidings.wants_push(user_id, topic, type) then 'preference'
    when push or exists (
      select from tidings.preference p
      where p.user_id = push_refusal.user_id and p.push
        and (p.scope = 'default' or (p.scope = 'topic' and p.name = push_refusal.topic)
             or (p.scope = 'type' and p.name = push_refusal.type))) then null
    else 'unasked'
  end
$$;

-- What this person made of it: unseen, seen, read or archived.
create function tidings.push_state(user_id text, n tidings.notification) returns tidings.state
language sql stable set search_path = '' as $$
  select coalesce(
    (select r.state from tidings.receipt r where r.user_id = push_state.user_id and r.notification_id = n.id),
    (select tidings.state_of(i, n.xid, n.id) from tidings.inbox i where i.user_id = push_state.user_id),
    'unseen')
$$;

-- Why this person needs no push of it any more; null: it is needed.
create function tidings.push_needless(user_id text, n tidings.notification) returns text
language plpgsql stable set search_path = '' as $$
declare
  state tidings.state := tidings.push_state(user_id, n);
begin
  if state > 'unseen' then
    return state::text;
  end if;
  if exists (
    select from tidings.acknowledged a join tidings.history h on h.epoch = a.epoch
    where a.user_id = push_needless.user_id and tidings.behind(a.place, n.xid, n.id)
  ) then
    return 'acknowledged';
  end if;
  return nullif(tidings.push_refusal(user_id, n.topic, n.type, n.push), 'unasked');
end $$;

-- Queues the deliveries of notifications to people, pair by pair: one for each device, or the reason why none.
create function tidings.push_queue(ids bigint[], users text[], grace interval) returns void
language sql volatile set search_path = '' as $$
  insert into tidings.delivery
    (notification_id, user_id, device, device_id, state, due_at, collapse, digest, digest_title, digest_body, events)
  select n.id, u.user_id, d.number, d.id, s.state,
         case when s.state = 'queued' then greatest(n.created_at + grace, coalesce(
           (select min(h.due_at) from tidings.delivery h
            where h.device = d.number and h.digest = k.digest and h.state = 'queued'),
           n.created_at + g.within)) end,
         n.topic || ' ' || n.collapse_key, k.digest, g.title, g.body,
         tidings.push_note(s.state, case when s.state = 'skipped' then coalesce(r.refusal, 'no_device') end)
  from unnest(ids, users) with ordinality u(id, user_id, place)
  join tidings.notification n on n.id = u.id
  cross join lateral (select tidings.push_refusal(u.user_id, n.topic, n.type, n.push) as refusal) r
  left join tidings.device d on d.user_id = u.user_id
  left join lateral (
    select o.* from tidings.digest o
    where o.type in ('', n.type) and o.topic in ('', n.topic)
    order by o.topic desc, o.type desc limit 1) g on true
  cross join lateral (
    select case when r.refusal is null and d.number is not null then 'queued' else 'skipped' end as state) s
  cross join lateral (
    select g.type || ' ' || g.topic || ' ' || n.topic || ' ' || coalesce(n.collapse_key, '') as digest) k
  where r.refusal is distinct from 'unasked' and (d.number is not null or n.topic like 'user:%')
  order by u.place
  on conflict (notification_id, device) do nothing
$$;

-- What these people read elsewhere is taken from their screens: at once where the device can do so in silence, else with its
-- next push.
create function tidings.push_take_back(users text[]) returns void
language sql volatile set search_path = '' as $$
  update tidings.delivery u
  set state = 'closing', attempt = 0,
      due_at = case when d.silent then pg_catalog.clock_timestamp() else 'infinity' end,
      events = u.events || tidings.push_note('read', null)
  from unnest(users) r(user_id)
  cross join lateral (
    select o.id, o.notification_id, o.device from tidings.delivery o
    where o.user_id = r.user_id and o.state = 'sent' order by o.notification_id desc limit 200) o
  join tidings.notification n on n.id = o.notification_id
  join tidings.device d on d.number = o.device
  where u.id = o.id and u.state = 'sent' and tidings.push_state(r.user_id, n) >= 'read'
$$;
