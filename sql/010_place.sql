-- Places in the log that are kept in tables: "everything that was there at that moment". DESIGN.md section 2.
--
-- A row is behind a place when its transaction had committed then: xid < xmax and xid not in xip (ascending). Of a transaction
-- in xip, `at` holds the last id that is behind (0: none). `top` is the last id that had been handed out: no row behind the
-- place has a higher one, so that a place keeps its meaning when the rows get other xids in another cluster.
create type tidings.place as (xmax xid8, xip xid8[], at bigint[], top bigint);

-- Not strict, and without settings of its own, so that it is inlined. A place that is null has nothing behind it.
create function tidings.behind(place tidings.place, xid xid8, id bigint) returns boolean
language sql immutable parallel safe as $$
  select coalesce(
    id <= (place).top and xid < (place).xmax
      and ((place).xip = '{}' or coalesce(id <= ((place).at)[array_position((place).xip, xid)], true)),
    false)
$$;

-- The lowest xid of which something may be after the place.
create function tidings.low(place tidings.place) returns xid8
language sql immutable parallel safe as $$
  select coalesce(((place).xip)[1], (place).xmax, '0'::xid8)
$$;

-- The snapshot of this statement as a place. What this transaction has written so far is behind it, what it is going to write
-- is not: a snapshot alone cannot tell.
create function tidings.here() returns tidings.place
language plpgsql stable security definer set search_path = '' as $$
declare
  shot pg_catalog.pg_snapshot := pg_catalog.pg_current_snapshot();
  mine xid8 := pg_catalog.pg_current_xact_id_if_assigned();
  top bigint := coalesce(pg_catalog.pg_sequence_last_value('tidings.notification_id_seq'), 0);
  xmax xid8 := pg_catalog.pg_snapshot_xmax(shot);
  xip xid8[] := array(select pg_catalog.pg_snapshot_xip(shot));
  at bigint[];
begin
  if mine is not null then
    if mine >= xmax then
      -- Those between had begun and not ended.
      xip := xip || array(
        select s::text::xid8 from pg_catalog.generate_series(xmax::text::bigint, mine::text::bigint - 1) s);
      xmax := (mine::text::bigint + 1)::text::xid8;
    end if;
    xip := array(select x from unnest(xip || mine) x order by x);
  end if;
  at := array(select case when x = mine then top else 0 end from unnest(xip) with ordinality u(x, place) order by u.place);
  return row(xmax, xip, at, top)::tidings.place;
end $$;

-- What is behind `old`, or behind `new` and not after the row (xid, id). `new` is later than `old` and has the row behind it.
create function tidings.joined(old tidings.place, new tidings.place, xid xid8, id bigint) returns tidings.place
language plpgsql immutable set search_path = '' as $$
declare
  next xid8 := (xid::text::bigint + 1)::text::xid8;
  xips xid8[];
  ats bigint[];
begin
  select array_agg(e.x order by e.x), array_agg(e.a order by e.x) into xips, ats
  from (
    select u.x, u.a from unnest((new).xip, (new).at) u(x, a) where u.x < joined.xid
    union all
    select joined.xid, greatest(joined.id, (select u.a from unnest((old).xip, (old).at) u(x, a) where u.x = joined.xid))
    where (old).xmax is null or joined.xid >= (old).xmax or joined.xid = any ((old).xip)
    union all
    select u.x, u.a from unnest((old).xip, (old).at) u(x, a) where u.x > joined.xid
  ) e;
  return row(greatest((old).xmax, next), coalesce(xips, '{}'), coalesce(ats, '{}'), (new).top)::tidings.place;
end $$;

-- What is behind either place (wider), or behind both.
create function tidings.combined(a tidings.place, b tidings.place, wider boolean) returns tidings.place
language sql immutable set search_path = '' as $$
  with reach as (
    -- How far each transaction is behind: up to an id, 0 for nothing, the highest number for all of it.
    select x.xid, case when wider then greatest(r.a, r.b) else least(r.a, r.b) end as id
    from (select u.xid from unnest((a).xip) u(xid) union select u.xid from unnest((b).xip) u(xid)) x
    cross join lateral (
      select case when x.xid >= (a).xmax then 0
               else coalesce(((a).at)[array_position((a).xip, x.xid)], 9223372036854775807) end as a,
             case when x.xid >= (b).xmax then 0
               else coalesce(((b).at)[array_position((b).xip, x.xid)], 9223372036854775807) end as b) r
  ), bounds as (
    select case when wider then greatest((a).xmax, (b).xmax) else least((a).xmax, (b).xmax) end as xmax,
           case when wider then greatest((a).top, (b).top) else least((a).top, (b).top) end as top
  )
  select row(
    bounds.xmax,
    array(select reach.xid from reach where reach.id < 9223372036854775807 and reach.xid < bounds.xmax order by reach.xid),
    array(select reach.id from reach where reach.id < 9223372036854775807 and reach.xid < bounds.xmax order by reach.xid),
    bounds.top)::tidings.place
  from bounds
$$;

-- A place as JSON {xmax, xip, at, top}, in which a gateway's cursors have no top.
create function tidings.place_json(place tidings.place) returns jsonb
language sql immutable set search_path = '' as $$
  select case when (place).xmax is not null then pg_catalog.jsonb_build_object(
    'xmax', (place).xmax::text, 'xip', pg_catalog.to_jsonb((place).xip::text[]), 'at', pg_catalog.to_jsonb((place).at::text[]),
    'top', (place).top::text) end
$$;

create function tidings.place_of(place jsonb) returns tidings.place
language sql immutable set search_path = '' as $$
  select case when place is not null then row(
    (place->>'xmax')::xid8,
    array(select e.value::xid8 from pg_catalog.jsonb_array_elements_text(place->'xip') e),
    array(select e.value::bigint from pg_catalog.jsonb_array_elements_text(place->'at') e),
    coalesce((place->>'top')::bigint, 9223372036854775807))::tidings.place end
$$;

-- A place as it was in another cluster, in this one: nothing that will be written here is behind it. `strange`: the rows' xids
-- were replaced by 1.
create function tidings.adopted(place tidings.place, strange boolean) returns tidings.place
language sql stable set search_path = '' as $$
  select case
    when (place).xmax is null then null
    when strange then row('2'::xid8, array['1'::xid8], array[(place).top], (place).top)::tidings.place
    else row(
      least((place).xmax, pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())),
      array(select u.x from unnest((place).xip, (place).at) with ordinality u(x, a, n)
            where u.x < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) order by u.n),
      array(select u.a from unnest((place).xip, (place).at) with ordinality u(x, a, n)
            where u.x < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) order by u.n),
      (place).top)::tidings.place
  end
$$;
