-- Marking. One person's changes come one after the other, because each holds the person's row in tidings.inbox.

-- Takes the person's row, and makes it when there is none.
create function tidings.lock_inbox(user_id text) returns void
language plpgsql volatile set search_path = '' as $$
begin
  if user_id is null or pg_catalog.length(user_id) not between 1 and 195 or user_id ~ '[\s,*[:cntrl:]]' or 'user:' || user_id !~ '^[^:]+(:[^:]+)*$' then
    raise exception 'Cannot use user_id: expected 1 to 195 characters that can stand in a topic, got %',
      coalesce(pg_catalog.quote_literal(pg_catalog.left(user_id, 250)), 'null') using errcode = 'invalid_parameter_value';
  end if;
  perform from tidings.inbox i where i.user_id = lock_inbox.user_id for update;
  if not found then
    insert into tidings.inbox (user_id) values (lock_inbox.user_id) on conflict do nothing;
    perform from tidings.inbox i where i.user_id = lock_inbox.user_id for update;
  end if;
end $$;

-- Tells the person's open sessions something, in its place in the log.
create function tidings.tell(user_id text, type text, data jsonb, ttl interval default interval '1 hour') returns void
language sql volatile set search_path = '' as $$
  insert into tidings.notification (topic, type, data, transient, expires_at)
  values ('user:' || user_id, tell.type, tell.data, true, pg_catalog.clock_timestamp() + ttl)
$$;

-- Whether the row was sent to this person: to them, to all, or to a topic while they followed it.
create function tidings.was_sent_to(user_id text, topic text, xid xid8, id bigint) returns boolean
language sql stable set search_path = '' as $$
  select topic = 'user:' || user_id or topic = 'all' or exists (
    select from tidings.subscription s
    where s.user_id = was_sent_to.user_id and s.topic = was_sent_to.topic
      and not tidings.behind(s.since, was_sent_to.xid, was_sent_to.id)
      and ((s.until).xmax is null or tidings.behind(s.until, was_sent_to.xid, was_sent_to.id)))
$$;

create function tidings.state_of(inbox tidings.inbox, xid xid8, id bigint) returns tidings.state
language sql immutable as $$
  select case
    when tidings.behind((inbox).archived, xid, id) then 'archived'::tidings.state
    when tidings.behind((inbox).read, xid, id) then 'read'
    when tidings.behind((inbox).seen, xid, id) then 'seen'
    else 'unseen' end
$$;

-- What a mark makes of a state: seen and read never take anything back, unread makes seen of what was read or archived.
create function tidings.marked(old tidings.state, mark text) returns tidings.state
language sql immutable parallel safe as $$
  select case mark when 'unread' then 'seen' else greatest(old, mark::tidings.state) end
$$;

create function tidings.check_mark(state text) returns void
language plpgsql immutable set search_path = '' as $$
begin
  if state is null or state not in ('seen', 'read', 'unread', 'archived') then
    raise exception 'Cannot mark: state: expected seen, read, unread or archived, got %', coalesce(pg_catalog.quote_literal(state), 'null')
      using errcode = 'invalid_parameter_value';
  end if;
end $$;

-- Marks some of a person's notifications, all or none: an id that is not in their inbox is refused as if it did not exist.
-- Returns the count afterwards, and how many changed.
create function tidings.mark(user_id text, ids bigint[], state text)
returns table (unread integer, unseen integer, changed integer)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  i tidings.inbox;
  c tidings.count;
  rules tidings.rules;
  strangers integer;
  less_unread integer;
  less_unseen integer;
  lowest bigint;
  soonest timestamptz;
begin
  perform tidings.check_mark(state);
  if ids is null or pg_catalog.cardinality(ids) > 1000 then
    raise exception 'Cannot mark: ids: expected up to 1000' using errcode = 'invalid_parameter_value';
  end if;
  perform tidings.lock_inbox(user_id);
  c := tidings.count_now(user_id);
  select * into i from tidings.inbox b where b.user_id = mark.user_id;
  rules := tidings.in_app_rules(user_id);

  select count(*) into strangers
  from unnest(ids) w(id)
  left join tidings.notification n on n.id = w.id
  where n.id is null or not tidings.was_sent_to(user_id, n.topic, n.xid, n.id);
  if strangers > 0 then
    raise exception 'Cannot mark: ids: % of them are not in this inbox', strangers using errcode = 'TD404';
  end if;

  with old as (
    select n.id, n.xid, n.expires_at, coalesce(r.state, tidings.state_of(i, n.xid, n.id)) as state,
           tidings.behind(c.place, n.xid, n.id) and (n.expires_at is null or n.expires_at > pg_catalog.now())
             and not tidings.hidden(rules, n.topic, n.type) as counts
    from (select distinct w.id from unnest(ids) w(id)) w
    join tidings.notification n on n.id = w.id
    left join tidings.receipt r on r.user_id = mark.user_id and r.notification_id = n.id
    where not n.transient
  ), new as (
    insert into tidings.receipt as r (user_id, notification_id, state)
    select mark.user_id, o.id, tidings.marked(o.state, mark.state) from old o
    where tidings.marked(o.state, mark.state) <> o.state
    on conflict on constraint receipt_pkey do update set state = excluded.state, marked_at = excluded.marked_at
    returning r.notification_id as id, r.state
  )
  select count(*),
         coalesce(sum((o.state < 'read')::integer - (n.state < 'read')::integer) filter (where o.counts), 0),
         coalesce(sum((o.state = 'unseen')::integer - (n.state = 'unseen')::integer) filter (where o.counts), 0),
         min(o.id) filter (where o.counts and n.state < 'read'), min(o.expires_at) filter (where o.counts and n.state < 'read')
  into changed, less_unread, less_unseen, lowest, soonest
  from old o join new n using (id);

  c.unread := c.unread - less_unread;
  c.unseen := c.unseen - less_unseen;
  c.oldest := least(c.oldest, lowest);
  c.expiry := least(c.expiry, soonest);
  if changed > 0 then
    if c.unread = 0 then
      perform tidings.fold_receipts(user_id, c);
    end if;
    perform tidings.settle_mark(user_id, c, pg_catalog.jsonb_build_object('ids', (
      select pg_catalog.jsonb_agg(d.id::text order by d.id) from (select distinct w.id from unnest(ids) w(id)) d), 'state', state));
  end if;
  unread := c.unread;
  unseen := c.unseen;
  return next;
end $$;

comment on function tidings.mark(text, bigint[], text) is
  'Marks notifications of a person''s inbox as seen, read, unread or archived. Open sessions learn of it in its place in the log.';

-- Marks all that is in the inbox and not archived; or, with `before`, that notification and what is older.
create function tidings.mark_all(user_id text, state text, before bigint default null)
returns table (unread integer, unseen integer, changed integer)
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  c tidings.count;
  i tidings.inbox;
  cut_xid xid8;
  cut_id bigint;
begin
  perform tidings.check_mark(state);
  perform tidings.lock_inbox(user_id);
  c := tidings.count_now(user_id);
  select * into i from tidings.inbox b where b.user_id = mark_all.user_id;
  if before is not null then
    select n.xid, n.id into cut_xid, cut_id from tidings.notification n
    where n.id = before and not n.transient and tidings.was_sent_to(user_id, n.topic, n.xid, n.id)
      and tidings.behind(c.place, n.xid, n.id);
    if cut_id is null then
      raise exception 'Cannot mark: before: it is not in this inbox' using errcode = 'TD404';
    end if;
  end if;
  unread := c.unread;
  unseen := c.unseen;
  changed := 0;
  if ((state = 'seen' and c.unseen = 0) or (state = 'read' and c.unread = 0))
    -- What is hidden is not counted, and is marked with the rest.
    and not exists (select from tidings.preference p where p.user_id = mark_all.user_id and not p.in_app)
  then
    return next;
    return;
  end if;

  if state = 'unread' then
    perform tidings.unread_all(user_id, i, c.place, cut_xid, cut_id);
  else
    update tidings.receipt r set state = mark_all.state::tidings.state, marked_at = pg_catalog.clock_timestamp()
    from tidings.notification n
    where r.user_id = mark_all.user_id and r.state < mark_all.state::tidings.state and n.id = r.notification_id
      and tidings.behind(c.place, n.xid, n.id) and (before is null or (n.xid, n.id) <= (cut_xid, cut_id));
  end if;

  update tidings.inbox b
  set seen = case when before is null then c.place else tidings.joined(b.seen, c.place, cut_xid, cut_id) end,
      seen_at = pg_catalog.clock_timestamp()
  where b.user_id = mark_all.user_id;
  if state in ('read', 'archived') then
    update tidings.inbox b
    set read = case when before is null then c.place else tidings.joined(b.read, c.place, cut_xid, cut_id) end,
        read_at = pg_catalog.clock_timestamp()
    where b.user_id = mark_all.user_id;
  end if;
  if state = 'archived' then
    update tidings.inbox b
    set archived = case when before is null then c.place else tidings.joined(b.archived, c.place, cut_xid, cut_id) end,
        archived_at = pg_catalog.clock_timestamp()
    where b.user_id = mark_all.user_id;
  end if;

  if before is null and state <> 'unread' then
    c.unseen := 0;
    if state <> 'seen' then
      c.unread := 0;
      c.oldest := null;
      c.expiry := null;
    end if;
  else
    update tidings.inbox b set counted = null where b.user_id = mark_all.user_id;
    c := tidings.count_now(user_id);
  end if;
  perform tidings.settle_mark(user_id, c, pg_catalog.jsonb_build_object('state', state) ||
    case when before is null then '{"all": true}' else pg_catalog.jsonb_build_object('before', before::text) end);
  unread := c.unread;
  unseen := c.unseen;
  changed := 1;
  return next;
end $$;

comment on function tidings.mark_all(text, text, bigint) is
  'Marks a person''s whole inbox, or one notification and what is older. What commits later is not marked, whatever its id.';

-- Takes "read" back: from all (what was archived stays so), or from what is not after the cut.
create function tidings.unread_all(user_id text, i tidings.inbox, place tidings.place, cut_xid xid8, cut_id bigint) returns void
language plpgsql volatile set search_path = '' as $$
#variable_conflict use_variable
begin
  if cut_id is not null then
    insert into tidings.receipt (user_id, notification_id, state)
    select unread_all.user_id, n.id, 'seen'
    from tidings.sources(user_id) t
    join tidings.notification n on n.topic = t.topic and (n.xid, n.id) <= (cut_xid, cut_id) and not n.transient
    where not tidings.behind(t.since, n.xid, n.id) and ((t.until).xmax is null or tidings.behind(t.until, n.xid, n.id))
      and tidings.behind(i.read, n.xid, n.id) and not tidings.behind(i.archived, n.xid, n.id)
    on conflict do nothing;
  else
    update tidings.inbox b set read = b.archived where b.user_id = unread_all.user_id;
  end if;
  update tidings.receipt r set state = 'seen', marked_at = pg_catalog.clock_timestamp()
  from tidings.notification n
  where r.user_id = unread_all.user_id and r.state in ('unseen', 'read') and n.id = r.notification_id
    and tidings.behind(place, n.xid, n.id) and (cut_id is null or (n.xid, n.id) <= (cut_xid, cut_id));
end $$;

-- Keeps the count that a mark led to, and tells it.
create function tidings.settle_mark(user_id text, c tidings.count, change jsonb) returns void
language plpgsql volatile set search_path = '' as $$
begin
  update tidings.inbox b
  set version = b.version + 1, counted = (c).place, unread = (c).unread, unseen = (c).unseen, oldest = (c).oldest, expiry = (c).expiry
  where b.user_id = settle_mark.user_id;
  perform tidings.tell(user_id, 'tidings.inbox',
    pg_catalog.jsonb_build_object('changes', pg_catalog.jsonb_build_array(change), 'unread', (c).unread, 'unseen', (c).unseen),
    interval '10 minutes');
end $$;

-- All may have been read one by one: once nothing is unread, one place says so and the receipts go. The person's row is held.
create function tidings.fold_receipts(user_id text, c tidings.count) returns void
language plpgsql volatile set search_path = '' as $$
#variable_conflict use_variable
declare
  i tidings.inbox;
begin
  if (select count(*) from (
        select from tidings.receipt r where r.user_id = fold_receipts.user_id and r.state = 'read' limit 500) f) < 500
     -- What is hidden is not counted, and stays as it is.
     or exists (select from tidings.preference p where p.user_id = fold_receipts.user_id and not p.in_app) then
    return;
  end if;
  select * into i from tidings.inbox b where b.user_id = fold_receipts.user_id;
  delete from tidings.receipt r using tidings.notification n
  where r.user_id = fold_receipts.user_id and n.id = r.notification_id and r.state = 'read'
    and tidings.behind((c).place, n.xid, n.id) and not tidings.behind(i.archived, n.xid, n.id);
  update tidings.inbox b set seen = (c).place, read = (c).place where b.user_id = fold_receipts.user_id;
end $$;
