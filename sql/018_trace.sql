-- Why did it not arrive? What gateways know of deliveries, in few rows: one per session that was sent anything, with the places
-- from and up to which it was, and one per second and gateway with how far that gateway had come. So a delivery is not a row, and
-- still has its session and its time.

-- Unlogged: it is there to answer questions, and not worth its write-ahead log.
create unlogged table tidings.reading (
  session_id   text primary key,
  instance     text not null,
  user_id      text not null,
  transport    text not null,
  topics       text[] not null,
  opened_at    timestamptz not null,
  since        tidings.place not null,
  -- Null while the session is live: then its gateway's passages say how far it has come.
  sent         tidings.place,
  acked        tidings.place,
  acked_at     timestamptz,
  ended_at     timestamptz
);
create index reading_person on tidings.reading (user_id, opened_at);
create index reading_age on tidings.reading (opened_at);

create unlogged table tidings.passage (
  instance text not null,
  at       timestamptz not null,
  place    tidings.place not null,
  primary key (instance, at)
);
create index passage_age on tidings.passage (at);

-- What a gateway has to say since the last time: how far it is; sessions as they are now, whole; acknowledgements.
-- readings: [{id, user, transport, topics, opened ms, since, sent, ended ms, acked, ackedAt ms}]
create function tidings.record_readings(instance text, place jsonb, readings jsonb) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
begin
  if place is not null then
    insert into tidings.passage (instance, at, place)
    values (instance, pg_catalog.clock_timestamp(), tidings.place_of(place)) on conflict do nothing;
  end if;
  insert into tidings.reading as r
    (session_id, instance, user_id, transport, topics, opened_at, since, sent, acked, acked_at, ended_at)
  select e.id, record_readings.instance, e."user", e.transport, array(select pg_catalog.jsonb_array_elements_text(e.topics)),
         pg_catalog.to_timestamp(e.opened / 1000), tidings.place_of(e.since), tidings.place_of(e.sent), tidings.place_of(e.acked),
         pg_catalog.to_timestamp(e."ackedAt" / 1000), pg_catalog.to_timestamp(e.ended / 1000)
  from pg_catalog.jsonb_to_recordset(readings) e(id text, "user" text, transport text, topics jsonb, opened double precision,
    since jsonb, sent jsonb, acked jsonb, "ackedAt" double precision, ended double precision)
  on conflict on constraint reading_pkey do update
    set topics = excluded.topics, sent = excluded.sent, acked = coalesce(excluded.acked, r.acked),
        acked_at = coalesce(excluded.acked_at, r.acked_at), ended_at = excluded.ended_at;
end $$;

-- Forgets what is older than a day (passages) and a week (sessions); up to so many rows. Returns how many.
create function tidings.forget_readings(max_rows integer default 5000) returns integer
language sql volatile security definer set search_path = '' as $$
  with passages as (
    delete from tidings.passage p where p.ctid = any (array(
      select o.ctid from tidings.passage o where o.at < pg_catalog.now() - interval '1 day' order by o.at limit max_rows))
    returning 1
  ), readings as (
    delete from tidings.reading r where r.session_id in (
      select o.session_id from tidings.reading o where o.opened_at < pg_catalog.now() - interval '7 days' order by o.opened_at limit max_rows)
    returning 1
  )
  select ((select count(*) from passages) + (select count(*) from readings))::integer
$$;

-- What became of one notification for one person, kind by kind. `event`: committed, delivered, acknowledged, marked,
-- push … (tidings.push_story), or not delivered; `detail` says by which session and transport, or the reason.
create function tidings.trace_events(notification_id bigint, user_id text)
returns table (at timestamptz, event text, session_id text, detail text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  n tidings.notification;
  i tidings.inbox;
  r tidings.receipt;
  s record;
  delivered boolean := false;
  state tidings.state;
  meant boolean;
begin
  select * into n from tidings.notification o where o.id = notification_id;
  if n.id is null then
    return query select null::timestamptz, 'not delivered', null::text, 'there is no such notification: never committed, expired and removed, or older than the retention';
    return;
  end if;
  return query select n.created_at, 'committed', null::text, 'to ' || n.topic || ' as ' || n.type;

  for s in
    select g.*, (select min(p.at) from tidings.passage p
                 where p.instance = g.instance and p.at >= n.created_at - interval '1 minute'
                   and tidings.behind(p.place, n.xid, n.id)) as passed_at
    from tidings.reading g
    where g.user_id = trace_events.user_id and n.topic = any (g.topics) and not tidings.behind(g.since, n.xid, n.id)
    order by g.opened_at
  loop
    if tidings.behind(s.sent, n.xid, n.id)
      or ((s.sent).xmax is null and s.passed_at is not null)
    then
      delivered := true;
      return query select greatest(s.opened_at, coalesce(least(s.passed_at, s.ended_at), s.opened_at)), 'delivered', s.session_id,
        'over ' || s.transport || ' by gateway ' || s.instance;
      if tidings.behind(s.acked, n.xid, n.id) then
        return query select s.acked_at, 'acknowledged', s.session_id, 'at the latest then';
      end if;
    end if;
  end loop;

  select * into i from tidings.inbox b where b.user_id = trace_events.user_id;
  select * into r from tidings.receipt c where c.user_id = trace_events.user_id and c.notification_id = trace_events.notification_id;
  meant := tidings.was_sent_to(user_id, n.topic, n.xid, n.id);
  state := coalesce(r.state, tidings.state_of(i, n.xid, n.id));
  if meant and not n.transient and state > 'unseen' then
    return query select coalesce(r.marked_at, case state when 'archived' then i.archived_at when 'read' then i.read_at else i.seen_at end),
      'marked', null::text, state::text || case when r.state is null then ', with all or everything before' else '' end;
  end if;

  return query select p.at, 'push ' || p.event, null::text, p.detail
  from tidings.push_story(notification_id, user_id) p;

  if not delivered then
    return query select null::timestamptz, 'not delivered', null::text, case
      when tidings.may_subscribe(user_id, n.topic) is false then 'no right: the policy refuses ' || n.topic
      when not meant and n.topic like 'user:%' then 'it was sent to somebody else'
      when not meant and exists (
        select from tidings.subscription u where u.user_id = trace_events.user_id and u.topic = n.topic)
        then 'it was sent before the person followed ' || n.topic || ', or after they ceased to'
      when not meant then 'the person did not follow ' || n.topic || ', and no session of theirs had asked for it'
      when tidings.hidden(tidings.in_app_rules(user_id), n.topic, n.type) then 'muted by the person''s preferences'
      when n.expires_at <= pg_catalog.now() then 'expired at ' || n.expires_at
      when exists (select from tidings.session e where e.user_id = trace_events.user_id)
        then 'a session is open, and nothing is known of it having got that far'
      else 'nobody was connected' || case when n.transient then ', and it is transient' else '; it waits in the inbox' end
    end;
  end if;
end $$;

-- The same in the order of time; what has none comes last.
create function tidings.trace(notification_id bigint, user_id text)
returns table (at timestamptz, event text, session_id text, detail text)
language sql stable security definer set search_path = '' as $$
  select e.at, e.event, e.session_id, e.detail
  from tidings.trace_events(notification_id, user_id) with ordinality e(at, event, session_id, detail, place)
  order by e.at, e.place
$$;

comment on function tidings.trace(bigint, text) is
  'Why did it not arrive? What became of a notification for a person: committed, delivered, acknowledged, marked, pushed, or why not.';
