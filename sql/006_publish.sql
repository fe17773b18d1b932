-- Sending for many requests at once, as the HTTP interface does: one statement, each request by itself answered as if it had
-- called tidings.send. The rules stay where they are, in tidings.check_send, tidings.expiry and tidings.send.

-- What a request with an Idempotency-Key sent (draft-ietf-httpapi-idempotency-key-header). Written in the transaction that
-- sends, so that there is never one without the other.
create table tidings.idempotency (
  owner       text not null,
  key         text not null,
  -- SHA-256 of the request, so that the same key with another request is noticed.
  fingerprint text not null,
  ids         bigint[],
  created_at  timestamptz not null default clock_timestamp(),
  primary key (owner, key),

  constraint "key: 1 to 255 characters" check (length(key) between 1 and 255)
);

create index idempotency_age on tidings.idempotency (created_at);

comment on table tidings.idempotency is 'Requests of the last 24 hours that carried an Idempotency-Key, and the ids that they were answered with.';

-- How long a key is remembered.
create function tidings.idempotency_window() returns interval
language sql immutable parallel safe set search_path = '' as $$ select interval '24 hours' $$;

-- The rows of a batch: an array of {request, topics, type, title, …}, one line for each topic, numbered from 1 in their order.
create function tidings.publications(rows jsonb) returns table (
  n integer, request integer, topic text, type text, title text, body text, link text, data jsonb, sender text, priority text,
  collapse_key text, dedupe_key text, ttl interval, transient boolean, deliver_at timestamptz, push boolean)
language sql immutable set search_path = '' as $$
  select (pg_catalog.row_number() over (order by r.place, t.place))::integer, r.request, t.topic, r.type, r.title, r.body,
         r.link, r.data, r.sender, r.priority, r.collapse_key, r.dedupe_key, pg_catalog.make_interval(secs => r.ttl),
         coalesce(r.transient, false), r.deliver_at, r.push
  from rows from (pg_catalog.jsonb_to_recordset(rows) as (
         request integer, topics jsonb, type text, title text, body text, link text, data jsonb, sender text, priority text,
         collapse_key text, dedupe_key text, ttl double precision, transient boolean, deliver_at timestamptz, push boolean))
       with ordinality as r (request, topics, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, ttl,
                             transient, deliver_at, push, place),
       pg_catalog.jsonb_array_elements_text(r.topics) with ordinality as t (topic, place)
$$;

-- Sends a batch. `requests` is an array of {owner, key, fingerprint}, or {} for a request without a key; a row's `request` is
-- its index there. Returns an array with an object for each request: {"outcome": "sent" | "replayed", "ids": [text]}, or
-- {"outcome": "reused"} when its key belongs to another request. All requests or none: an error names no request.
create function tidings.publish_batch(requests jsonb, rows jsonb) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
  keyed boolean := exists (select from pg_catalog.jsonb_array_elements(requests) r where r ? 'key');
  -- By index + 1: whether this call sends it.
  fresh boolean[] := array(select not r ? 'key' from pg_catalog.jsonb_array_elements(requests) with ordinality o(r, i) order by i);
  -- By the row's number: which request it belongs to, and its id.
  belongs integer[];
  sent bigint[];
  place integer;
  row_left record;
  -- In 007_carry.sql.
  carried boolean := pg_catalog.jsonb_array_length(rows) = 1 and tidings.may_carry();
begin
  -- Keys first and in order, then dedupe keys in order: two gateways with the same ones wait for each other and do not deadlock.
  -- Whoever comes second waits here until the first has committed, and then finds its ids.
  if keyed then
    for place in
      with wanted as (
        select distinct on (r.owner, r.key) r.owner, r.key, r.fingerprint, r.i
        from rows from (pg_catalog.jsonb_to_recordset(requests) as (owner text, key text, fingerprint text))
             with ordinality as r (owner, key, fingerprint, i)
        where r.key is not null
        order by r.owner, r.key, r.i
      ), claimed as (
        insert into tidings.idempotency as known (owner, key, fingerprint)
        select w.owner, w.key, w.fingerprint from wanted w order by w.owner collate "C", w.key collate "C"
        on conflict on constraint idempotency_pkey do update
          set fingerprint = excluded.fingerprint, ids = null, created_at = excluded.created_at
          where known.created_at < pg_catalog.clock_timestamp() - tidings.idempotency_window()
        returning known.owner, known.key
      )
      select w.i from wanted w join claimed c on c.owner = w.owner and c.key = w.key
    loop
      fresh[place] := true;
    end loop;
  end if;

  if true = any (fresh) then
    with given as materialized (
      select pg_catalog.nextval('tidings.notification_id_seq') as id, p.*,
             tidings.check_send(p.type, p.title, p.link, p.sender, p.priority, p.collapse_key, p.dedupe_key)::text as checked
      from (select * from tidings.publications(publish_batch.rows) order by n) p
    ), inserted as (
      insert into tidings.notification
        (id, topic, type, title, body, link, data, sender, priority, collapse_key, dedupe_key, transient, push, expires_at)
      overriding system value
      select g.id, g.topic, coalesce(g.type, 'notification'), g.title, g.body, g.link, g.data, g.sender,
             g.priority::tidings.priority, g.collapse_key, g.dedupe_key, g.transient, g.push,
             case when g.ttl is not null or g.transient then tidings.expiry(g.ttl, g.transient) end
      from given g
      where fresh[g.request + 1] and g.deliver_at is null and g.checked is not null
      order by g.dedupe_key is not null, case when g.dedupe_key is not null then g.topic end collate "C",
               g.dedupe_key collate "C", g.id
      on conflict do nothing
      returning notification.id
    )
    select pg_catalog.array_agg(g.request order by g.n), pg_catalog.array_agg(i.id order by g.n)
    into belongs, sent
    from given g left join inserted i on i.id = g.id;
    if carried and pg_catalog.cardinality(sent) = 1 and sent[1] is not null then
      perform tidings.carry(sent[1]);
    end if;

    -- What is for later, and what its topic has already.
    if pg_catalog.array_position(sent, null) is not null then
      for row_left in
        select p.* from tidings.publications(publish_batch.rows) p
        where fresh[p.request + 1] and sent[p.n] is null
        order by p.topic collate "C", p.dedupe_key collate "C", p.n
      loop
        sent[row_left.n] := tidings.send(
          topic => row_left.topic, title => row_left.title, body => row_left.body, type => row_left.type,
          link => row_left.link, data => row_left.data, sender => row_left.sender, priority => row_left.priority,
          collapse_key => row_left.collapse_key, dedupe_key => row_left.dedupe_key, ttl => row_left.ttl,
          transient => row_left.transient, deliver_at => row_left.deliver_at, push => row_left.push);
      end loop;
    end if;
  end if;

  if keyed then
    update tidings.idempotency known set ids = done.ids
    from rows from (pg_catalog.jsonb_to_recordset(requests) as (owner text, key text, fingerprint text))
           with ordinality as r (owner, key, fingerprint, i)
    join (select s.request, pg_catalog.array_agg(s.id order by s.n) as ids
          from unnest(belongs, sent) with ordinality as s (request, id, n) group by s.request) done on done.request = r.i - 1
    where fresh[r.i] and known.owner = r.owner and known.key = r.key;
  end if;

  return (
    with ids as (
      select s.request, pg_catalog.jsonb_agg(s.id::text order by s.n) as ids
      from unnest(belongs, sent) with ordinality as s (request, id, n) group by s.request
    )
    select pg_catalog.jsonb_agg(
      case
        when fresh[r.i] then pg_catalog.jsonb_build_object('outcome', 'sent', 'ids', ids.ids)
        when known.fingerprint = r.fingerprint
          then pg_catalog.jsonb_build_object('outcome', 'replayed', 'ids', pg_catalog.to_jsonb(known.ids::text[]))
        else pg_catalog.jsonb_build_object('outcome', 'reused')
      end order by r.i)
    from rows from (pg_catalog.jsonb_to_recordset(requests) as (owner text, key text, fingerprint text))
         with ordinality as r (owner, key, fingerprint, i)
    left join ids on ids.request = r.i - 1
    left join tidings.idempotency known on not fresh[r.i] and known.owner = r.owner and known.key = r.key);
end $$;

-- Forgets keys that are older than the window, at most so many; returns how many. Called again until it returns fewer.
create function tidings.purge_idempotency(max integer) returns integer
language plpgsql volatile set search_path = '' as $$
declare
  gone integer;
begin
  delete from tidings.idempotency i using (
    select o.owner, o.key from tidings.idempotency o
    where o.created_at < pg_catalog.clock_timestamp() - tidings.idempotency_window()
    order by o.created_at limit max for update skip locked
  ) old where i.owner = old.owner and i.key = old.key;
  get diagnostics gone = row_count;
  return gone;
end $$;
