-- Preferences and quiet hours.

-- Sets one rule: of a topic, of a type, or (scope default) of whatever has no rule of its own. Both true forgets it, but for
-- a rule that lets something through which the default hides.
create function tidings.prefer(user_id text, scope text, name text, in_app boolean default true, push boolean default true) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
begin
  perform tidings.lock_inbox(user_id);
  insert into tidings.preference as p (user_id, scope, name, in_app, push)
  values (user_id, scope, coalesce(name, ''), in_app, push)
  on conflict on constraint preference_pkey do update set in_app = excluded.in_app, push = excluded.push;
  perform tidings.preferences_changed(user_id);
end $$;

create function tidings.preferences_changed(user_id text) returns void
language plpgsql volatile set search_path = '' as $$
#variable_conflict use_variable
declare
  c tidings.count;
begin
  update tidings.inbox i set version = i.version + 1, counted = null where i.user_id = preferences_changed.user_id;
  c := tidings.count_now(user_id);
  perform tidings.keep_count(user_id, c);
  perform tidings.tell(user_id, 'tidings.inbox', pg_catalog.jsonb_build_object(
    'unread', c.unread, 'unseen', c.unseen, 'hidden', pg_catalog.to_jsonb(tidings.in_app_rules(user_id))), interval '10 minutes');
end $$;

-- Replaces all rules, the quiet hours and the time zone of a person. rules: [{scope, name, inApp, push}]; quiet:
-- {start, end, timeZone} or null.
create function tidings.set_preferences(user_id text, rules jsonb, quiet jsonb, time_zone text default null) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
begin
  perform tidings.lock_inbox(user_id);
  if pg_catalog.jsonb_array_length(rules) > 500 then
    raise exception 'Cannot set preferences: rules: at most 500' using errcode = 'invalid_parameter_value';
  end if;
  delete from tidings.preference p where p.user_id = set_preferences.user_id;
  insert into tidings.preference (user_id, scope, name, in_app, push)
  select set_preferences.user_id, r.scope, coalesce(r.name, ''), coalesce(r."inApp", true), coalesce(r.push, true)
  from pg_catalog.jsonb_to_recordset(rules) r(scope text, name text, "inApp" boolean, push boolean);
  perform tidings.set_quiet_hours(user_id, (quiet->>'start')::time, (quiet->>'end')::time, quiet->>'timeZone');
  perform tidings.set_time_zone(user_id, time_zone);
  perform tidings.preferences_changed(user_id);
end $$;

-- Without a start there are none.
create function tidings.set_quiet_hours(user_id text, starts time, ends time, time_zone text) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
begin
  perform tidings.lock_inbox(user_id);
  if starts is null then
    delete from tidings.quiet_hours q where q.user_id = set_quiet_hours.user_id;
    return;
  end if;
  perform tidings.check_time_zone('quiet hours', time_zone);
  insert into tidings.quiet_hours as q (user_id, starts, ends, time_zone)
  values (user_id, starts, ends, time_zone)
  on conflict on constraint quiet_hours_pkey do update
    set starts = excluded.starts, ends = excluded.ends, time_zone = excluded.time_zone;
end $$;

-- Where a person lives; null: where they keep quiet hours.
create function tidings.set_time_zone(user_id text, time_zone text) returns void
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
begin
  perform tidings.lock_inbox(user_id);
  if time_zone is null then
    delete from tidings.time_zone z where z.user_id = set_time_zone.user_id;
    return;
  end if;
  perform tidings.check_time_zone('time zone', time_zone);
  insert into tidings.time_zone as z (user_id, name) values (user_id, time_zone)
  on conflict on constraint time_zone_pkey do update set name = excluded.name;
end $$;

comment on function tidings.set_time_zone(text, text) is
  'Sets where a person lives: what recurs for them follows it. Null: where they keep quiet hours.';

create function tidings.check_time_zone(what text, name text) returns void
language plpgsql stable set search_path = '' as $$
begin
  if not exists (select from pg_catalog.pg_timezone_names z where z.name = check_time_zone.name) then
    raise exception 'Cannot set %: timeZone: expected a name such as Europe/Berlin, got %',
      what, coalesce(pg_catalog.quote_literal(name), 'null') using errcode = 'invalid_parameter_value';
  end if;
end $$;

create function tidings.preferences(user_id text) returns table (rules jsonb, quiet jsonb, time_zone text)
language sql stable security definer set search_path = '' as $$
  select
    (select coalesce(pg_catalog.jsonb_agg(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
              'scope', p.scope, 'name', nullif(p.name, ''), 'inApp', p.in_app, 'push', p.push)) order by p.scope, p.name collate "C"), '[]')
     from tidings.preference p where p.user_id = preferences.user_id),
    (select pg_catalog.jsonb_build_object('start', pg_catalog.to_char(q.starts, 'HH24:MI'), 'end', pg_catalog.to_char(q.ends, 'HH24:MI'),
            'timeZone', q.time_zone)
     from tidings.quiet_hours q where q.user_id = preferences.user_id),
    (select z.name from tidings.time_zone z where z.user_id = preferences.user_id)
$$;

-- Whether a person wants pushes of this: no rule of the topic or the type says no, nor the default where neither has a rule.
create function tidings.wants_push(user_id text, topic text, type text) returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce(
    bool_and(p.push) filter (where p.scope <> 'default'),
    bool_and(p.push) filter (where p.scope = 'default'),
    true)
  from tidings.preference p
  where p.user_id = wants_push.user_id
    and (p.scope = 'default' or (p.scope = 'topic' and p.name = wants_push.topic) or (p.scope = 'type' and p.name = wants_push.type))
$$;

-- Whether a person wants to see this at all.
create function tidings.wants_in_app(user_id text, topic text, type text) returns boolean
language sql stable security definer set search_path = '' as $$
  select not tidings.hidden(tidings.in_app_rules(wants_in_app.user_id), wants_in_app.topic, wants_in_app.type)
$$;

-- When the person's quiet hours end, if they are now; null: it is not quiet. Across daylight-saving changes the wall clock
-- of their zone decides.
create function tidings.quiet_until(user_id text, moment timestamptz default clock_timestamp()) returns timestamptz
language sql stable security definer set search_path = '' as $$
  select case
    when q.starts < q.ends and l.clock >= q.starts and l.clock < q.ends then (l.day + q.ends) at time zone q.time_zone
    when q.starts > q.ends and l.clock >= q.starts then (l.day + 1 + q.ends) at time zone q.time_zone
    when q.starts > q.ends and l.clock < q.ends then (l.day + q.ends) at time zone q.time_zone
  end
  from tidings.quiet_hours q
  cross join lateral (
    select (quiet_until.moment at time zone q.time_zone)::time as clock, (quiet_until.moment at time zone q.time_zone)::date as day) l
  where q.user_id = quiet_until.user_id
$$;
