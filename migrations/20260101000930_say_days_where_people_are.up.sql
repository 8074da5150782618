-- Why:   until seven in the morning a result, a withdrawal and a new student had the day before, and on 1 January the year before:
--        the day of a moment was the day in UTC. Every session says which zone the campus is in; a session that does not, such as
--        that of a migration, has UTC.
-- Locks: student_profiles and scholarship_applications, for a moment, for their new defaults.
-- Order: before the release that asks for local days.
-- Undo:  the down file gives the days of UTC back.

create function local_day() returns date
    language sql
    stable
    set search_path from current
as $$
    select (rule_now() at time zone coalesce(nullif(current_setting('swincms.time_zone', true), ''), 'UTC'))::date
$$;

alter table student_profiles
    alter column enrollment_date set default local_day();
alter table scholarship_applications
    alter column application_date set default local_day();
