-- Why:   a student's page and a convenor's told two rates for one class; who came late was absent from the start; students entered
--        and left classes that were over. What is over, and which classes count for whom, is said here alone.
-- Locks: enrollments, for a moment; the new column has no default, so no row is touched.
-- Order: before the release that counts by it. Of enrolments from before, all classes of the offering count, as they did.
-- Undo:  the down file; when a seat was granted is then in the history alone.

create function local_time_of(moment timestamptz) returns timestamp
    language sql
    stable
as $$
    select moment at time zone coalesce(nullif(current_setting('swincms.time_zone', true), ''), 'UTC')
$$;

-- When the seat was granted last; null where it is not known, or not granted yet.
alter table enrollments add column enrolled_at timestamptz;

-- Whose year is past, or whose last class has ended. It is asked of one offering at a time, by `exists`: `in` looks at all of them.
create view offerings_over as
select o.id as offering_id
  from offerings o
 where o.year < (select date_part('year', local_day()))
    or (exists (select
                  from class_sessions s
                 where s.offering_id = o.id
                   and s.status = 'scheduled'
                   and s.deleted_at is null)
        and not exists (select
                          from class_sessions s
                         where s.offering_id = o.id
                           and s.date >= (select local_day())
                           and s.date + coalesce(s.end_time, s.start_time) > (select local_time_of(rule_now()))
                           and s.status = 'scheduled'
                           and s.deleted_at is null));

-- For whoever holds a granted seat, the classes that have begun since it was granted, and those before in which they were marked.
create view counted_classes as
select e.id as enrollment_id,
       e.student_id,
       e.offering_id,
       s.id as session_id,
       a.status
  from enrollments e
  join class_sessions s on s.offering_id = e.offering_id
  left join attendance_records a on a.session_id = s.id
                                and a.student_id = e.student_id
                                and a.deleted_at is null
 where e.deleted_at is null
   and e.status in ('ENROLLED', 'COMPLETED', 'FAILED')
   and s.status = 'scheduled'
   and s.deleted_at is null
   and s.date + s.start_time <= (select local_time_of(rule_now()))
   and (a.id is not null or e.enrolled_at is null or s.date + s.start_time >= local_time_of(e.enrolled_at));
