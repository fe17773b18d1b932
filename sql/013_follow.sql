-- Following, and the rights to it. Each change is told to the person's open sessions by a row of the log on their own topic:
-- whoever reads the log learns of it in order. A stretch of following is bounded by places: what had committed before the
-- follow is not in it, what had committed before the unfollow is. What others commit while the follow or unfollow itself waits
-- for its commit comes neither before nor after: nothing records the order of commits. It may be delivered or not; what a
-- gateway has delivered is in the inbox as well (tidings.keep_shown), and what the inbox has, nobody is given twice.
--
-- One case is left: a row that was delivered while the unfollow waited for its commit, to a session that ended before its gateway
-- read of the unfollow, and whose client never comes back with its cursor. Nobody else knows that it was shown; the inbox has it
-- not, and the person no longer follows its topic. What would close it, and why it is not done:
-- - A lock that every INSERT to the topic and its unfollow share. It is certain, costs every INSERT, and lets a sender's long
--   transaction hold up unfollows.
-- - Moving the end of the stretch to the commit (a deferred trigger) narrows the window and does not close it, and then takes in
--   what the unfollowing transaction itself sends afterwards.
-- - The gateway remembers ended sessions until every transaction in progress at their end has ended. A position does not name
--   those above its last row, so each end needs a line drawn (tidings.draw_line), an xid for every session; transactions may last
--   for hours, so memory needs a bound beyond which it forgets; and a gateway that is killed forgets too.
-- - tidings.reading has how far a session was sent, a second late, and nothing of the last second of a gateway that is killed.

-- Whether a person may read a topic: true, false, or null where the token decides. Applications replace it:
-- `create or replace function tidings.may_subscribe(user_id text, topic text) returns boolean …`. Asked when a session opens or
-- subscribes, and when a person follows over HTTP; a right that ends while sessions are open is told by tidings.revoke.
create function tidings.may_subscribe(user_id text, topic text) returns boolean
language sql stable as $$ select null::boolean $$;

comment on function tidings.may_subscribe(text, text) is
  'The application''s policy: true, false, or null where the token decides. Replace it with a function of your own.';

create function tidings.check_followed(topic text) returns void
language plpgsql immutable set search_path = '' as $$
declare
  wrong text := case
    when topic is null then 'topic: must not be null'
    when length(topic) > 200 then 'topic: at most 200 characters'
    when topic !~ '^[^\s:,*[:cntrl:]]+(:[^\s:,*[:cntrl:]]+)*$' then 'topic: segments joined by a colon, without white space, comma or *'
    when topic = 'all' then 'topic: "all" reaches everybody, followed or not'
    when topic ~ '^user(:|$)' then 'topic: user: topics are their person''s own and cannot be followed'
    when topic ~ '^tidings([:.]|$)' then 'topic: tidings is reserved'
  end;
begin
  if wrong is not null then
    raise exception 'Cannot follow: %', wrong using errcode = 'invalid_parameter_value';
  end if;
end $$;

-- Follows from here on. True when it is new, false when the person followed already.
create function tidings.follow(user_id text, topic text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  made tidings.subscription;
begin
  perform tidings.check_followed(topic);
  perform tidings.lock_inbox(user_id);
  if exists (select from tidings.subscription s where s.user_id = follow.user_id and s.topic = follow.topic and s.until is null) then
    return false;
  end if;
  if (select count(*) from tidings.subscription s where s.user_id = follow.user_id and s.until is null) >= 1000 then
    raise exception 'Cannot follow: a person can follow 1000 topics; unfollow one first' using errcode = 'program_limit_exceeded';
  end if;
  insert into tidings.subscription (user_id, topic, since) values (follow.user_id, follow.topic, tidings.here()) returning * into made;
  update tidings.inbox i set version = i.version + 1 where i.user_id = follow.user_id;
  perform tidings.tell(user_id, 'tidings.follow', tidings.stretch(made));
  return true;
end $$;

comment on function tidings.follow(text, text) is 'Follows a topic: what is sent to it from here on reaches the person and their inbox.';

-- False when the person did not follow.
create function tidings.unfollow(user_id text, topic text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  ended tidings.subscription;
begin
  perform tidings.lock_inbox(user_id);
  update tidings.subscription s set until = tidings.here(), ended_at = pg_catalog.clock_timestamp()
  where s.user_id = unfollow.user_id and s.topic = unfollow.topic and s.until is null
  returning * into ended;
  if not found then
    return false;
  end if;
  -- A stretch in which nothing was sent leaves nothing behind, so that following on and off does not pile up.
  delete from tidings.subscription s
  where s.id = ended.id and not exists (
    select from tidings.notification n
    where n.topic = unfollow.topic and n.xid >= tidings.low(ended.since) and n.xid < (ended.until).xmax
      and not tidings.behind(ended.since, n.xid, n.id) and tidings.behind(ended.until, n.xid, n.id));
  update tidings.inbox i set version = i.version + 1 where i.user_id = unfollow.user_id;
  perform tidings.tell(user_id, 'tidings.unfollow', tidings.stretch(ended));
  return true;
end $$;

comment on function tidings.unfollow(text, text) is 'Ceases to follow. What was sent in between stays in the inbox.';

-- A stretch of following as JSON: {id, topic, since, until}.
create function tidings.stretch(s tidings.subscription) returns jsonb
language sql immutable set search_path = '' as $$
  select pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'id', (s).id::text, 'topic', (s).topic, 'since', tidings.place_json((s).since), 'until', tidings.place_json((s).until)))
$$;

-- Called by a gateway that had read on while somebody's unfollow was not committed, and so delivered what is not in the stretch:
-- the stretch takes it in, up to the next one. `stretch` as the unfollow told it, `shown` the place of what was delivered.
-- False when nothing was missing.
-- A gateway waits for no transaction of the application's: who holds the person's row is waited for a moment, then it tries again.
create function tidings.keep_shown(user_id text, stretch jsonb, shown jsonb) returns boolean
language plpgsql volatile security definer set search_path = '' set lock_timeout = '200ms' as $$
#variable_conflict use_variable
declare
  followed text := stretch->>'topic';
  known tidings.place;
  since tidings.place := tidings.place_of(stretch->'since');
  place tidings.place := tidings.place_of(shown);
  later tidings.place;
  c tidings.count;
begin
  perform tidings.lock_inbox(user_id);
  known := coalesce(
    (select s.until from tidings.subscription s where s.id = (stretch->>'id')::bigint and s.user_id = keep_shown.user_id),
    tidings.place_of(stretch->'until'));
  place.top := coalesce(pg_catalog.pg_sequence_last_value('tidings.notification_id_seq'), 0);
  for later in
    select (s.since).* from tidings.subscription s
    where s.user_id = keep_shown.user_id and s.topic = followed and s.id > (stretch->>'id')::bigint
  loop
    place := tidings.combined(place, later, false);
  end loop;
  if not exists (
    select from tidings.notification n
    where n.topic = followed and n.xid >= tidings.low(known) and n.xid < (place).xmax and not n.transient
      and not tidings.behind(since, n.xid, n.id) and not tidings.behind(known, n.xid, n.id) and tidings.behind(place, n.xid, n.id))
  then
    return false;
  end if;
  -- A stretch in which nothing had been sent is not there any more.
  insert into tidings.subscription as s (id, user_id, topic, since, until, ended_at) overriding system value
  values ((stretch->>'id')::bigint, user_id, followed, since, tidings.combined(known, place, true), pg_catalog.clock_timestamp())
  on conflict (id) do update set until = excluded.until;
  update tidings.inbox i set version = i.version + 1, counted = null where i.user_id = keep_shown.user_id;
  c := tidings.count_now(user_id);
  perform tidings.tell(user_id, 'tidings.inbox',
    pg_catalog.jsonb_build_object('unread', c.unread, 'unseen', c.unseen), interval '10 minutes');
  return true;
end $$;

-- When somebody's login was ended: tokens from before are not accepted any more.
create table tidings.signed_out (
  user_id text primary key,
  at      timestamptz not null default clock_timestamp()
);

-- Ends all sessions of a person, and what their tokens let them do: those issued in an earlier second than this. A token that
-- does not say when it was issued (`iat`) counts as one from before.
create function tidings.sign_out(user_id text) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
begin
  perform tidings.lock_inbox(user_id);
  insert into tidings.signed_out as o (user_id) values (sign_out.user_id)
  on conflict on constraint signed_out_pkey do update set at = pg_catalog.clock_timestamp();
  perform tidings.tell(user_id, 'tidings.sign_out', pg_catalog.jsonb_build_object(
    'before', floor(extract(epoch from (select o.at from tidings.signed_out o where o.user_id = sign_out.user_id)))::bigint * 1000));
end $$;

comment on function tidings.sign_out(text) is 'Cuts a person''s open sessions and refuses the tokens they were opened with.';

-- Takes a topic away from a person's open sessions at once, and ends their following of it. Without a topic: whatever
-- tidings.may_subscribe says no to now. Change first what the policy looks at, in the same transaction.
create function tidings.revoke(user_id text, topic text default null) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  followed text;
begin
  perform tidings.lock_inbox(user_id);
  for followed in
    select s.topic from tidings.subscription s
    where s.user_id = revoke.user_id and s.until is null
      and (s.topic = revoke.topic or (revoke.topic is null and tidings.may_subscribe(s.user_id, s.topic) is false))
    order by s.topic
  loop
    perform tidings.unfollow(user_id, followed);
  end loop;
  perform tidings.tell(user_id, 'tidings.revoke', pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('topic', topic)));
end $$;

comment on function tidings.revoke(text, text) is
  'Withdraws a right: open sessions lose the topic at once; without a topic, whatever tidings.may_subscribe refuses now.';

-- Of these topics, those that the policy decides: [topic, allowed].
create function tidings.policy(user_id text, topics text[]) returns table (topic text, allowed boolean)
language sql stable security definer set search_path = '' as $$
  select t.topic, tidings.may_subscribe(policy.user_id, t.topic)
  from unnest(topics) t(topic)
$$;

-- All that a gateway has to know of a person when a session opens, from one snapshot: the stretches of following that may
-- reach beyond its cursor, what is hidden from them, their count, when they were signed out (ms), and which of the topics that
-- they ask for the policy refuses.
create function tidings.open_inbox(user_id text, topics text[] default '{}')
returns table (stretches jsonb, rules jsonb, counted jsonb, signed_out bigint, refused jsonb)
language sql volatile security definer set search_path = '' as $$
  select
    (select coalesce(pg_catalog.jsonb_agg(tidings.stretch(s) order by s.id), '[]') from tidings.subscription s
     where s.user_id = open_inbox.user_id
       and (s.until is not null or tidings.may_subscribe(s.user_id, s.topic) is not false)
       and (s.ended_at is null or s.ended_at > pg_catalog.now() - interval '7 days')),
    pg_catalog.to_jsonb(tidings.in_app_rules(open_inbox.user_id)),
    (select pg_catalog.to_jsonb(c) from tidings.inbox_count(open_inbox.user_id) c),
    (select floor(extract(epoch from o.at))::bigint * 1000 from tidings.signed_out o where o.user_id = open_inbox.user_id),
    (select coalesce(pg_catalog.jsonb_agg(t.topic), '[]') from unnest(topics) t(topic)
     where tidings.may_subscribe(open_inbox.user_id, t.topic) is false)
$$;

-- What somebody follows now, in the order of the names.
create function tidings.followed(user_id text) returns table (topic text, followed_at timestamptz)
language sql stable security definer set search_path = '' as $$
  select s.topic, s.followed_at from tidings.subscription s
  where s.user_id = followed.user_id and s.until is null order by s.topic collate "C"
$$;

-- When somebody was signed out last, in milliseconds since the epoch, on the full second.
create function tidings.signed_out_at(user_id text) returns bigint
language sql stable security definer set search_path = '' as $$
  select floor(extract(epoch from o.at))::bigint * 1000 from tidings.signed_out o where o.user_id = signed_out_at.user_id
$$;
