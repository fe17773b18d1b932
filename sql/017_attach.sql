-- Triggers from templates: what a table's rows say to whom. tidings.attach checks everything by name and writes a trigger
-- function of its own for the table, with the columns as code: at the row nothing is looked up and nothing is parsed.
--
-- A template is text with placeholders: {column} is the new row's (of a delete the old row's), {new.column} and {old.column}
-- say which; {{ and }} stand for braces. A placeholder that is null makes its whole field null; a topic that is null sends
-- nothing. What is not a template but SQL begins with "sql:": an expression over new and old that yields text, or, for a topic,
-- text or text[].

create table tidings.attachment (
  name       text primary key,
  on_table   regclass not null,
  on_event   text not null,
  columns    text[],
  definition jsonb not null,
  made_at    timestamptz not null default clock_timestamp()
);

comment on table tidings.attachment is 'Which tables send what: made by tidings.attach, removed by tidings.detach.';

create table tidings.attach_failure (
  id         bigint generated always as identity primary key,
  attachment text not null,
  on_table   text not null,
  event      text not null,
  row        jsonb,
  reason     text not null,
  sqlstate   text not null,
  failed_at  timestamptz not null default clock_timestamp()
);

comment on table tidings.attach_failure is
  'Notifications that could not be sent, of attachments with on_failure => ''keep''. Correct the cause, send by hand, delete the row.';

-- One template as an SQL expression over new and old. Names what is wrong.
create function tidings.template_sql(on_table regclass, field text, template text, event text) returns text
language plpgsql stable set search_path = '' as $$
declare
  rest text := template;
  made text[] := '{}';
  piece text;
  place text;
  which text;
  wanted text;
begin
  if template is null then
    return null;
  end if;
  if template like 'sql:%' then
    return '(' || substr(template, 5) || ')';
  end if;
  while rest <> '' loop
    if rest like '{{%' or rest like '}}%' then
      made := made || quote_literal(left(rest, 1));
      rest := substr(rest, 3);
    elsif rest like '{%' then
      place := substring(rest from '^\{([^{}]*)\}');
      if place is null then
        raise exception 'Cannot attach: %: there is a { without its }; write {{ for a brace', field using errcode = 'invalid_parameter_value';
      end if;
      rest := substr(rest, length(place) + 3);
      which := case when place like 'old.%' then 'old' when place like 'new.%' then 'new' when event = 'delete' then 'old' else 'new' end;
      wanted := regexp_replace(trim(place), '^(old|new)\.', '');
      if (which = 'old' and event = 'insert') or (which = 'new' and event = 'delete') then
        raise exception 'Cannot attach: %: {%} has no % row in %', field, place, which, event using errcode = 'invalid_parameter_value';
      end if;
      if not exists (
        select from pg_catalog.pg_attribute a
        where a.attrelid = on_table and a.attname = wanted and a.attnum > 0 and not a.attisdropped)
      then
        raise exception 'Cannot attach: %: table % has no column "%"', field, on_table, wanted using errcode = 'undefined_column';
      end if;
      made := made || format('%s.%I::text', which, wanted);
    elsif rest like '}%' then
      raise exception 'Cannot attach: %: there is a } without its {; write }} for a brace', field using errcode = 'invalid_parameter_value';
    else
      piece := substring(rest from '^[^{}]+');
      made := made || quote_literal(piece);
      rest := substr(rest, length(piece) + 1);
    end if;
  end loop;
  return case when made = '{}' then '''''' else array_to_string(made, ' || ') end;
end $$;

-- Templates in JSON: strings are templates (a string that is one placeholder alone keeps the column's own type), all else stays.
create function tidings.data_sql(on_table regclass, field text, template jsonb, event text) returns text
language plpgsql stable set search_path = '' as $$
declare
  word text;
begin
  case jsonb_typeof(template)
    when 'object' then
      return 'pg_catalog.jsonb_build_object(' || coalesce((
        select string_agg(quote_literal(e.key) || ', ' || tidings.data_sql(on_table, field || '.' || e.key, e.value, event), ', ' order by e.key)
        from jsonb_each(template) e), '') || ')';
    when 'array' then
      return 'pg_catalog.jsonb_build_array(' || coalesce((
        select string_agg(tidings.data_sql(on_table, field || '.' || (e.place - 1), e.value, event), ', ' order by e.place)
        from jsonb_array_elements(template) with ordinality e(value, place)), '') || ')';
    when 'string' then
      word := template #>> '{}';
      if word ~ '^\{[^{}]+\}$' then
        return 'pg_catalog.to_jsonb(' || regexp_replace(tidings.template_sql(on_table, field, word, event), '::text$', '') || ')';
      end if;
      if word like 'sql:%' then
        return 'pg_catalog.to_jsonb(' || tidings.template_sql(on_table, field, word, event) || ')';
      end if;
      return 'pg_catalog.to_jsonb((' || tidings.template_sql(on_table, field, word, event) || ')::text)';
    else
      return quote_literal(template) || '::jsonb';
  end case;
end $$;

-- on_event: insert, update, update of column, other, delete. "when": an SQL condition over new and old. on_failure: raise, so that
-- the application's statement fails, or keep, so that the failure goes to tidings.attach_failure. The topic may yield several
-- ("sql:array(select …)"). Attaching again under the same name replaces; the name is made from table and event unless given.
-- Returns the name.
create function tidings.attach(
  "table"      regclass,
  on_event     text default 'insert',
  topic        text default null,
  title        text default null,
  body         text default null,
  type         text default 'notification',
  link         text default null,
  data         jsonb default null,
  sender       text default null,
  priority     text default null,
  collapse_key text default null,
  dedupe_key   text default null,
  ttl          interval default null,
  transient    boolean default false,
  push         boolean default null,
  "when"       text default null,
  on_failure   text default 'raise',
  name         text default null
) returns text
language plpgsql volatile set search_path = '' as $$
#variable_conflict use_variable
declare
  on_table regclass := "table";
  event text;
  columns text[];
  missing text;
  known text := coalesce(attach.name, replace("table"::text, '"', '') || ' ' || on_event);
  function_name text;
  fields text[] := '{}';
  f record;
  condition text;
  body_sql text;
begin
  event := lower(substring(trim(on_event) from '^[a-zA-Z]+'));
  if event not in ('insert', 'update', 'delete') or event is null or trim(on_event) !~* '^(insert|delete|update(\s+of\s+.+)?)$' then
    raise exception 'Cannot attach: on_event: expected insert, update, update of <columns> or delete, got %', coalesce(quote_literal(on_event), 'null')
      using errcode = 'invalid_parameter_value';
  end if;
  if trim(on_event) ~* '^update\s+of\s' then
    columns := array(select trim(both ' "' from c) from regexp_split_to_table(regexp_replace(trim(on_event), '^\S+\s+\S+\s+', ''), ',') c);
    select c into missing from unnest(columns) c
    where not exists (select from pg_catalog.pg_attribute a where a.attrelid = on_table and a.attname = c and a.attnum > 0 and not a.attisdropped)
    limit 1;
    if missing is not null then
      raise exception 'Cannot attach: on_event: table % has no column "%"', on_table, missing using errcode = 'undefined_column';
    end if;
  end if;
  if topic is null or topic = '' then
    raise exception 'Cannot attach: topic: expected a template such as user:{owner_id}' using errcode = 'invalid_parameter_value';
  end if;
  if type is null or type like 'tidings.%' or type !~ '^[A-Za-z0-9_.-]{1,100}$' then
    raise exception 'Cannot attach: type: expected letters, digits, dots, _ and - (tidings.* is reserved)' using errcode = 'invalid_parameter_value';
  end if;
  if priority is not null and priority not in ('very-low', 'low', 'normal', 'high') then
    raise exception 'Cannot attach: priority: expected very-low, low, normal or high' using errcode = 'invalid_parameter_value';
  end if;
  if on_failure is null or on_failure not in ('raise', 'keep') then
    raise exception 'Cannot attach: on_failure: expected raise or keep' using errcode = 'invalid_parameter_value';
  end if;
  if ttl <= interval '0' then
    raise exception 'Cannot attach: ttl: must be positive' using errcode = 'invalid_parameter_value';
  end if;
  if topic not like 'sql:%' and regexp_replace(topic, '\{[^{}]*\}', 'x', 'g') !~ '^[^\s:,*[:cntrl:]]+(:[^\s:,*[:cntrl:]]+)*$' then
    raise exception 'Cannot attach: topic: segments joined by a colon, without white space, comma or *' using errcode = 'invalid_parameter_value';
  end if;
  if not exists (select from pg_catalog.pg_class c where c.oid = on_table and c.relkind in ('r', 'p')) then
    raise exception 'Cannot attach: %: expected a table', on_table using errcode = 'wrong_object_type';
  end if;

  for f in
    select * from (values ('title', title), ('body', body), ('link', link), ('sender', sender),
                          ('collapse_key', collapse_key), ('dedupe_key', dedupe_key)) v(field, template)
    where v.template is not null
  loop
    fields := fields || format('%I => %s', f.field, tidings.template_sql(on_table, f.field, f.template, event));
  end loop;
  fields := fields || format('type => %L', type) || format('transient => %L::boolean', coalesce(transient, false));
  if priority is not null then fields := fields || format('priority => %L', priority); end if;
  if push is not null then fields := fields || format('push => %L::boolean', push); end if;
  if ttl is not null then fields := fields || format('ttl => %L::interval', ttl); end if;
  if data is not null then
    fields := fields || ('data => ' || tidings.data_sql(on_table, 'data', data, event));
  end if;
  condition := case when "when" is null then '' else '(' || "when" || ') and ' end;

  function_name := 'attached_' || substr(md5(known), 1, 16);
  body_sql := format(
    $f$
    create or replace function tidings.%I() returns trigger
    language plpgsql volatile set search_path = '' as $body$
    #variable_conflict use_column
    declare
      topics text[];
    begin
      -- %s
      topics := array(select distinct t from unnest(%s) t where t is not null order by t);
      if topics <> '{}' then
        perform tidings.send(topics, %s);
      end if;
      return null;
    %s
    end $body$
    $f$,
    function_name, replace(known, E'\n', ' '),
    case when topic like 'sql:%' then format('tidings.topics_of(%s)', substr(topic, 5))
         else format('array[%s]', tidings.template_sql(on_table, 'topic', topic, event)) end,
    array_to_string(fields, ', '),
    case on_failure when 'keep' then format(
      $k$exception when others then
      insert into tidings.attach_failure (attachment, on_table, event, row, reason, sqlstate)
      values (%L, %L, tg_op, pg_catalog.to_jsonb(%s), sqlerrm, sqlstate);
      return null;$k$, known, on_table::text, case event when 'delete' then 'old' else 'new' end) else '' end);

  perform tidings.detach(known);
  begin
    execute body_sql;
    execute format('alter function tidings.%I() security definer', function_name);
    execute format('revoke all on function tidings.%I() from public', function_name);
    execute format('create trigger %I after %s on %s for each row %s execute function tidings.%I()',
      'tidings ' || substr(known, 1, 50), event || coalesce(' of ' || (select string_agg(quote_ident(c), ', ') from unnest(columns) c), ''),
      on_table, case when "when" is null then '' else 'when (' || "when" || ')' end, function_name);
  exception when syntax_error or undefined_column or undefined_function or undefined_table or invalid_column_reference
      or datatype_mismatch or feature_not_supported or invalid_object_definition then
    raise exception 'Cannot attach: %: %', case when "when" is null then 'the templates' else 'when' end, sqlerrm
      using errcode = sqlstate;
  end;
  perform tidings.check_attached(on_table, event, topic, fields);
  insert into tidings.attachment (name, on_table, on_event, columns, definition)
  values (known, on_table, event, columns, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'topic', topic, 'title', title, 'body', body, 'type', type, 'link', link, 'data', data, 'sender', sender, 'priority', priority,
    'collapse_key', collapse_key, 'dedupe_key', dedupe_key, 'ttl', ttl, 'transient', transient, 'push', push, 'when', "when",
    'on_failure', on_failure, 'function', function_name)));
  return known;
end $$;

comment on function tidings.attach(regclass, text, text, text, text, text, text, jsonb, text, text, text, text, interval, boolean, boolean, text, text, text) is
  'Makes a table send: a trigger from templates. Refused by name at once when a column or a template is wrong.';

-- What an SQL topic yields, as an array.
create function tidings.topics_of(topic text) returns text[]
language sql immutable parallel safe as $$ select array[topic] $$;
create function tidings.topics_of(topics text[]) returns text[]
language sql immutable parallel safe as $$ select coalesce(topics, '{}') $$;

-- Plans the expressions over a row of the table that is not there: what does not fit is found now and not at the first insert.
create function tidings.check_attached(on_table regclass, event text, topic text, fields text[]) returns void
language plpgsql volatile set search_path = '' as $$
declare
  f text;
  expression text;
  field text;
begin
  foreach f in array fields || case when topic like 'sql:%' then array['topic => tidings.topics_of(' || substr(topic, 5) || ')'] else '{}' end loop
    field := trim(both '"' from split_part(f, ' => ', 1));
    expression := substr(f, length(split_part(f, ' => ', 1)) + 5);
    begin
      execute format('select %s from %s as new, %s as old where false', expression, on_table, on_table);
    exception when others then
      raise exception 'Cannot attach: %: %', field, sqlerrm using errcode = sqlstate;
    end;
  end loop;
end $$;

-- Removes an attachment by its name; false when there is none.
create function tidings.detach(name text) returns boolean
language plpgsql volatile set search_path = '' as $$
#variable_conflict use_variable
declare
  gone tidings.attachment;
begin
  delete from tidings.attachment a where a.name = detach.name returning * into gone;
  if not found then
    return false;
  end if;
  -- The function takes its trigger along, also where the table is gone already.
  execute format('drop function if exists tidings.%I() cascade', gone.definition->>'function');
  return true;
end $$;

-- Removes all attachments of a table; returns how many.
create function tidings.detach("table" regclass) returns integer
language plpgsql volatile set search_path = '' as $$
#variable_conflict use_variable
declare
  one text;
  gone integer := 0;
begin
  for one in select a.name from tidings.attachment a where a.on_table = "table" order by a.name loop
    perform tidings.detach(one);
    gone := gone + 1;
  end loop;
  return gone;
end $$;

-- Lets a role attach to its own tables, and send by them.
create function tidings.allow_attaching(role text) returns void
language plpgsql volatile set search_path = '' as $$
declare
  signature pg_catalog.regprocedure;
begin
  perform tidings.allow_sending(role);
  execute format('grant create on schema tidings to %I', role);
  execute format('grant select, insert, delete on tidings.attachment to %I', role);
  execute format('grant insert on tidings.attach_failure to %I', role);
  for signature in
    select p.oid from pg_catalog.pg_proc p
    where p.pronamespace = 'tidings'::regnamespace
      and p.proname in ('attach', 'detach', 'template_sql', 'data_sql', 'topics_of', 'check_attached')
  loop
    execute format('grant execute on function %s to %I', signature, role);
  end loop;
end $$;

-- Lets a role change people's inboxes: for an application that does not own the schema.
create function tidings.allow_inbox(role text) returns void
language plpgsql volatile set search_path = '' as $$
declare
  signature pg_catalog.regprocedure;
begin
  execute format('grant usage on schema tidings to %I', role);
  for signature in
    select p.oid from pg_catalog.pg_proc p
    where p.pronamespace = 'tidings'::regnamespace
      and p.proname in ('mark', 'mark_all', 'inbox_count', 'follow', 'unfollow', 'followed', 'revoke', 'sign_out', 'prefer', 'set_quiet_hours',
                        'set_time_zone')
  loop
    execute format('grant execute on function %s to %I', signature, role);
  end loop;
end $$;
