"""How many rows a second come in: accounts and enrolments of demo data and of a students' file, events of a CSV file, the rolls of
classes. Each is one transaction; the rolls are ten, of a thousand records each.
"""

import http.client
import json
import re
import subprocess
import time
from pathlib import Path

from common import people

LEAST = 20_000
EVENTS, CLASSES, CLASS = 20_000, 10, 1_000
FILED = 150


def imports(bench):
    bench.made.sql("create database imports template template0")
    other = bench.made.beside("imports")
    other.run("migrate")
    for what, rows, seconds in [*commands(bench, other), *calls(other)]:
        bench.table.row(f"{what}: {rows} rows", rows >= LEAST * seconds, f">= {LEAST} rows/s", rows / seconds)


def commands(bench, other):
    students = 5_000 if bench.quick else 20_000
    said = run(other, "seed", "--students", str(students))
    made = {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", said.split(" in ")[0])}
    yield "accounts and enrolments, made up", made["accounts"] + made["enrolments"], float(re.search(r"in ([\d.]+) s", said)[1])

    # Everything that is over, for some who did all of it; hashing their passwords is not writing.
    done = json.loads(other.sql("""
        select json_agg(json_build_object('unit', u.code, 'year', o.year, 'semester', o.semester, 'status', 'COMPLETED',
                                          'grade', 'P', 'marks', '55.00', 'completion_date', current_date))
          from offerings o
          join units u on u.id = o.unit_id
         where o.capacity = 0
           and not exists (select from unit_anti_requisites x where u.id in (x.lower_unit_id, x.upper_unit_id))"""))
    rows = [{"full_name": f"Load Student{n}", "username": f"load{n}", "email": f"load{n}@swin.edu.au",
             "password": f"quite-{n}-unlikely-{n * 7919}", "enrollments": done} for n in range(FILED)]
    path = Path(other.folder) / "students.json"
    path.write_text(json.dumps(rows))
    said = run(other, "import", "students", "--quiet", str(path))
    writing, written = re.search(r"of which ([\d.]+) s to write (\d+) rows", said).groups()
    yield "a students' file, its writing", int(written), float(writing)


def calls(other):
    with other.server() as port:
        [(_, staff)] = people(other, "staff", 1)
        people(other, "student", CLASS)
        lines = [f"Event {n},2026-{1 + n % 12:02}-{1 + n % 28:02}T09:00:00,2026-{1 + n % 12:02}-{1 + n % 28:02}T11:00:00,What there is to know,Hall {n % 90},public"
                 for n in range(EVENTS)]
        content = "title,start,end,description,location,visibility\n" + "\n".join(lines) + "\n"
        edge = "drill-edge"
        body = (f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="events.csv"\r\nContent-Type: text/csv\r\n\r\n'
                f"{content}\r\n--{edge}--\r\n")
        began = time.monotonic()
        made = post(port, staff, "/api/core/events/import-csv/", body, f"multipart/form-data; boundary={edge}")
        yield "events, a CSV file", made["created_count"], time.monotonic() - began

        classes, students = json.loads(other.sql(f"""
            with unit as (insert into units (code, name) values ('ROL10001', 'Rolls') returning id),
            intake as (insert into intakes (year, semester) values (2099, 'S1') returning id),
            offering as (
                insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end, current_enrollment)
                select unit.id, 2099, 'S1', intake.id, now() - interval '1 day', now() + interval '1 day', {CLASS} from unit, intake
                returning id
            ),
            sits as (
                insert into enrollments (student_id, offering_id, status)
                select u.id, offering.id, 'ENROLLED' from users u, offering where u.username like 'drill-student%' returning student_id
            ),
            class as (
                insert into class_sessions (offering_id, date, start_time, end_time)
                select offering.id, current_date - n, '09:00', '11:00' from offering, generate_series(1, {CLASSES}) n returning id
            )
            select json_build_array((select json_agg(id) from class), (select json_agg(student_id) from sits))"""))
        rolls = json.dumps({"records": [{"student": student, "status": "present"} for student in students]})
        began = time.monotonic()
        marked = sum(post(port, staff, f"/api/core/sessions/{one}/attendance/", rolls)["done_count"] for one in classes)
        yield "attendance, a thousand a call", marked, time.monotonic() - began


def run(other, *arguments):
    done = subprocess.run([other.program, *arguments], env=other.env | {"BIND": "127.0.0.1:0"}, text=True, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def post(port, bearer, path, body, media_type="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, body.encode(), {"Authorization": f"Bearer {bearer}", "Content-Type": media_type})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {content[:2000]}")
    return json.loads(content)
