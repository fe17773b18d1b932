-- Reading the inbox: a page, newest first in the order of the log.

-- Rows of one person, newest first, below (before_xid, before_id) and not below (after_xid, after_id). `states` are the wanted
-- ones. An entry is that of tidings.entry, and the state.
create function tidings.read_inbox(
  user_id text, states text[], only_topic text, only_type text, before_xid xid8, before_id bigint, max_rows integer, max_bytes integer,
  after_xid xid8 default '0', after_id bigint default 0)
returns json
language plpgsql stable security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
#variable_conflict use_variable
declare
  i tidings.inbox;
  rules tidings.rules := tidings.in_app_rules(user_id);
  wanted tidings.state[] := states::tidings.state[];
  -- Below this only receipts make a row what is wanted.
  low xid8 := '0';
  -- From this on as well.
  high xid8 := '9223372036854775807';
  few boolean;
begin
  select * into i from tidings.inbox b where b.user_id = read_inbox.user_id;
  if not wanted && '{read,archived}' then
    low := tidings.low(case when wanted = '{unseen}' then i.seen else i.read end);
  end if;
  if not wanted && '{unseen}' then
    high := coalesce((case when wanted && '{seen}' then i.seen when wanted && '{read}' then i.read else i.archived end).xmax, '0');
  end if;
  -- Marked one by one: there are no more than receipts.
  few := high = '0';
  return (
    select pg_catalog.json_agg(tidings.entry(p.id, p.xid, p.topic, p.type, p.title, p.body, p.link, p.data, p.sender, p.priority,
             p.collapse_key, p.transient, p.created_at, p.expires_at) || p.state::text order by p.xid desc, p.id desc)
    from (
      select u.*, sum(tidings.stored_bytes(u.body, u.data)) over (order by u.xid desc, u.id desc rows unbounded preceding)
               - tidings.stored_bytes(u.body, u.data) as before
      from (
        select * from (
          (select o.* from tidings.sources(user_id) t
           cross join lateral (
             select n.*, coalesce(r.state, tidings.state_of(i, n.xid, n.id)) as state
             from tidings.notification n
             left join tidings.receipt r on r.user_id = read_inbox.user_id and r.notification_id = n.id
             where n.topic = t.topic and (n.xid, n.id) < (before_xid, before_id) and n.xid < high
               and n.xid >= greatest(low, after_xid, tidings.low(t.since)) and (n.xid, n.id) >= (after_xid, after_id)
               and not n.transient and (n.expires_at is null or n.expires_at > pg_catalog.now())
               and not tidings.behind(t.since, n.xid, n.id)
               and ((t.until).xmax is null or tidings.behind(t.until, n.xid, n.id))
               and (only_type is null or n.type = only_type)
               and not tidings.hidden(rules, n.topic, n.type)
               and coalesce(r.state, tidings.state_of(i, n.xid, n.id)) = any (wanted)
             order by n.xid desc, n.id desc limit max_rows) o
           where not few and (only_topic is null or t.topic = only_topic)
           order by o.xid desc, o.id desc limit max_rows)
          union all
          (select n.*, r.state
           from tidings.receipt r
           join tidings.notification n on n.id = r.notification_id
           join tidings.sources(user_id) t on t.topic = n.topic
           where (few or low > '0' or high < '9223372036854775807') and r.user_id = read_inbox.user_id and r.state = any (wanted)
             and (n.xid, n.id) < (before_xid, before_id) and (n.xid, n.id) >= (after_xid, after_id)
             and (few or n.xid < low or n.xid >= high)
             and (only_topic is null or n.topic = only_topic)
             and not n.transient and (n.expires_at is null or n.expires_at > pg_catalog.now())
             and not tidings.behind(t.since, n.xid, n.id)
             and ((t.until).xmax is null or tidings.behind(t.until, n.xid, n.id))
             and (only_type is null or n.type = only_type)
             and not tidings.hidden(rules, n.topic, n.type)
           order by n.xid desc, n.id desc limit max_rows)
        ) a order by a.xid desc, a.id desc limit max_rows
      ) u
    ) p
    where p.before < max_bytes);
end $$;

-- A page, and where the next one begins: below (next_xid, next_id); null on the last. What is filtered out is looked at as well,
-- and only so much of it for one page: of a rare type in a large inbox a page may hold few rows or none, and still have a next.
create function tidings.inbox_page(
  user_id text, states text[], only_topic text, only_type text, before_xid xid8, before_id bigint, max_rows integer, max_bytes integer,
  max_looks integer default 10000)
returns table (entries json, next_xid text, next_id text)
language plpgsql stable security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
#variable_conflict use_variable
declare
  rules tidings.rules := tidings.in_app_rules(user_id);
  cut_xid xid8 := '0';
  cut_id bigint := 0;
  found_rows integer;
  looks integer;
begin
  if only_type is not null or rules.off or rules.off_topics <> '{}' or rules.off_types <> '{}'
    or not states @> '{unseen,seen,read}'
  then
    looks := greatest(
      max_looks / greatest(1, (select count(*) from tidings.sources(user_id) t where only_topic is null or t.topic = only_topic)),
      least(max_looks, 50));
    -- Where the first of the topics has been looked at so often: below that, nothing.
    select c.xid, c.id into cut_xid, cut_id
    from tidings.sources(user_id) t
    cross join lateral (
      select n.xid, n.id from tidings.notification n
      where n.topic = t.topic and (n.xid, n.id) < (before_xid, before_id) and n.xid >= tidings.low(t.since)
      order by n.xid desc, n.id desc offset looks limit 1) c
    where only_topic is null or t.topic = only_topic
    order by c.xid desc, c.id desc limit 1;
    cut_xid := coalesce(cut_xid, '0');
    cut_id := coalesce(cut_id, 0);
  end if;
  entries := tidings.read_inbox(user_id, states, only_topic, only_type, before_xid, before_id, max_rows + 1, max_bytes, cut_xid, cut_id);
  found_rows := coalesce(pg_catalog.json_array_length(entries), 0);
  if found_rows > max_rows
    -- Or it was cut by its size.
    or found_rows > 0 and pg_catalog.octet_length(entries::text) > max_bytes / 8 and tidings.read_inbox(
      user_id, states, only_topic, only_type, (entries->(found_rows - 1)->>1)::xid8, (entries->(found_rows - 1)->>0)::bigint,
      1, max_bytes, cut_xid, cut_id) is not null
  then
    found_rows := least(found_rows, max_rows);
    next_xid := entries->(found_rows - 1)->>1;
    next_id := entries->(found_rows - 1)->>0;
    if pg_catalog.json_array_length(entries) > found_rows then
      entries := (select pg_catalog.json_agg(e.entry order by e.place)
                  from pg_catalog.json_array_elements(entries) with ordinality e(entry, place) where e.place <= found_rows);
    end if;
  elsif cut_id > 0 then
    next_xid := cut_xid::text;
    next_id := cut_id::text;
  end if;
  return next;
end $$;

-- Where an inbox id stands: its xid, for tidings.read_inbox. No row: it is not in this inbox.
create function tidings.inbox_place(user_id text, id bigint) returns text
language sql stable security definer set search_path = '' as $$
  select n.xid::text from tidings.notification n
  where n.id = inbox_place.id and not n.transient and tidings.was_sent_to(user_id, n.topic, n.xid, n.id)
$$;
