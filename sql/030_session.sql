-- Who is connected, and who is here. Gateways write their sessions in batches; what a dead gateway leaves is swept by the others.
--
-- A person is in a topic while any of their sessions is subscribed to it, on any gateway, and for a grace after the last one
-- went. tidings.presence is what was announced: joins and leaves are told when it changes, once per person, and only where
-- somebody watches. Everything that changes it runs under one lock, so that two gateways never tell two stories.

-- Unlogged: after a crash of the database no session is believed, and every gateway that still runs writes its own again.
create unlogged table tidings.instance (
  id         text primary key,
  started_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
);

comment on column tidings.instance.expires_at is 'A gateway that has not said by then that it lives is dead, and its sessions with it.';

create unlogged table tidings.session (
  id         text primary key,
  instance   text not null,
  user_id    text not null,
  transport  text not null,
  user_agent text,
  since      timestamptz not null,
  active_at  timestamptz not null
);

create index session_instance on tidings.session (instance);
create index session_person on tidings.session (user_id);

create unlogged table tidings.session_topic (
  session_id text not null,
  topic      text not null,
  user_id    text not null,
  watches    boolean not null,
  primary key (session_id, topic)
);

create index session_topic_person on tidings.session_topic (topic, user_id);
create index session_topic_watched on tidings.session_topic (topic) where watches;

comment on column tidings.session_topic.watches is 'Whether the session asked for joins and leaves.';

-- Where joins and leaves are told: while somebody watches, and for a minute beyond. So whoever polls, or reconnects within
-- that minute, goes on from their cursor and has missed nothing. What is told expires no later than the telling ends: an
-- old join that the untold leave after it does not take back is read by nobody.
create table tidings.watched (
  topic text primary key,
  until timestamptz not null
);

create index watched_until on tidings.watched (until) where until < 'infinity';

comment on column tidings.watched.until is '`infinity` while somebody watches.';

create table tidings.presence (
  topic   text not null,
  user_id text not null,
  since   timestamptz not null default clock_timestamp(),
  gone_at timestamptz,
  primary key (topic, user_id)
);

create index presence_gone on tidings.presence (gone_at) where gone_at is not null;

comment on column tidings.presence.gone_at is 'When the last session went: a leave is told after a grace, unless one comes back.';

-- What one gateway has to say: that it lives, which of its sessions are new or changed (as they are now, whole), which are
-- closed, which were active. `fresh`: what it said before is void, because it starts or was taken for dead.
--
-- changes: {"put": [{"id", "user", "transport", "agent", "since" ms, "active" ms, "topics": {"<topic>": <watches>}}],
--           "drop": ["<id>"], "active": {"<id>": ms}}
--
-- known: false when this gateway was taken for dead: nothing was done, and it has to say everything again, with `fresh`.
-- pending: milliseconds until the next leave is due; null: none is.
create function tidings.beat(instance text, lease interval, grace interval, fresh boolean, changes jsonb)
returns table (known boolean, joined integer, gone integer, pending double precision)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  moment timestamptz;
  audit boolean;
  over text[];
  lost_topics text[];
  lost_users text[];
  unwatched text[];
  came_topics text[];
  came_users text[];
  gone_topics text[];
  gone_users text[];
begin
  -- Nothing is written before the lock is held, so that who waits for it holds up no reader of the log.
  perform pg_catalog.pg_advisory_xact_lock(7434460952);
  moment := pg_catalog.clock_timestamp();

  update tidings.instance i set expires_at = moment + lease where i.id = instance and i.expires_at > moment;
  known := found or fresh;
  if not known then
    return next;
    return;
  end if;
  if fresh then
    insert into tidings.instance (id, expires_at) values (instance, moment + lease)
    on conflict (id) do update set expires_at = excluded.expires_at;
  end if;

  -- Sessions that are over: closed ones, all of a gateway that starts anew, and those of the dead.
  with dead as (
    delete from tidings.instance i where i.expires_at <= moment and i.id <> instance returning i.id
  ), ended as (
    delete from tidings.session s
    where s.id in (select d.id from pg_catalog.jsonb_array_elements_text(changes->'drop') d(id))
       or (fresh and s.instance = beat.instance)
       or s.instance in (select d.id from dead d)
    returning s.id
  )
  select (select pg_catalog.array_agg(e.id) from ended e), fresh or exists (select from dead) into over, audit;

  -- Topics that sessions are no longer in, or watch no longer.
  with parted as (
    delete from tidings.session_topic t
    where t.session_id = any (over)
       or exists (
         select from pg_catalog.jsonb_to_recordset(changes->'put') p(id text, topics jsonb)
         where p.id = t.session_id and not p.topics ? t.topic)
    returning t.topic, t.user_id, t.watches
  ), turned_away as (
    update tidings.session_topic t set watches = false
    from pg_catalog.jsonb_to_recordset(changes->'put') p(id text, topics jsonb)
    where t.watches and p.id = t.session_id and (p.topics->>t.topic) = 'false'
    returning t.topic
  )
  select (select pg_catalog.array_agg(p.topic) from parted p), (select pg_catalog.array_agg(p.user_id) from parted p),
         array(select p.topic from parted p where p.watches union select t.topic from turned_away t)
  into lost_topics, lost_users, unwatched;

  -- Sessions as they are now.
  insert into tidings.session (id, instance, user_id, transport, user_agent, since, active_at)
  select p.id, instance, p."user", p.transport, p.agent,
         pg_catalog.to_timestamp(p.since / 1000), pg_catalog.to_timestamp(p.active / 1000)
  from pg_catalog.jsonb_to_recordset(changes->'put')
    p(id text, "user" text, transport text, agent text, since double precision, active double precision)
  on conflict (id) do update set active_at = greatest(session.active_at, excluded.active_at);

  insert into tidings.session_topic (session_id, topic, user_id, watches)
  select p.id, e.topic, p."user", e.watches::boolean
  from pg_catalog.jsonb_to_recordset(changes->'put') p(id text, "user" text, topics jsonb)
  cross join lateral pg_catalog.jsonb_each_text(p.topics) e(topic, watches)
  on conflict (session_id, topic) do update set watches = excluded.watches;

  update tidings.session s
  set active_at = greatest(s.active_at, pg_catalog.to_timestamp(e.moment::double precision / 1000))
  from pg_catalog.jsonb_each_text(changes->'active') e(id, moment)
  where s.id = e.id;

  -- Where joins and leaves are told from here on. 183: a longer topic's presence topic would be no topic.
  insert into tidings.watched (topic, until)
  select distinct e.topic, timestamptz 'infinity'
  from pg_catalog.jsonb_to_recordset(changes->'put') p(topics jsonb)
  cross join lateral pg_catalog.jsonb_each_text(p.topics) e(topic, watches)
  where e.watches::boolean and pg_catalog.length(e.topic) <= 183
  on conflict (topic) do update set until = excluded.until where watched.until < excluded.until;

  update tidings.watched w set until = moment + interval '1 minute'
  where w.until = 'infinity' and (audit or w.topic = any (unwatched))
    and not exists (select from tidings.session_topic t where t.topic = w.topic and t.watches);

  delete from tidings.watched w where w.until <= moment;

  -- Who came: the first session of a person in a topic. Who comes back within the grace is news to nobody.
  with pairs as (
    select distinct e.topic, p."user" as user_id
    from pg_catalog.jsonb_to_recordset(changes->'put') p("user" text, topics jsonb)
    cross join lateral pg_catalog.jsonb_object_keys(p.topics) e(topic)
  ), back as (
    update tidings.presence p set gone_at = null
    from pairs c where p.topic = c.topic and p.user_id = c.user_id and p.gone_at is not null
  ), came as (
    insert into tidings.presence (topic, user_id, since)
    select c.topic, c.user_id, moment from pairs c
    on conflict do nothing
    returning presence.topic, presence.user_id
  )
  select pg_catalog.count(*), pg_catalog.array_agg(c.topic), pg_catalog.array_agg(c.user_id)
  into joined, came_topics, came_users from came c;
  perform tidings.announce('tidings.join', came_topics, came_users, moment);

  -- Who has no session left: looked for among all when a gateway died or began anew, else among those who just lost one.
  update tidings.presence p set gone_at = moment
  where p.gone_at is null
    and (audit or (p.topic, p.user_id) in (select * from unnest(lost_topics, lost_users)))
    and not exists (select from tidings.session_topic t where t.topic = p.topic and t.user_id = p.user_id);

  with left_for_good as (
    delete from tidings.presence p where p.gone_at <= moment - grace returning p.topic, p.user_id
  )
  select pg_catalog.count(*), pg_catalog.array_agg(l.topic), pg_catalog.array_agg(l.user_id)
  into gone, gone_topics, gone_users from left_for_good l;
  perform tidings.announce('tidings.leave', gone_topics, gone_users, moment);

  -- greatest() passes over null: without anybody gone there is no row here, and not a leave that is due at once.
  pending := (
    select greatest(0, extract(epoch from p.gone_at + grace - pg_catalog.clock_timestamp()) * 1000)
    from tidings.presence p where p.gone_at is not null order by p.gone_at limit 1);
  return next;
end $$;

-- Tells joins or leaves, pairs of a topic and a person, where somebody watches.
create function tidings.announce(type text, topics text[], users text[], moment timestamptz) returns void
language plpgsql volatile set search_path = '' as $$
begin
  if not exists (select from tidings.watched w where w.topic = any (topics)) then
    return;
  end if;
  insert into tidings.notification (topic, type, data, transient, expires_at)
  select 'tidings:presence:' || w.topic, announce.type, pg_catalog.jsonb_build_object('topic', w.topic, 'user', p.user_id),
         true, least(moment + interval '1 minute', w.until)
  from unnest(topics, users) p(topic, user_id)
  join tidings.watched w on w.topic = p.topic;
end $$;

-- Who is in a topic: how many, and up to max_people of them in the order of their names.
create function tidings.present(topic text, max_people integer)
returns table (people_count bigint, people json)
language sql stable security definer set search_path = '' as $$
  select
    (select pg_catalog.count(*) from tidings.presence p where p.topic = present.topic),
    (select pg_catalog.json_agg(pg_catalog.json_build_array(o.user_id, floor(extract(epoch from o.since) * 1000)::bigint)
                                order by o.user_id)
     from (select p.user_id, p.since from tidings.presence p where p.topic = present.topic
           order by p.user_id limit max_people) o)
$$;
