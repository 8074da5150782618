-- Why:   people name a student by number or mail address, as imports do; each place asked for the id.
-- Locks: none.
-- Order: before the release that asks it.
-- Undo:  the down file.

create function students_named(spelt text) returns setof bigint
    language sql
    stable
    set search_path from current
as $$
    select id from users where lower(email) = lower(spelt)
     union
    select user_id from student_profiles where student_id = spelt and deleted_at is null
     union
    select spelt::bigint where spelt ~ '^[1-9][0-9]{0,14}$'
$$;
