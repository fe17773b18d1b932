-- Sending from SQL. Everything happens in the caller's transaction: rolled back, nothing was sent.

-- When a notification expires. A transient one that names no ttl lives for a minute.
create function tidings.expiry(ttl interval, transient boolean) returns timestamptz
language plpgsql volatile set search_path = '' as $$
begin
  if ttl is null then
    return case when transient then pg_catalog.clock_timestamp() + interval '1 minute' end;
  end if;
  if ttl <= interval '0' then
    raise exception 'Cannot send: ttl must be positive, got %', ttl using errcode = 'invalid_parameter_value';
  end if;
  return pg_catalog.clock_timestamp() + ttl;
end $$;

-- What the table's constraints leave to the sender's function: names the field, says what was expected.
create function tidings.check_send(
  type text, title text, link text, sender text, priority text, collapse_key text, dedupe_key text)
returns void
language plpgsql immutable set search_path = '' as $$
declare
  wrong text := case
    when type like 'tidings.%' then 'type: tidings.* is reserved'
    when length(title) > 1000 then 'title: at most 1000 characters'
    when length(link) > 2048 then 'link: at most 2048 characters'
    when link ~* '^\s*(javascript|data|vbscript)\s*:' or link ~ '[[:cntrl:]]' then 'link: an address without script or control characters'
    when length(sender) > 200 then 'sender: at most 200 characters'
    when priority not in ('very-low', 'low', 'normal', 'high') then 'priority: one of very-low, low, normal, high'
    when length(collapse_key) > 200 or collapse_key = '' then 'collapse_key: 1 to 200 characters'
    when length(dedupe_key) > 200 or dedupe_key = '' then 'dedupe_key: 1 to 200 characters'
  end;
begin
  if wrong is not null then
    raise exception 'Cannot send: %', wrong using errcode = 'check_violation';
  end if;
end $$;

create function tidings.send(
  topic        text,
  title        text default null,
  body         text default null,
  type         text default 'notification',
  link         text default null,
  data         jsonb default null,
  sender       text default null,
  priority     text default null,
  collapse_key text default null,
  dedupe_key   text default null,
  ttl          interval default null,
  transient    boolean default false,
  deliver_at   timestamptz default null,
  push         boolean default null
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  expires timestamptz;
  -- In 007_carry.sql.
  carried boolean;
  sent bigint;
begin
  -- Looked at closely only when there is something to look at.
  if type like 'tidings.%' or length(title) > 1000 or link is not null or sender is not null or priority is not null
     or collapse_key is not null or dedupe_key is not null then
    perform tidings.check_send(type, title, link, sender, priority, collapse_key, dedupe_key);
  end if;
  if deliver_at is not null then
    -- In 040_schedule.sql.
    return tidings.send_later(topic, title, body, type, link, data, sender, priority, collapse_key, dedupe_key, ttl,
                              transient, deliver_at, push);
  end if;
  if ttl is not null or transient then
    expires := tidings.expiry(ttl, transient);
  end if;
  carried := tidings.may_carry();
  if dedupe_key is null then
    -- It clashes with nothing, and ON CONFLICT would cost it an eighth.
    insert into tidings.notification
      (topic, type, title, body, link, data, sender, priority, collapse_key, transient, push, expires_at)
    values
      (send.topic, coalesce(send.type, 'notification'), send.title, send.body, send.link, send.data, send.sender,
       send.priority::tidings.priority, send.collapse_key, coalesce(send.transient, false), send.push, expires)
    returning id into sent;
  end if;
  while sent is null loop
    insert into tidings.notification
      (topic, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, transient, push, expires_at)
    values
      (send.topic, coalesce(send.type, 'notification'), send.title, send.body, send.link, send.data, send.sender,
       send.priority::tidings.priority, send.collapse_key, send.dedupe_key, coalesce(send.transient, false), send.push, expires)
    on conflict do nothing
    returning id into sent;
    exit when sent is not null;
    select n.id into sent from tidings.notification n
    where n.topic = send.topic and n.dedupe_key = send.dedupe_key;
    if sent is not null then
      return sent;
    end if;
    -- What it clashed with was purged in between: now there is room.
  end loop;
  if carried then
    perform tidings.carry(sent);
  end if;
  return sent;
end $$;

comment on function tidings.send(text, text, text, text, text, jsonb, text, text, text, text, interval, boolean, timestamptz, boolean) is
  'Sends one notification to a topic, in this transaction. Returns its id; with a dedupe_key that the topic has already, the first one''s id.';

-- The same to several topics at once; returns the ids in the order of the topics.
create function tidings.send(
  topics       text[],
  title        text default null,
  body         text default null,
  type         text default 'notification',
  link         text default null,
  data         jsonb default null,
  sender       text default null,
  priority     text default null,
  collapse_key text default null,
  dedupe_key   text default null,
  ttl          interval default null,
  transient    boolean default false,
  deliver_at   timestamptz default null,
  push         boolean default null
) returns bigint[]
language plpgsql volatile security definer set search_path = '' as $$
declare
  -- In the order of the names, so that two senders with the same keys wait for each other instead of deadlocking.
  places integer[] := array(
    select o.place::integer from unnest(topics) with ordinality o(name, place) order by o.name collate "C", o.place);
  sent bigint[] := array_fill(null::bigint, array[coalesce(cardinality(topics), 0)]);
  place integer;
begin
  foreach place in array places loop
    if topics[place] is null then
      raise exception 'Cannot send: topics holds a null' using errcode = 'null_value_not_allowed';
    end if;
    sent[place] := tidings.send(topics[place], title, body, type, link, data, sender, priority, collapse_key, dedupe_key,
                                ttl, transient, deliver_at, push);
  end loop;
  return sent;
end $$;

-- What a publishing role may call. Later files add to it.
create function tidings.sending_functions() returns text[]
language sql immutable set search_path = '' as $$ select array['send'] $$;

-- Lets a role send, and nothing else: it calls the functions and cannot read the tables.
create function tidings.allow_sending(role text) returns void
language plpgsql volatile set search_path = '' as $$
declare
  signature pg_catalog.regprocedure;
begin
  execute pg_catalog.format('grant usage on schema tidings to %I', role);
  for signature in
    select p.oid from pg_catalog.pg_proc p
    where p.pronamespace = 'tidings'::pg_catalog.regnamespace and p.proname = any (tidings.sending_functions())
  loop
    execute pg_catalog.format('grant execute on function %s to %I', signature, role);
  end loop;
end $$;
