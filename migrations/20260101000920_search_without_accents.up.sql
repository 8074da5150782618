-- Why:   people search and read lists in Vietnamese: a text is found however its accents, case and Unicode form are typed, a
--        student also by number, and names stand in the order of the Vietnamese alphabet.
-- Locks: the tables below, against writes and reads, while they get a column of their own and its index: a minute for
--        300,000 users.
-- Order: before the release that searches by these columns; the release before it goes on with a scan instead of an index.
-- Undo:  the down file; the columns hold nothing that is not made from others.

-- As texts are compared that shall be the same: in compatible letters, in lower case, without invisible signs, with single
-- blanks. The collation is named, since the database's own may know ASCII alone.
create function same_text(text text)
returns text
language sql
immutable
parallel safe
return btrim(regexp_replace(
    regexp_replace(
        lower(normalize(text, NFKC) collate "und-x-icu"),
        '[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0]',
        '', 'g'),
    '[\s\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+', ' ', 'g'));

-- As texts are searched: the same, without accents, in plain letters, dashes and quotation marks.
create function plain_text(text text)
returns text
language sql
immutable
parallel safe
return translate(
    regexp_replace(normalize(same_text(text), NFD), '[\u0300-\u036f]', '', 'g'),
    'đðħıłøŧ‐‑‒–—―−‘’‚“”„',
    'ddhilot-------"""');

-- What `like` is asked for so that a text has this word somewhere; what `like` gives a meaning is taken literally.
create function search_pattern(word text)
returns text
language sql
immutable
parallel safe
return '%' || replace(replace(replace(plain_text(word), '\', '\\'), '%', '\%'), '_', '\_') || '%';

-- The number of the profile, where a search of people looks for it.
alter table users
    add column student_number text not null default ''
        constraint users_student_number_fits check (char_length(student_number) <= 32);
update users u
   set student_number = p.student_id
  from student_profiles p
 where p.user_id = u.id
   and p.deleted_at is null;

create function keep_student_number()
returns trigger
language plpgsql
as $$
begin
    update users u
       set student_number = coalesce((select student_id from student_profiles where user_id = u.id and deleted_at is null), '')
     where u.id in (old.user_id, new.user_id)
       and u.student_number <> coalesce((select student_id from student_profiles where user_id = u.id and deleted_at is null), '');
    return null;
end
$$;
create trigger student_profiles_keep_student_number
    after insert or update of user_id, student_id, deleted_at or delete on student_profiles
    for each row execute function keep_student_number();

drop index users_by_search_text;
drop index courses_by_search_text;
drop index units_by_search_text;
drop index events_by_search_text;
drop index tickets_by_search_text;
drop index pages_by_search_text;

alter table users
    add column search_text text not null generated always as (plain_text(first_name || ' ' || last_name || ' ' || email || ' ' || username || ' ' || student_number)) stored;
create index users_by_search_text
    on users using gin (search_text gin_trgm_ops);
alter table courses
    add column search_text text not null generated always as (plain_text(code || ' ' || name)) stored;
create index courses_by_search_text
    on courses using gin (search_text gin_trgm_ops);
alter table units
    add column search_text text not null generated always as (plain_text(code || ' ' || name)) stored;
create index units_by_search_text
    on units using gin (search_text gin_trgm_ops);
alter table unit_resources
    add column search_text text not null generated always as (plain_text(title || ' ' || description)) stored;
create index unit_resources_by_search_text
    on unit_resources using gin (search_text gin_trgm_ops);
alter table events
    add column search_text text not null generated always as (plain_text(title || ' ' || description)) stored;
create index events_by_search_text
    on events using gin (search_text gin_trgm_ops);
alter table tickets
    add column search_text text not null generated always as (plain_text(title || ' ' || description)) stored;
create index tickets_by_search_text
    on tickets using gin (search_text gin_trgm_ops);
alter table ticket_comments
    add column search_text text not null generated always as (plain_text(comment)) stored;
create index ticket_comments_by_search_text
    on ticket_comments using gin (search_text gin_trgm_ops);
alter table pages
    add column search_text text not null generated always as (plain_text(title || ' ' || content)) stored;
create index pages_by_search_text
    on pages using gin (search_text gin_trgm_ops);
alter table resources
    add column search_text text not null generated always as (plain_text(title)) stored;
create index resources_by_search_text
    on resources using gin (search_text gin_trgm_ops);
alter table forms
    add column search_text text not null generated always as (plain_text(name || ' ' || slug || ' ' || description)) stored;
create index forms_by_search_text
    on forms using gin (search_text gin_trgm_ops);
alter table scholarships
    add column search_text text not null generated always as (plain_text(name || ' ' || description)) stored;
create index scholarships_by_search_text
    on scholarships using gin (search_text gin_trgm_ops);
alter table achievements
    add column search_text text not null generated always as (plain_text(name || ' ' || description)) stored;
create index achievements_by_search_text
    on achievements using gin (search_text gin_trgm_ops);
alter table roles
    add column search_text text not null generated always as (plain_text(name || ' ' || description)) stored;
create index roles_by_search_text
    on roles using gin (search_text gin_trgm_ops);

-- Orderings by name. Each goes on by id, which breaks ties.
drop index users_by_last_name_first_name_id;
drop index users_recipients_by_last_name_first_name_id;
create index users_by_last_name_first_name_id
    on users (last_name collate "vi-x-icu", first_name collate "vi-x-icu", id);
create index users_by_last_name_id
    on users (last_name collate "vi-x-icu", id);
create index users_by_first_name_id
    on users (first_name collate "vi-x-icu", id);
create index users_recipients_by_last_name_first_name_id
    on users (last_name collate "vi-x-icu", first_name collate "vi-x-icu", id)
    where is_active and user_type in ('staff', 'unit_convenor', 'admin');
create index units_by_name_id
    on units (name collate "vi-x-icu", id);
create index courses_by_name_id
    on courses (name collate "vi-x-icu", id);
create index unit_resources_by_title_id
    on unit_resources (title collate "vi-x-icu", id);
create index events_by_title_id
    on events (title collate "vi-x-icu", id);
create index pages_by_title_id
    on pages (title collate "vi-x-icu", id);
create index resources_by_title_id
    on resources (title collate "vi-x-icu", id);
create index forms_by_name_id
    on forms (name collate "vi-x-icu", id);
create index scholarships_by_name_id
    on scholarships (name collate "vi-x-icu", id);
create index achievements_by_name_id
    on achievements (name collate "vi-x-icu", id);
create index roles_by_name_id
    on roles (name collate "vi-x-icu", id);
create index workflows_by_name_id
    on workflows (name collate "vi-x-icu", id);
