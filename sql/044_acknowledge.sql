-- How far each person has seen with their own eyes: the last cursor that a client acknowledged while somebody looked at it.
-- What is behind it needs no push.

create table tidings.acknowledged (
  user_id text primary key,
  epoch   text not null,
  place   tidings.place not null,
  at      timestamptz not null default clock_timestamp()
);

comment on table tidings.acknowledged is 'Up to where a visible client has shown the feed, of people who have a device.';

-- Notes it for many at once: [{user, epoch, xmax, xip, at}], numbers as text. An earlier one than what is known changes
-- nothing, and nothing is kept for people without a device.
create function tidings.acknowledge(entries jsonb) returns void
language sql volatile security definer set search_path = '' as $$
  insert into tidings.acknowledged as a (user_id, epoch, place)
  select e."user", e.epoch, row(e.xmax::xid8, e.xip::xid8[], e.at::bigint[],
           coalesce(pg_catalog.pg_sequence_last_value('tidings.notification_id_seq'), 0))::tidings.place
  from pg_catalog.jsonb_to_recordset(entries) e("user" text, epoch text, xmax text, xip text[], at text[])
  where exists (select from tidings.device d where d.user_id = e."user")
    and e.epoch = (select h.epoch from tidings.history h)
    -- Nobody can have seen what has not begun.
    and e.xmax::xid8 <= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
  order by e."user"
  on conflict (user_id) do update set epoch = excluded.epoch, place = excluded.place, at = excluded.at
    where a.epoch <> excluded.epoch or (a.place).xmax <= (excluded.place).xmax
$$;
