-- The log: one table, and the history it belongs to. DESIGN.md section 2.

-- Limits, as domains: PostgreSQL keeps a domain's constraints prepared, whereas a table's CHECKs are parsed and planned again
-- by every INSERT, which costs as much as the insert itself. No bounded repetition ({1,100}) in the patterns for the same
-- reason. Comparisons are by bytes: topics are names, not prose.
create domain tidings.topic as text collate "C"
  constraint "topic: segments joined by a colon, no white space, comma, *"
    check (value !~ '^$|^:|:$|::|[\s,*[:cntrl:]]')
  constraint "topic: at most 200 characters" check (length(value) <= 200);
-- What most are is told without the pattern.
create domain tidings.type as text collate "C"
  constraint "type: letters, digits, dots, dashes and underscores" check (value = 'notification' or value ~ '^[A-Za-z0-9_.-]+$')
  constraint "type: at most 100 characters" check (length(value) <= 100);
create domain tidings.body as text
  constraint "body: at most 65536 bytes" check (octet_length(value) <= 65536);
create domain tidings.data as jsonb
  constraint "data: at most 262144 bytes as text" check (octet_length(value::text) <= 262144);
create type tidings.priority as enum ('very-low', 'low', 'normal', 'high');

create table tidings.notification (
  id           bigint generated always as identity primary key,
  topic        tidings.topic not null,
  type         tidings.type not null default 'notification',
  title        varchar(1000),
  body         tidings.body,
  link         varchar(2048),
  data         tidings.data,
  sender       varchar(200),
  priority     tidings.priority,
  collapse_key varchar(200),
  dedupe_key   varchar(200) collate "C",
  transient    boolean not null default false,
  push         boolean,
  created_at   timestamptz not null default clock_timestamp(),
  expires_at   timestamptz,
  xid          xid8 not null default pg_current_xact_id()
);

create index notification_log on tidings.notification (xid, id);
create index notification_topic on tidings.notification (topic, xid, id);
create unique index notification_dedupe on tidings.notification (topic, dedupe_key) where dedupe_key is not null;
-- What goes before its time; a transient row that names no end ends a minute after it was made.
create index notification_expiry on tidings.notification (coalesce(expires_at, created_at)) where expires_at is not null or transient;

comment on table tidings.notification is
  'The log. Insert into it, or call tidings.send; read it through a gateway. A row is delivered when its transaction commits.';

-- One row: which database history the cursors of this log belong to, and what retention has purged.
create table tidings.history (
  only_row   boolean primary key default true check (only_row),
  epoch      text not null,
  origin     text not null,
  horizon    xid8 not null default '0',
  adopted_at timestamptz not null default clock_timestamp()
);

comment on column tidings.history.origin is 'Cluster, timeline and table: when one differs, it is another history and the epoch changes.';
comment on column tidings.history.horizon is 'The highest xid that retention purged: a cursor that is not past it has missed rows.';

-- Which server this is: cluster and timeline. A primary keeps both as long as it runs, so a connection asks once. Its callers set
-- the search_path.
create function tidings.server() returns text
language plpgsql stable as $$
declare
  known text := pg_catalog.current_setting('tidings.server', true);
begin
  if known is null or known = '' then
    known := (select c.system_identifier from pg_catalog.pg_control_system() c)
      || '/' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8);
    perform pg_catalog.set_config('tidings.server', known, false);
  end if;
  return known;
end $$;

-- Where this log is. Compared with the stored origin on every read, so it touches no table. Its callers set the search_path.
create function tidings.origin() returns text
language sql stable as $$
  select tidings.server() || '/' || ('tidings.notification'::pg_catalog.regclass)::pg_catalog.oid
$$;

-- Called at start, and whenever a read says that the origin changed. Rows that carry transaction identifiers of another
-- cluster's future would be skipped now and come out of nowhere later: they become "behind everything", in id order.
-- It needs a moment in which nobody writes notifications, and waits for it for two seconds only, because whoever wants to write
-- meanwhile waits behind it: then TD003 says who is in the way, and the gateway comes again.
create function tidings.adopt() returns text
language plpgsql volatile security definer set search_path = '' set lock_timeout = '2s' as $$
declare
  here text;
  known tidings.history;
  strange boolean;
  writers text;
begin
  if pg_catalog.pg_is_in_recovery() then
    raise exception 'Cannot use this server: it is in recovery (a standby); connect to the primary'
      using errcode = 'TD001';
  end if;
  here := tidings.origin();
  select * into known from tidings.history;
  if found and known.origin = here then
    return known.epoch;
  end if;
  begin
    lock table tidings.notification in share row exclusive mode;
  exception when lock_not_available then
    select pg_catalog.string_agg(w.line, '; ') into writers
    from (
      select coalesce('process ' || l.pid, 'a prepared transaction (pg_prepared_xacts)')
          || coalesce(' of ' || a.application_name, '') || coalesce(', since ' || a.xact_start, '') || coalesce(', ' || a.state, '') as line
      from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
      where l.relation = 'tidings.notification'::pg_catalog.regclass and l.granted and l.mode not in ('AccessShareLock', 'RowShareLock')
        and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
      order by a.xact_start limit 5
    ) w;
    raise exception 'Cannot adopt this database yet: it waits for transactions that have written notifications and are still open: %',
      coalesce(writers, 'many short ones') using errcode = 'TD003';
  end;
  select * into known from tidings.history for update;
  if found and known.origin = here then
    return known.epoch;
  end if;
  -- Its transaction has ended, for it is seen, but not in this cluster: there it runs, or is still to come.
  strange := exists (
    select from tidings.notification n
    where n.xid >= pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())
      and not pg_catalog.pg_visible_in_snapshot(n.xid, pg_catalog.pg_current_snapshot()));
  -- The places in the log that people's inboxes hold (016_retention.sql).
  perform tidings.adopting(strange);
  if strange then
    update tidings.notification set xid = '1';
  end if;
  insert into tidings.history (epoch, origin)
  values (pg_catalog.substr(pg_catalog.md5(here || pg_catalog.clock_timestamp()), 1, 8), here)
  on conflict (only_row) do update
    set epoch = excluded.epoch, origin = excluded.origin, adopted_at = excluded.adopted_at,
        horizon = case when strange then '0'::pg_catalog.xid8 else history.horizon end;
  return (select h.epoch from tidings.history h);
end $$;
