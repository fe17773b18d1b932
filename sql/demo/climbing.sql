-- A climbing app's ordinary tables, and all that it takes for them to notify: tidings.attach. Nine kinds of notifications, no code.
--
--   psql "$(cat .data/database_url)" -f sql/demo/climbing.sql
--
-- Members are users of Tidings by their id: member 7 is user "7". Run it as often as you like.

drop schema if exists climbing cascade;
select tidings.detach(name) from tidings.attachment where name like 'climbing %';
create schema climbing;

create table climbing.member (
  id    int primary key,
  name  text not null unique
);

create table climbing.gym (
  id    int primary key,
  name  text not null
);

create table climbing.route (
  id         int primary key,
  gym_id     int not null references climbing.gym,
  name       text not null,
  grade      text not null,
  setter_id  int not null references climbing.member
);

create table climbing.match (
  id                int generated always as identity primary key,
  route_id          int not null references climbing.route,
  challenger_id     int not null references climbing.member,
  challenger_name   text not null,
  opponent_id       int not null references climbing.member,
  state             text not null default 'requested' check (state in ('requested', 'made', 'cancelled')),
  challenger_ready  boolean not null default false,
  opponent_ready    boolean not null default false,
  cancelled_by      int references climbing.member,
  check (challenger_id <> opponent_id)
);

create table climbing.post (
  id           int generated always as identity primary key,
  author_id    int not null references climbing.member,
  author_name  text not null,
  title        text not null,
  body         text
);

create table climbing.liked (
  post_id    int not null references climbing.post on delete cascade,
  member_id  int not null references climbing.member,
  primary key (post_id, member_id)
);

create table climbing.follow (
  follower_id  int not null references climbing.member,
  member_id    int not null references climbing.member,
  primary key (follower_id, member_id)
);

create table climbing.ascent (
  id         int generated always as identity primary key,
  member_id  int not null references climbing.member,
  route_id   int not null references climbing.route,
  seconds    int not null check (seconds > 0)
);

create table climbing.record (
  member_id  int not null references climbing.member,
  route_id   int not null references climbing.route,
  seconds    int not null,
  primary key (member_id, route_id)
);

create table climbing.ranking (
  gym_id     int not null references climbing.gym,
  member_id  int not null references climbing.member,
  place      int not null,
  primary key (gym_id, member_id)
);

-- The app's own logic: an ascent may be a record, and a record moves the gym's ranking.
create function climbing.ascended() returns trigger language plpgsql as $$
begin
  insert into climbing.record as r values (new.member_id, new.route_id, new.seconds)
  on conflict (member_id, route_id) do update set seconds = excluded.seconds where r.seconds > excluded.seconds;
  insert into climbing.ranking as k
  select t.gym_id, r.member_id, rank() over (partition by t.gym_id order by count(*) desc, sum(r.seconds), r.member_id)
  from climbing.record r join climbing.route t on t.id = r.route_id
  where t.gym_id = (select gym_id from climbing.route where id = new.route_id)
  group by t.gym_id, r.member_id
  on conflict (gym_id, member_id) do update set place = excluded.place where k.place <> excluded.place;
  return null;
end $$;
create trigger ascended after insert on climbing.ascent for each row execute function climbing.ascended();

-- Following a member is following the topic that their posts are sent to: one notification, however many follow.
create function climbing.followed() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    perform tidings.follow(new.follower_id::text, 'author:' || new.member_id);
  else
    perform tidings.unfollow(old.follower_id::text, 'author:' || old.member_id);
  end if;
  return null;
end $$;
create trigger followed after insert or delete on climbing.follow for each row execute function climbing.followed();

-- 1. A match is requested.
select tidings.attach('climbing.match', on_event => 'insert', name => 'climbing match requested',
  topic => 'user:{opponent_id}', type => 'match.requested',
  title => '{challenger_name} challenges you', link => '/matches/{id}', data => '{"match": "{id}", "route": "{route_id}"}');

-- 2. It is made.
select tidings.attach('climbing.match', on_event => 'update of state', name => 'climbing match made',
  "when" => $$old.state = 'requested' and new.state = 'made'$$,
  topic => 'user:{challenger_id}', type => 'match.made', title => 'Your match is on', link => '/matches/{id}');

-- 3. The other one is ready.
select tidings.attach('climbing.match', on_event => 'update of challenger_ready, opponent_ready', name => 'climbing opponent ready',
  "when" => '(new.challenger_ready and not old.challenger_ready) or (new.opponent_ready and not old.opponent_ready)',
  topic => $$sql:'user:' || case when new.opponent_ready and not old.opponent_ready then new.challenger_id else new.opponent_id end$$,
  type => 'match.ready', title => 'Your opponent is ready', link => '/matches/{id}', ttl => '10 minutes');

-- 4. It is cancelled.
select tidings.attach('climbing.match', on_event => 'update of state', name => 'climbing match cancelled',
  "when" => $$new.state = 'cancelled' and old.state <> 'cancelled'$$,
  topic => $$sql:'user:' || case when new.cancelled_by = new.challenger_id then new.opponent_id else new.challenger_id end$$,
  type => 'match.cancelled', title => 'Your match was cancelled', link => '/matches/{id}');

-- 5. A post is liked, by somebody else than its author. Liking again after unliking is no news.
select tidings.attach('climbing.liked', on_event => 'insert', name => 'climbing post liked',
  topic => $$sql:(select 'user:' || p.author_id from climbing.post p where p.id = new.post_id and p.author_id <> new.member_id)$$,
  type => 'post.liked', title => $$sql:(select m.name || ' likes your post' from climbing.member m where m.id = new.member_id)$$,
  link => '/posts/{post_id}', collapse_key => 'liked:{post_id}', dedupe_key => 'liked:{post_id}:{member_id}');

-- 6. A route is completed: its setter hears of it.
select tidings.attach('climbing.ascent', on_event => 'insert', name => 'climbing route completed',
  topic => $$sql:(select 'user:' || r.setter_id from climbing.route r where r.id = new.route_id)$$,
  type => 'route.completed',
  title => $$sql:(select m.name || ' completed ' || r.name from climbing.member m, climbing.route r where m.id = new.member_id and r.id = new.route_id)$$,
  link => '/routes/{route_id}', data => '{"seconds": "{seconds}"}');

-- 7. A personal record.
select tidings.attach('climbing.record', on_event => 'update of seconds', name => 'climbing personal record',
  topic => 'user:{member_id}', type => 'record.broken', title => 'A new record: {seconds} s instead of {old.seconds} s',
  link => '/routes/{route_id}');

-- 8. The ranking changed.
select tidings.attach('climbing.ranking', on_event => 'update of place', name => 'climbing ranking changed',
  topic => 'user:{member_id}', type => 'ranking.changed', title => 'You are number {place} now', link => '/gyms/{gym_id}/ranking',
  collapse_key => 'ranking:{gym_id}', data => '{"from": "{old.place}", "to": "{place}"}');

-- 9. A followed member's new post: to all their followers at once.
select tidings.attach('climbing.post', on_event => 'insert', name => 'climbing new post',
  topic => 'author:{author_id}', type => 'post.published', title => '{author_name} posted', body => '{title}', link => '/posts/{id}');

-- Some people, and one afternoon in which all nine happen.
insert into climbing.member values (1, 'Ada'), (2, 'Bo'), (3, 'Cy');
insert into climbing.gym values (1, 'The Wall');
insert into climbing.route values (1, 1, 'Overhang', '6b', 3), (2, 1, 'Crack', '6a', 3);

create procedure climbing.afternoon() language plpgsql as $$
declare
  m int;
  p int;
begin
  insert into climbing.match (route_id, challenger_id, challenger_name, opponent_id) values (1, 1, 'Ada', 2) returning id into m;
  update climbing.match set state = 'made' where id = m;
  update climbing.match set opponent_ready = true where id = m;
  update climbing.match set state = 'cancelled', cancelled_by = 1 where id = m;
  insert into climbing.follow values (2, 1) on conflict do nothing;
  insert into climbing.post (author_id, author_name, title) values (1, 'Ada', 'What a day') returning id into p;
  insert into climbing.liked values (p, 2);
  insert into climbing.ascent (member_id, route_id, seconds) values (1, 1, 90);
  insert into climbing.ascent (member_id, route_id, seconds) values (2, 1, 80);
  insert into climbing.ascent (member_id, route_id, seconds) values (2, 1, 70);
end $$;
