"""Who sees which events, asked by many at once.

A university of 4,000 students with 160,000 enrolments in 600 offerings, and 2,000 events for everybody, for units, for staff,
for some students, offerings and intakes. 32 students list the events they see, for ten seconds the default page and for ten the
events of a month, each asking again as soon as the answer is there, while two members of staff create and change events.

Goals: nobody sees an answer of 500 or above, 99 % of the lists are answered within 2 s, and 50 students see exactly the events
that a query of another shape finds for them. The clients take their part of the same cores.

`visibility.py PROGRAM [SECONDS]`
"""

import asyncio
import json
import random
import statistics
import sys
import time

from common import QUIET, Connection, Goals, people, stand

SEED = 20260302
STUDENTS, EACH_IN, UNITS, EVENTS = 4000, 40, 300, 2000
CLIENTS, WRITERS, SAMPLED = 32, 2, 50
EVENTS_AT = "/api/core/events/"
# Of the five in EVERYTHING.
A_MONTH = "from=2026-05-01T00:00:00Z&to=2026-05-31T23:59:59Z"

# A unit is offered in two of eight intakes; a student is in one offering of each of forty units, so that none is in two
# of the same.
EVERYTHING = f"""
create function pg_temp.dice(said text, below int) returns int immutable language sql as
    $$ select (hashtext('{SEED} ' || said) & 2147483647) % below $$;
create temp table student as
    select id, row_number() over (order by id) as n from users where user_type = 'student';
insert into intakes (year, semester) select y, s from generate_series(2023, 2026) y, unnest(array['S1', 'S2']) s;
insert into units (code, name) select 'VIS' || n, 'Visible ' || n from generate_series(1, {UNITS}) n;
create temp table unit as select id, row_number() over (order by id) as n from units;
insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end)
    select u.id, i.year, i.semester, i.id, now() - interval '1 day', now() + interval '30 days'
      from unit u, intakes i
     where (i.year - 2023) % 4 = u.n % 4;
create temp table offering as
    select o.id, o.unit_id, row_number() over (partition by o.unit_id order by o.id) as half, row_number() over (order by o.id) as n
      from offerings o;
insert into enrollments (student_id, offering_id, status, withdrawn_date)
    select s.id, o.id, d.status, case when d.status = 'WITHDRAWN' then current_date end
      from student s
     cross join generate_series(0, {EACH_IN - 1}) k
      join unit u on u.n = 1 + (pg_temp.dice('first unit ' || s.n, {UNITS}) + 7 * k) % {UNITS}
      join offering o on o.unit_id = u.id and o.half = 1 + pg_temp.dice('half ' || s.n || ' ' || k, 2)
     cross join lateral (select (array['ENROLLED', 'ENROLLED', 'ENROLLED', 'PENDING', 'WITHDRAWN'])[
                                    1 + pg_temp.dice('status ' || s.n || ' ' || k, 5)] as status) d;
insert into enrollment_history (enrollment_id, from_status, to_status) select id, '', status from enrollments;
update offerings o set current_enrollment = e.seats
  from (select offering_id, count(*) as seats from enrollments where status <> 'WITHDRAWN' group by 1) e
 where e.offering_id = o.id;
insert into webhook_outbox (trigger_event, object_key, state)
    select 'enrollment.confirmed', 'enrollment:' || id, 'skipped' from enrollments where status = 'ENROLLED';

-- Of ten events one is for all students, one for each of the six kinds of target and relation, one for students and offerings
-- both, and two are for nobody in particular; each kind is of every visibility. One in twenty is deleted.
create temp table planned as
    select n, (n - 1) % 10 as kind, pg_temp.dice('visibility ' || n, 3) as sight from generate_series(1, {EVENTS}) n;
insert into events (title, description, start, "end", location, visibility, target_all_students, related_unit_id,
                    related_offering_id, deleted_at)
    select 'Event ' || p.n, repeat('What there is to know of it. ', 10), d.start, d.start + interval '2 hours', 'Room ' || p.n % 90,
           (array['public', 'unit', 'staff'])[1 + p.sight], p.kind = 0,
           (select id from unit where unit.n = 1 + pg_temp.dice('unit ' || p.n, {UNITS}) and p.kind = 1),
           (select id from offering where offering.n = 1 + pg_temp.dice('offering ' || p.n, {UNITS * 2}) and p.kind = 2),
           case when p.n % 20 = 7 then now() end
      from planned p
     cross join lateral (select timestamptz '2026-01-01 00:00Z' + pg_temp.dice('start ' || p.n, 365 * 24) * interval '1 hour' as start) d
     order by p.n;
create temp table event as select id, row_number() over (order by id) as n from events;
insert into event_target_students (event_id, student_id)
    select distinct e.id, s.id
      from event e join planned p using (n) cross join generate_series(1, 40) k
      join student s on s.n = 1 + pg_temp.dice('student ' || p.n || ' ' || k, {STUDENTS})
     where p.kind in (3, 6);
insert into event_target_offerings (event_id, offering_id)
    select distinct e.id, o.id
      from event e join planned p using (n) cross join generate_series(1, 5) k
      join offering o on o.n = 1 + pg_temp.dice('class ' || p.n || ' ' || k, {UNITS * 2})
     where p.kind in (4, 6);
insert into event_target_intakes (event_id, intake_id)
    select e.id, i.id
      from event e join planned p using (n) join intakes i on i.id % 8 = p.n % 8
     where p.kind in (5, 7);
insert into event_attendees (event_id, user_id)
    select distinct e.id, s.id
      from event e cross join generate_series(1, 20) k
      join student s on s.n = 1 + pg_temp.dice('guest ' || e.n || ' ' || k, {STUDENTS});
vacuum analyze;
select count(*) from enrollments;
"""

# From what a person is in to the events, where the server goes from the events to the person.
ORACLE = """
with sits as (
    select o.id, o.unit_id, o.intake_id
      from enrollments e
      join offerings o on o.id = e.offering_id
     where e.student_id = {student} and e.deleted_at is null and e.status in ('PENDING', 'ENROLLED', 'COMPLETED', 'FAILED')
),
seen as (
    select id from events where target_all_students
    union
    select event_id from event_target_students where student_id = {student}
    union
    select t.event_id from event_target_offerings t join sits on sits.id = t.offering_id
    union
    select t.event_id from event_target_intakes t join sits on sits.intake_id = t.intake_id
    union
    select e.id from events e join sits on sits.unit_id = e.related_unit_id where e.visibility = 'unit'
    union
    select e.id from events e join sits on sits.id = e.related_offering_id where e.visibility = 'unit'
    union
    (select id from events where visibility = 'public' and not target_all_students
     except select event_id from event_target_students
     except select event_id from event_target_offerings
     except select event_id from event_target_intakes)
)
select json_build_array(coalesce(json_agg(e.id order by e.start desc, e.id desc), '[]'),
                        coalesce(json_agg(e.id order by e.start desc, e.id desc)
                                     filter (where e.start between '2026-05-01' and '2026-05-31 23:59:59'), '[]'))
  from seen
  join events e using (id)
 where e.visibility <> 'staff' and e.deleted_at is null;
"""


async def load(goal, what, port, students, staff, path, seconds):
    """Everybody asks for the list again and again, while staff write."""
    ends = time.monotonic() + seconds
    times, statuses, size = [], [], 0

    async def reader(bearer):
        nonlocal size
        line = Connection(port)
        while time.monotonic() < ends:
            began = time.monotonic()
            status, content = await line.ask(bearer, "GET", path)
            times.append((time.monotonic() - began) * 1000)
            statuses.append(status)
            size += len(content)
        line.close()

    async def writer(number, bearer):
        dice, line, own = random.Random(SEED + number), Connection(port), []
        while time.monotonic() < ends:
            if not own or dice.random() < 0.5:
                body = {"title": f"Written {len(own)}", "start": f"2026-05-{dice.randint(1, 28):02}T09:00:00Z",
                        "visibility": dice.choice(["public", "unit", "staff"]),
                        "target_students": [user for user, _ in dice.sample(students, 5)]}
                status, made = await line.call(bearer, "POST", EVENTS_AT, body)
                if status == 201:
                    own.append(made["id"])
            else:
                body = {"visibility": dice.choice(["public", "unit", "staff"]), "target_all_students": dice.random() < 0.3}
                status, _ = await line.call(bearer, "PATCH", f"{EVENTS_AT}{dice.choice(own)}/", body)
            writes.append(status)
            await asyncio.sleep(0.05)
        line.close()

    writes = []
    await asyncio.gather(
        *(reader(bearer) for _, bearer in students[:CLIENTS]),
        *(writer(number, bearer) for number, (_, bearer) in enumerate(staff[:WRITERS])))
    cuts = statistics.quantiles(times, n=100)
    print(f"    {what}: {len(times) / seconds:.0f} lists/s of {size / len(times) / 1024:.0f} KiB, beside "
          f"{len(writes) / seconds:.0f} writes/s; p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms")
    goal(statuses.count(200) == len(statuses), f"{statuses.count(200)} of {len(statuses)} lists were given")
    failed = sum(status >= 500 for status in statuses + writes)
    goal(failed == 0, f"{failed} of {len(statuses) + len(writes)} answers were 500 or above")
    goal(all(status < 300 for status in writes), f"{sum(status < 300 for status in writes)} of {len(writes)} writes were done")
    goal(cuts[98] < 2000, f"99 % of the lists were answered within {cuts[98]:.0f} ms")


async def compare(goal, made, port, students):
    """What students are shown, and what the other query finds."""
    line, same, seen = Connection(port), 0, []
    for student, bearer in random.Random(SEED).sample(students, SAMPLED):
        shown = []
        for query in ["page_size=1000", f"page_size=1000&{A_MONTH}", ""]:
            status, events = await line.call(bearer, "GET", f"{EVENTS_AT}?{query}")
            shown.append([event["id"] for event in events] if status == 200 else status)
        everything, month = json.loads(made.sql(ORACLE.format(student=student)))
        same += shown == [everything, month, everything[:500]]
        seen.append(len(everything))
    line.close()
    goal(same == SAMPLED, f"{same} of {SAMPLED} students see exactly what they should: {min(seen)} to {max(seen)} events")


def main(program, seconds=10):
    goals = Goals()
    with stand(program, LOG_LEVEL=QUIET) as (made, [port]):
        students, staff = people(made, "student", STUDENTS), people(made, "staff", WRITERS)
        began = time.monotonic()
        enrolments = made.sql(EVERYTHING)
        print(f"    {EVENTS} events and {enrolments} enrolments, made in {time.monotonic() - began:.0f} s")
        asyncio.run(compare(goals.goal, made, port, students))
        asyncio.run(load(goals.goal, "default page", port, students, staff, EVENTS_AT, seconds))
        asyncio.run(load(goals.goal, "a month", port, students, staff, f"{EVENTS_AT}?{A_MONTH}", seconds))
        asyncio.run(compare(goals.goal, made, port, students))
        broken = made.broken_invariants()
        goals.goal(not broken, "every invariant holds" if not broken else "; ".join(broken))
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *(int(argument) for argument in sys.argv[2:])))
