-- A bell that carries its row: who rings for one row gives it along, so that a gateway that sleeps delivers it without reading first,
-- which takes longer than all the rest of the way. The log stays what is read: a gateway that is not sure, or did not hear, reads.

-- The channel of these bells: a secret, because whoever may connect may LISTEN and NOTIFY on every channel whose name they know.
create table tidings.carrier (
  only_row boolean primary key default true check (only_row),
  channel  text not null
);
insert into tidings.carrier (channel)
values ('tidings_' || pg_catalog.replace(pg_catalog.gen_random_uuid()::text, '-', ''));

comment on table tidings.carrier is 'One row: where bells that carry a row ring. Only gateways may know.';

-- Whether a row that is inserted now may be carried: it has to ring, and it is the first of its transaction in the order of ids, not
-- only so far. What else the transaction inserts is then found by reading on after it. The first it is when this connection has drawn
-- no id in this transaction: none ever, or the last one drawn is that of another transaction's row. An id that was drawn and has no row
-- may still get one: an INSERT that calls tidings.send, by a trigger or among its values, has drawn its own before.
-- Its callers set the search_path.
create function tidings.may_carry() returns boolean
language plpgsql volatile as $$
declare
  drawn bigint;
begin
  if pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value('tidings.awake') * 0.001::double precision)
    > pg_catalog.clock_timestamp()
    -- What it looks at would make it depend on everybody else who sends.
    or pg_catalog.current_setting('transaction_isolation') = 'serializable'
  then
    return false;
  end if;
  begin
    drawn := pg_catalog.currval('tidings.notification_id_seq');
  exception when object_not_in_prerequisite_state then
    return true;
  end;
  return exists (select from tidings.notification n where n.id = drawn and n.xid <> pg_catalog.pg_current_xact_id());
end $$;

-- Rings with a row: [epoch, flag, entry]. `flag` is the one that it found down: a gateway that knows another one may have rows to read
-- that come before this. More than a NOTIFY can hold is left to reading, as is a history that no gateway has adopted yet.
-- Its callers set the search_path.
create function tidings.carry(id bigint) returns void
language plpgsql volatile as $$
declare
  most constant integer := 7999;
  bell text;
begin
  select pg_catalog.json_build_array(h.epoch, coalesce(pg_catalog.pg_sequence_last_value('tidings.awake'), 0),
           tidings.entry(n.id, n.xid, n.topic, n.type, n.title, n.body, n.link, n.data, n.sender, n.priority,
             n.collapse_key, n.transient, n.created_at, n.expires_at))::text
  into bell
  from tidings.notification n, tidings.history h
  where n.id = carry.id and h.origin = tidings.origin() and tidings.stored_bytes(n.body, n.data) < most;
  if octet_length(bell) <= most then
    perform pg_catalog.pg_notify((select c.channel from tidings.carrier c), bell);
  end if;
end $$;

-- Makes the connection hear bells that carry a row.
create function tidings.hear_carrier() returns void
language plpgsql volatile set search_path = '' as $$
begin
  execute pg_catalog.format('listen %I', (select c.channel from tidings.carrier c));
end $$;
