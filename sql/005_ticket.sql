-- Tickets: one-time stand-ins for a token, good for seconds, on any instance. DESIGN.md section 5.
-- Unlogged: after a crash of the server clients make new ones, which costs less than a WAL record for each.

create unlogged table tidings.ticket (
  hash       bytea primary key,
  user_id    text not null,
  claims     jsonb not null,
  expires_at timestamptz not null,

  constraint "hash: 32 bytes, the SHA-256 of the ticket" check (octet_length(hash) = 32),
  constraint "claims: at most 32768 bytes as text" check (octet_length(claims::text) <= 32768)
);

create index ticket_user on tidings.ticket (user_id, expires_at);
create index ticket_expiry on tidings.ticket (expires_at);

comment on table tidings.ticket is
  'One-time tickets that are not used yet. Only hashes: what is here lets nobody in.';

-- Keeps a ticket and returns when it ends; null when its user has max_open that are not used. Clears away some that ended.
create function tidings.create_ticket(hash bytea, claims jsonb, ttl interval, max_open integer) returns timestamptz
language plpgsql volatile set search_path = '' as $$
declare
  holder text := claims ->> 'user';
  ends timestamptz := pg_catalog.clock_timestamp() + ttl;
begin
  if ttl > interval '5 minutes' then
    raise exception 'Cannot make a ticket: ttl must be at most 5 minutes, got %', ttl
      using errcode = 'invalid_parameter_value';
  end if;
  delete from tidings.ticket t using (
    select o.hash from tidings.ticket o where o.expires_at <= pg_catalog.clock_timestamp()
    order by o.expires_at limit 100 for update skip locked
  ) ended where t.hash = ended.hash;
  -- One at a time for each user, so that the count holds.
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tidings.ticket'), pg_catalog.hashtext(holder));
  if (select pg_catalog.count(*) from tidings.ticket t
      where t.user_id = holder and t.expires_at > pg_catalog.clock_timestamp()) >= max_open then
    return null;
  end if;
  insert into tidings.ticket (hash, user_id, claims, expires_at)
  values (create_ticket.hash, holder, create_ticket.claims, ends);
  return ends;
end $$;

-- Takes a ticket out and returns its claims, to exactly one caller; null when there is none that is still good.
create function tidings.redeem_ticket(hash bytea) returns jsonb
language sql volatile set search_path = '' as $$
  delete from tidings.ticket t
  where t.hash = redeem_ticket.hash and t.expires_at > pg_catalog.clock_timestamp()
  returning t.claims
$$;

-- Whoever may call these can be anybody: only the gateway may.
revoke all on function tidings.create_ticket(bytea, jsonb, interval, integer) from public;
revoke all on function tidings.redeem_ticket(bytea) from public;
