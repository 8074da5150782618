"""Data to measure on: a university that can grow from a thousand students to a hundred thousand.

A student has ten enrolments: five units completed, one failed, one withdrawn from, two attended now, one asked for. A hundred
units are offered now and were in eight semesters before; the course allows all of them. Enrolments are as old as their
semester. Only what the measured requests read is there: no history, no decisions, no mail.
"""

import json

from common import token

UNITS, PAST, EACH_IN = 100, 8, 10
SAMPLED = 2

# Once.
FOUNDED = f"""
insert into courses (code, name, description) values ('BA-LOAD', 'Bachelor of Load', repeat('What it is about. ', 20));
insert into users (email, username, first_name, last_name, password_hash, user_type, is_staff, is_superuser, department, position)
    select kind || i || '@swin.edu.au', kind || i, initcap(kind), 'Person ' || i, '!', kind, kind = 'admin', kind = 'admin',
           'Computing', 'Lecturer'
      from (values ('staff', 50), ('admin', 1)) k (kind, count), generate_series(1, k.count) i;
insert into units (code, name, description, convenor_id)
    select 'LOD' || 10000 + n, 'Load and how to bear it ' || n, repeat('What is taught. ', 20), (select min(id) from users)
      from generate_series(1, {UNITS}) n;
create table load_unit as select id, row_number() over (order by id) as n from units;
insert into course_units (course_id, unit_id, is_elective) select c.id, u.id, u.n % 5 = 0 from courses c, load_unit u;
insert into unit_prerequisites (unit_id, prerequisite_id)
    select u.id, p.id from load_unit u join load_unit p on p.n = u.n - 10;
insert into unit_anti_requisites (lower_unit_id, upper_unit_id)
    select u.id, x.id from load_unit u join load_unit x on x.n = u.n + 50 where u.n % 10 = 1;
insert into intakes (year, semester)
    select extract(year from now())::int - 1 - k / 2, (array['S1', 'S2'])[1 + k % 2] from generate_series(0, {PAST - 1}) k;
insert into intakes (year, semester) values (extract(year from now())::int + 1, 'S1');
create table load_intake as select id, year, semester, row_number() over (order by year, semester) - 1 as k from intakes;
insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end, notes)
    select u.id, i.year, i.semester, i.id, d.opens, d.opens + interval '60 days', 'Bring a laptop.'
      from load_unit u, load_intake i
     cross join lateral (select case when i.k = {PAST} then now() - interval '13 days'
                                     else make_timestamptz(i.year, 1, 1, 0, 0, 0, 'UTC') end as opens) d;
create table load_offering as
    select o.id, u.n, i.k, o.enrollment_start as opens
      from offerings o join load_unit u on u.id = o.unit_id join load_intake i on i.id = o.intake_id;
create unique index on load_offering (n, k);
insert into class_sessions (offering_id, date, start_time, end_time, location, instructor_id)
    select o.id, current_date - 28 + 7 * week + (o.n / 50)::int, '09:00', '11:00', 'Hall ' || o.n, (select min(id) from users) + o.n % 50
      from load_offering o, generate_series(0, 11) week
     where o.k = {PAST};
"""

# As often as it grows; `from` and `to` are numbers of students.
GROWN = f"""
set synchronous_commit = off;
create temp table new as
with made as (
    insert into users (email, username, first_name, last_name, password_hash, user_type)
    select 's' || 100000000 + n || '@student.swin.edu.au', 's' || 100000000 + n, 'Given ' || n % 997, 'Family ' || n % 9973, '!', 'student'
      from generate_series({{first}}, {{last}}) n
    returning id, username
)
select id, substr(username, 2)::int - 100000000 as n from made;
insert into student_profiles (user_id, student_id, enrollment_date, course_id)
    select new.id, 100000000 + new.n, current_date - 900, c.id from new, courses c;
insert into gold_accounts (student_id) select id from new;
insert into enrollments (student_id, offering_id, status, grade, marks, withdrawn_date, completion_date, requested_at, created_at, updated_at)
    select new.id, o.id, s.status, s.grade, s.marks, case when s.status = 'WITHDRAWN' then d.day::date end,
           case when s.grade <> '' then d.day::date + 120 end, d.day, d.day, d.day
      from (values (0, 'COMPLETED', 'HD', 91), (1, 'COMPLETED', 'D', 74), (2, 'COMPLETED', 'C', 65), (3, 'COMPLETED', 'P', 55),
                   (4, 'COMPLETED', 'D', 78), (5, 'FAILED', 'N', 35), (6, 'WITHDRAWN', '', null), (7, 'ENROLLED', '', null),
                   (8, 'ENROLLED', '', null), (9, 'PENDING', '', null)) s (k, status, grade, marks)
     cross join new
      join load_offering o on o.n = 1 + (new.n * 13 + 7 * s.k) % {UNITS} and o.k = least(s.k, {PAST})
     cross join lateral (select o.opens + new.n * interval '10 seconds' as day) d
     order by s.k, new.n;
update offerings o set current_enrollment = e.seats
  from (select offering_id, count(*) as seats from enrollments where status <> 'WITHDRAWN' group by 1) e
 where e.offering_id = o.id;
"""

# Students who were there from the beginning are logged in, the same in each copy of the database; they went to their classes.
LOGGED_IN = f"""
create temp table sampled as
    (select id from users where user_type = 'student' order by id limit {SAMPLED})
    union all
    (select min(id) from users where user_type in ('staff', 'admin') group by user_type);
insert into attendance_records (session_id, student_id, status)
    select c.id, e.student_id, 'present'
      from sampled s join enrollments e on e.student_id = s.id and e.status = 'ENROLLED'
      join class_sessions c on c.offering_id = e.offering_id and c.date < current_date;
with opened as (
    insert into sessions (user_id, refresh_hash, expires_at)
    select id, sha256(id::text::bytea), now() + interval '1 day' from sampled returning user_id, id
)
select json_agg(json_build_array(u.user_type, u.id, o.id) order by u.id) from opened o join users u on u.id = o.user_id;
"""


def found(sql, enrolments):
    """Makes the university with so many enrolments, and gives who is logged in: by user type, (id, token) of each."""
    sql(FOUNDED)
    grow(sql, 0, enrolments)
    who = {}
    for kind, user, session in json.loads(sql(LOGGED_IN)):
        who.setdefault(kind, []).append((user, token(user, session)))
    return who


def grow(sql, before, after):
    """More students, until there are `after` enrolments."""
    sql(GROWN.format(first=before // EACH_IN + 1, last=after // EACH_IN))
    sql("vacuum analyze")
