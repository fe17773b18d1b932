-- Reading the inbox: a page, newest first in the order of the log.

-- Rows of one person, newest first, below (before_xid, before_id). Without a state: all that is not archived. `states` are the
-- wanted ones. An entry is [id, xid, topic, type, title, body, link, data as text, sender, priority, collapse_key, transient,
-- created_at ms, expires_at ms, state].
create function tidings.read_inbox(
  user_id text, states text[], only_topic text, only_type text, before_xid xid8, before_id bigint, max_rows integer, max_bytes integer)
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
  few boolean;
begin
  select * into i from tidings.inbox b where b.user_id = read_inbox.user_id;
  if not wanted && '{read,archived}' then
    low := tidings.low(case when wanted = '{unseen}' then i.seen else i.read end);
  end if;
  -- Archived or read one by one: there are no more than receipts.
  few := not wanted && '{unseen,seen}' and (i.read).xmax is null
    or wanted = '{archived}' and (i.archived).xmax is null;
  return (
    select pg_catalog.json_agg(pg_catalog.json_build_array(p.id, p.xid::text::bigint, p.topic, p.type, p.title, p.body, p.link, p.data::text,
             p.sender, p.priority, p.collapse_key, p.transient, floor(extract(epoch from p.created_at) * 1000)::bigint,
             floor(extract(epoch from p.expires_at) * 1000)::bigint, p.state) order by p.xid desc, p.id desc)
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
             where n.topic = t.topic and (n.xid, n.id) < (before_xid, before_id) and n.xid >= greatest(low, tidings.low(t.since))
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
           where (few or low > '0') and r.user_id = read_inbox.user_id and r.state = any (wanted)
             and (n.xid, n.id) < (before_xid, before_id) and (few or n.xid < low)
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

-- Where an inbox id stands: its xid, for tidings.read_inbox. No row: it is not in this inbox.
create function tidings.inbox_place(user_id text, id bigint) returns text
language sql stable security definer set search_path = '' as $$
  select n.xid::text from tidings.notification n
  where n.id = inbox_place.id and not n.transient and tidings.was_sent_to(user_id, n.topic, n.xid, n.id)
$$;
