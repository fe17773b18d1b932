-- Reading the log. A cursor is an MVCC snapshot: a row is behind it when xid < xmax and xid is not in xip; of a transaction
-- in xip that is partly read, `at` holds the last id that is behind (0: none). Rows after a cursor are found by two index
-- ranges in a UNION ALL; written as one OR, the planner walks the whole index.

-- Stops a read that would give wrong answers: on a standby, or in another database history than the gateway's. Returns the
-- horizon of retention.
-- Its callers set the search_path.
create function tidings.check_history(epoch text) returns xid8
language plpgsql stable as $$
declare
  known xid8;
begin
  if pg_catalog.pg_is_in_recovery() then
    raise exception 'Cannot read the log: this server is in recovery (a standby)' using errcode = 'TD001';
  end if;
  known := (select h.horizon from tidings.history h where h.epoch = check_history.epoch and h.origin = tidings.origin());
  if known is null then
    raise exception 'Cannot read the log: the database history has changed' using errcode = 'TD002';
  end if;
  return known;
end $$;

-- Where a gateway begins: the snapshot, and the highest xid that has a row in it (0: none).
create function tidings.log_end(epoch text, out snapshot text, out last bigint, out horizon bigint)
language plpgsql stable security definer set search_path = '' as $$
begin
  horizon := tidings.check_history(epoch)::text::bigint;
  snapshot := pg_catalog.pg_current_snapshot()::text;
  last := coalesce((select n.xid::text::bigint from tidings.notification n order by n.xid desc, n.id desc limit 1), 0);
end $$;

-- What a row weighs, found without fetching what is stored out of line. How long compressed data is, cannot be told without
-- unpacking it: it counts as sixteen times its size, which is more than most, and bounds the most extreme (255 times, with lz4).
create function tidings.stored_bytes(body text, data jsonb) returns integer
language sql stable parallel safe as $$
  select coalesce(octet_length(body), 0)
    + coalesce(pg_column_size(data) * case when pg_column_compression(data) is null then 1 else 16 end, 0)
$$;

-- A row as an entry: [id, xid, topic, type, title, body, link, data, sender, priority, collapse_key, transient ('t' or null),
-- created_at, expires_at], times in milliseconds, all as text. An array of one type, because it becomes JSON at a fraction of the
-- cost of one whose elements are of many.
create function tidings.entry(
  id bigint, xid xid8, topic text, type text, title text, body text, link text, data jsonb, sender text,
  priority tidings.priority, collapse_key text, transient boolean, created_at timestamptz, expires_at timestamptz)
returns text[]
language sql stable parallel safe as $$
  select array[id::text, xid::text, topic, type, title, body, link, data::text, sender, priority::text, collapse_key,
               case when transient then 't' end,
               ((date_part('epoch', created_at) * 1000000)::bigint / 1000)::text,
               ((date_part('epoch', expires_at) * 1000000)::bigint / 1000)::text]
$$;

-- The rows of the transactions that a cursor names as not yet behind it. Not in SQL, for then it would be a part of every reading
-- statement, to be set up even when there are none.
create function tidings.read_gaps(xip xid8[], at bigint[], max_rows integer) returns setof tidings.notification
language plpgsql stable as $$
begin
  return query
    select o.* from unnest(xip, at) x(xid, id)
    cross join lateral (
      select n.* from tidings.notification n
      where (n.xid, n.id) > (x.xid, x.id) and n.xid <= x.xid and (n.expires_at is null or n.expires_at > now())
      order by n.xid, n.id limit max_rows) o
    order by o.xid, o.id limit max_rows;
end $$;

-- What the tailer reads: the rows between a cursor and this statement's snapshot in (xid, id) order, at most so many rows
-- and about so many bytes (one row at least). `flag` is until when the flag is up, `awake` how long that still is, both in
-- milliseconds; `more` says that a bound cut the page. It runs for every bell, so what it costs when nothing or one row is there
-- counts: the gaps are looked at only if there are any, and the planner is told what it must not do by the tailer's connection.
create function tidings.read_log(epoch text, xmax xid8, xip xid8[], at bigint[], max_rows integer, max_bytes integer)
returns table (snapshot text, horizon bigint, awake double precision, flag bigint, more boolean, entries json)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_variable
begin
  horizon := tidings.check_history(epoch)::text::bigint;
  snapshot := pg_catalog.pg_current_snapshot()::text;
  select json_agg(tidings.entry(p.id, p.xid, p.topic, p.type, p.title, p.body, p.link, p.data, p.sender, p.priority,
           p.collapse_key, p.transient, p.created_at, p.expires_at)) filter (where p.before < max_bytes),
         coalesce(bool_or(p.before >= max_bytes), false) or count(*) >= max_rows
  into entries, more
  from (
    select u.*, sum(tidings.stored_bytes(u.body, u.data)) over (rows unbounded preceding)
             - tidings.stored_bytes(u.body, u.data) as before
    from (
      (select g.* from tidings.read_gaps(xip, at, max_rows) g where xip <> '{}' order by g.xid, g.id)
      union all
      (select n.* from tidings.notification n
       where n.xid >= xmax and (n.expires_at is null or n.expires_at > now())
       order by n.xid, n.id limit max_rows)
      order by xid, id limit max_rows
    ) u
  ) p;
  -- Looked at last: a flag that is seen down here is seen later than the snapshot.
  flag := coalesce(pg_catalog.pg_sequence_last_value('tidings.awake'), 0);
  awake := flag - date_part('epoch', pg_catalog.clock_timestamp()) * 1000;
  return next;
end $$;

-- What a session reads when its cursor is older than the gateway's memory: the rows of its topics after its cursor and
-- behind the hub's position (until_*), in (xid, id) order, with the same bounds and the same entries. `topics` is a JSON array.
create function tidings.read_topics(
  epoch text, topics text, xmax xid8, xip xid8[], at bigint[],
  until_xmax xid8, until_xip xid8[], until_at bigint[], max_rows integer, max_bytes integer)
returns table (snapshot text, horizon bigint, more boolean, entries json)
language plpgsql stable security definer set search_path = ''
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan set jit = off as $$
#variable_conflict use_variable
begin
  horizon := tidings.check_history(epoch)::text::bigint;
  snapshot := pg_catalog.pg_current_snapshot()::text;
  select json_agg(tidings.entry(p.id, p.xid, p.topic, p.type, p.title, p.body, p.link, p.data, p.sender, p.priority,
           p.collapse_key, p.transient, p.created_at, p.expires_at)) filter (where p.before < max_bytes),
         coalesce(bool_or(p.before >= max_bytes), false) or count(*) >= max_rows
  into entries, more
  from (
    select u.*, sum(tidings.stored_bytes(u.body, u.data)) over (rows unbounded preceding)
             - tidings.stored_bytes(u.body, u.data) as before
    from (
      select o.* from json_array_elements_text(topics::json) t(topic)
      cross join lateral (
        select * from (
          (select i.* from unnest(xip, at) x(xid, id)
           cross join lateral (
             select n.* from tidings.notification n
             where n.topic = t.topic and n.xid = x.xid and n.id > x.id and n.xid < until_xmax
               and not exists (select from unnest(until_xip, until_at) h(xid, id) where h.xid = n.xid and h.id < n.id)
               and (n.expires_at is null or n.expires_at > now())
             order by n.xid, n.id limit max_rows) i
           order by i.xid, i.id limit max_rows)
          union all
          (select n.* from tidings.notification n
           where n.topic = t.topic and n.xid >= xmax and n.xid < until_xmax
             and not exists (select from unnest(until_xip, until_at) h(xid, id) where h.xid = n.xid and h.id < n.id)
             and (n.expires_at is null or n.expires_at > now())
           order by n.xid, n.id limit max_rows)
        ) a order by a.xid, a.id limit max_rows
      ) o
      order by o.xid, o.id limit max_rows
    ) u
  ) p;
  return next;
end $$;

-- The xid from which to read for "since <interval> ago". Ids are handed out in the order of created_at, so the first id of
-- that time is found by halving what retention left; of the thousand rows that follow it, the lowest xid counts, since
-- transactions overlap.
create function tidings.xid_since(age interval) returns xid8
language plpgsql stable security definer set search_path = '' as $$
declare
  since timestamptz := pg_catalog.now() - age;
  low bigint := (select r.purged_id + 1 from tidings.retention r);
  high bigint := coalesce((select max(n.id) from tidings.notification n), 0) + 1;
  middle bigint;
  probe record;
begin
  while low < high loop
    middle := low + (high - low) / 2;
    select n.id, n.created_at into probe from tidings.notification n where n.id >= middle order by n.id limit 1;
    if probe.id is null or probe.created_at >= since then
      high := middle;
    else
      low := probe.id + 1;
    end if;
  end loop;
  return coalesce(
    (select f.xid from (select n.xid from tidings.notification n where n.id >= low order by n.id limit 1000) f order by f.xid limit 1),
    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()));
end $$;
