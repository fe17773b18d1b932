-- Where pushes go. A device belongs to one person at a time: whoever registers its address has it.

create table tidings.device (
  number     bigint generated always as identity primary key,
  user_id    text not null,
  id         text not null,
  kind       text not null,
  address    text not null,
  keys       jsonb not null default '{}',
  -- What was shown can be taken back by a message of its own; otherwise the next push does it.
  silent     boolean not null default false,
  -- SHA-256 of what the device itself presents, where nobody is logged in: a service worker.
  secret     bytea,
  created_at timestamptz not null default clock_timestamp(),
  seen_at    timestamptz not null default clock_timestamp(),

  unique (user_id, id),
  unique (kind, address),
  constraint "id: 1 to 100 letters, digits, dots, dashes or underscores" check (id ~ '^[A-Za-z0-9_.-]{1,100}$'),
  constraint "user_id: 1 to 200 characters" check (length(user_id) between 1 and 200),
  constraint "kind: 1 to 30 lower-case letters" check (kind ~ '^[a-z]{1,30}$'),
  constraint "address: 1 to 2048 bytes" check (octet_length(address) between 1 and 2048),
  constraint "keys: at most 2048 bytes" check (octet_length(keys::text) <= 2048),
  constraint "secret: 32 bytes" check (octet_length(secret) = 32)
);

comment on table tidings.device is 'Browsers, phones and webhooks that pushes go to.';

-- Registers a device or renews it. The same address of anybody else, or under another id, is gone; a person keeps the 50
-- seen last.
create function tidings.register_device(
  user_id text, id text, kind text, address text, keys jsonb, silent boolean, secret bytea) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
declare
  known bigint;
begin
  -- One at a time for each address and each person, so that two registrations do not clash.
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tidings.device'), k.key)
  from (select pg_catalog.hashtext(register_device.address) as key
        union select pg_catalog.hashtext(register_device.user_id) order by key) k;
  delete from tidings.device d
  where d.kind = register_device.kind and d.address = register_device.address
    and (d.user_id, d.id) <> (register_device.user_id, register_device.id);
  insert into tidings.device as d (user_id, id, kind, address, keys, silent, secret)
  values (register_device.user_id, register_device.id, register_device.kind, register_device.address,
          coalesce(register_device.keys, '{}'), coalesce(register_device.silent, false), register_device.secret)
  on conflict (user_id, id) do update set
    kind = excluded.kind, address = excluded.address, keys = excluded.keys, silent = excluded.silent,
    secret = coalesce(excluded.secret, d.secret), seen_at = pg_catalog.clock_timestamp()
  returning d.number into known;
  delete from tidings.device d where d.number in (
    select o.number from tidings.device o where o.user_id = register_device.user_id
    order by o.seen_at desc, o.number desc offset 50);
  return known;
end $$;

-- False: there is no such device of this person.
create function tidings.remove_device(user_id text, id text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  delete from tidings.device d where d.user_id = remove_device.user_id and d.id = remove_device.id;
  return found;
end $$;

-- Who a device is, by its number and the hash of its secret. No row: nobody.
create function tidings.device_by_secret(number bigint, secret bytea) returns setof tidings.device
language sql stable security definer set search_path = '' as $$
  select d.* from tidings.device d
  where d.number = device_by_secret.number and d.secret = device_by_secret.secret
$$;

-- A device's push service gave it another address.
create function tidings.renew_device(number bigint, address text, keys jsonb) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  delete from tidings.device d
  where d.kind = (select o.kind from tidings.device o where o.number = renew_device.number)
    and d.address = renew_device.address and d.number <> renew_device.number;
  update tidings.device d
  set address = renew_device.address, keys = renew_device.keys, seen_at = pg_catalog.clock_timestamp()
  where d.number = renew_device.number;
  return found;
end $$;

create function tidings.devices(user_id text) returns table (id text, kind text, created_at timestamptz, seen_at timestamptz)
language sql stable security definer set search_path = '' as $$
  select d.id, d.kind, d.created_at, d.seen_at from tidings.device d where d.user_id = devices.user_id
  order by d.seen_at desc, d.number desc
$$;
