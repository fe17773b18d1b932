-- How far durable STOMP subscriptions have come. One row per person, client, subscription and destination.

create table tidings.stomp_subscription (
  user_id     text not null,
  client      text not null,
  name        text not null,
  destination text not null,
  cursor      text not null,
  kept_at     timestamptz not null default clock_timestamp(),
  primary key (user_id, destination, name, client)
);

create index stomp_subscription_age on tidings.stomp_subscription (kept_at);

comment on column tidings.stomp_subscription.client is 'What the client calls itself, or a digest of its user agent: two devices of one person do not share a position.';

-- Where to go on. A client that was never seen goes on where the person's latest one stopped, and `own` is false: the place is
-- to be kept as its own before anything is sent to it.
create function tidings.stomp_position(user_id text, client text, name text, destination text)
returns table (cursor text, own boolean)
language sql stable security definer set search_path = '' as $$
  select s.cursor, s.client = stomp_position.client from tidings.stomp_subscription s
  where s.user_id = stomp_position.user_id and s.destination = stomp_position.destination and s.name = stomp_position.name
  order by s.client = stomp_position.client desc, s.kept_at desc
  limit 1
$$;

-- Keeps positions: [{"client", "name", "destination", "cursor"}]. Of one history the later one stays, whoever writes last. A
-- person has at most 200 of them: the oldest make room.
create function tidings.stomp_keep(user_id text, positions jsonb) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
begin
  insert into tidings.stomp_subscription (user_id, client, name, destination, cursor)
  select stomp_keep.user_id, p.client, p.name, p.destination, p.cursor
  from pg_catalog.jsonb_to_recordset(positions) p(client text, name text, destination text, cursor text)
  order by p.destination, p.name, p.client
  on conflict (user_id, destination, name, client) do update
    set cursor = excluded.cursor, kept_at = excluded.kept_at
    where split_part(stomp_subscription.cursor, '-', 1) <> split_part(excluded.cursor, '-', 1)
       or split_part(stomp_subscription.cursor, '-', 2)::numeric <= split_part(excluded.cursor, '-', 2)::numeric;
  delete from tidings.stomp_subscription s
  where (s.user_id, s.destination, s.name, s.client) in (
    select o.user_id, o.destination, o.name, o.client from tidings.stomp_subscription o
    where o.user_id = stomp_keep.user_id order by o.kept_at desc offset 200);
end $$;

create function tidings.stomp_forget(user_id text, client text, name text, destination text) returns void
language sql volatile security definer set search_path = '' as $$
  delete from tidings.stomp_subscription s
  where s.user_id = stomp_forget.user_id and s.destination = stomp_forget.destination and s.name = stomp_forget.name
    and s.client = stomp_forget.client
$$;
