-- The doorbell: who commits rings only when no gateway is awake. DESIGN.md section 3; doorbell.pml is its model.

-- "Gateways are awake until <database clock, milliseconds>". A sequence, because it is read and set without a transaction
-- and without a lock.
create sequence tidings.awake minvalue 0 start 0 cache 1;

-- The database's clock, in milliseconds since the Unix epoch.
create function tidings.clock_ms() returns bigint
language sql volatile parallel safe set search_path = '' as $$
  select (extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint
$$;

-- Rings, when a row is inserted, unless that time is still to come. DESIGN.md has a statement-level trigger here; the column's type does
-- it instead, because a trigger in plpgsql costs every INSERT twice as much as a domain's check, which stays prepared. The check
-- never refuses anything. It is given the row's transaction id, which is therefore handed out before the flag is looked at: a gateway
-- that saw the flag down waits for every transaction that was in progress then. A sequence that was never set (null) rings. However many
-- rows ring, a transaction rings once.
create domain tidings.xid as xid8
  constraint "rings unless a gateway is awake" check (
    case
      when pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value('tidings.awake') * 0.001::double precision)
        > pg_catalog.clock_timestamp()
      then true
      else pg_catalog.pg_notify('tidings', '') is not null
    end);
alter table tidings.notification alter column xid type tidings.xid;

-- Whoever may insert may look; only the functions below may set it.
grant select on sequence tidings.awake to public;

-- Raises or extends the flag. Set, then look: the clock is compared with the old value after the new one is set; unless the
-- old time is still to come, it rings, so that the gateways that sleep come along. Returns whether it rang.
create function tidings.stay_awake(milliseconds integer) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  old bigint := (select last_value from tidings.awake);
  new bigint := tidings.clock_ms() + greatest(1, least(milliseconds, 2000));
begin
  -- A value far ahead was left by a clock that has since been set back: it is not kept.
  perform pg_catalog.setval('tidings.awake', case when old > new + 2000 then new else greatest(old, new) end);
  if old <= tidings.clock_ms() then
    perform pg_catalog.pg_notify('tidings', '');
    return true;
  end if;
  return false;
end $$;

-- Called by a gateway that saw the flag down and wants to know who may have skipped ringing. A snapshot lists a transaction as
-- in progress only if a higher xid has ended; so one is taken here, ends with this statement, and the gateway looks after it.
create function tidings.draw_line() returns xid8
language sql volatile security definer set search_path = '' as $$
  select pg_catalog.pg_current_xact_id()
$$;
