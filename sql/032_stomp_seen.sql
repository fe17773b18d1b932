-- What a STOMP client acknowledges is seen: of these ids, whatever is in the person's inbox. The others (a topic that they only
-- watch, transient ones, purged ones) have no state, and acknowledging them is no mistake.
create function tidings.seen(user_id text, ids bigint[]) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  mine bigint[] := array(
    select n.id from tidings.notification n
    where n.id = any (ids) and not n.transient and tidings.was_sent_to(user_id, n.topic, n.xid, n.id)
    order by n.id limit 1000);
begin
  if cardinality(mine) > 0 then
    perform tidings.mark(user_id, mine, 'seen');
  end if;
end $$;
