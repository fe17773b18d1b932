-- What the demo page needs beyond climbing.sql: two members who follow each other, each with a post, and a route of the other's to climb.

insert into climbing.route values (11, 1, 'Blue arete', '6c', 1), (12, 1, 'Yellow slab', '5c', 2);
insert into climbing.follow values (1, 2), (2, 1);
insert into climbing.ascent (member_id, route_id, seconds) values (1, 1, 90), (2, 1, 95);
insert into climbing.post (author_id, author_name, title) values (1, 'Ada', 'What a day'), (2, 'Bo', 'First outdoor lead');
