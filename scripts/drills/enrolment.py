"""The first day of the semester, through two server processes.

First a rush, 20 times: 2,000 students ask at once for one of 100 seats. Goals: exactly 100 get one, the counter equals the
rows, everybody else is told that it is full, and all are answered within 3 s.

Then 100,000 random operations (enrol, withdraw, approve, reject, grade, capacity) by 32 clients that get into each other's
way. Goals: nobody sees an answer of 500 or above, so no deadlock either, and every statement of tests/invariants.sql holds.

`enrolment.py PROGRAM [ROUNDS [OPERATIONS]]`
"""

import asyncio
import collections
import json
import random
import sys
import time

from common import QUIET, Connection, Goals, people, stand

STUDENTS, SEATS, CLIENTS = 2000, 100, 32
ENROLLMENTS = "/api/enrollment/enrollments/"
GRADES = ["HD", "D", "C", "P", "N", "F", "A-", "B+"]

OFFER = """
with i as (insert into intakes (year, semester) select {year}, 'S1'
            where not exists (select from intakes where year = {year} and semester = 'S1') returning id),
     term as (select id from i union all select id from intakes where year = {year} and semester = 'S1'),
     u as (insert into units (code, name) select '{prefix}' || n, 'Drill ' || n from generate_series(1, {count}) n
           returning id, code),
     o as (insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end, capacity,
                                  requires_approval)
           select u.id, {year}, 'S1', term.id, now() - interval '1 day', now() + interval '30 days', {capacity}, {approval}
             from u, term returning id, unit_id)
select json_agg(json_build_array(id, unit_id) order by id) from o;
"""


async def rush(goal, made, ports, students, rounds):
    offers = json.loads(made.sql(OFFER.format(year=2027, prefix="RUSH", count=rounds, capacity=SEATS, approval="true")))
    slowest, exact, told = 0.0, 0, 0
    for offering, _ in offers:
        lines = [Connection(ports[n % len(ports)]) for n in range(len(students))]
        wanted = {"offering": offering}
        began = time.monotonic()
        answers = await asyncio.gather(
            *(line.call(bearer, "POST", ENROLLMENTS, wanted) for line, (_, bearer) in zip(lines, students)))
        took = time.monotonic() - began
        for line in lines:
            line.close()
        codes = collections.Counter(body.get("code", body.get("status")) for _, body in answers)
        counted = made.sql(
            f"select current_enrollment, (select count(*) from enrollments where offering_id = {offering}) "
            f"from offerings where id = {offering}"
        )
        exact += counted == f"{SEATS}|{SEATS}" and codes["PENDING"] == SEATS
        told += codes["offering_full"] == len(students) - SEATS
        slowest = max(slowest, took)
        if codes != {"PENDING": SEATS, "offering_full": len(students) - SEATS}:
            print("   ", dict(codes))
        # So that the next round is not refused for what waits from this one.
        made.sql(f"update enrollments set status = 'ENROLLED' where offering_id = {offering};"
                 f"insert into enrollment_history (enrollment_id, from_status, to_status) "
                 f"select id, 'PENDING', 'ENROLLED' from enrollments where offering_id = {offering};"
                 f"insert into webhook_outbox (trigger_event, object_key, state) "
                 f"select 'enrollment.confirmed', 'enrollment:' || id, 'skipped' from enrollments where offering_id = {offering}")
    goal(exact == rounds, f"{exact} of {rounds} rounds gave exactly {SEATS} seats, the counter equal to the rows")
    goal(told == rounds, f"in {told} of {rounds} all {len(students) - SEATS} others were told that it is full")
    goal(slowest <= 3, f"the slowest round of {len(students)} was answered within {slowest:.2f} s")


async def mix(goal, made, ports, students, staff, operations):
    offers = json.loads(made.sql(OFFER.format(year=2028, prefix="MIX", count=40, capacity=12, approval="n % 4 > 0".replace(
        "n ", "right(u.code, 1)::int "))))
    units = [unit for _, unit in offers]
    pairs = ", ".join(f"({units[n]}, {units[n + 1]})" for n in range(0, 16, 2))
    needs = ", ".join(f"({units[n + 1]}, {units[n]})" for n in range(20, 26, 2))
    made.sql(f"insert into unit_anti_requisites (lower_unit_id, upper_unit_id) values {pairs};"
             f"insert into unit_prerequisites (unit_id, prerequisite_id) values {needs}")
    offerings = [offering for offering, _ in offers]
    # Few people on few seats, so that they meet.
    crowd = students[:120]
    known, statuses = collections.deque(maxlen=400), collections.Counter()

    async def client(number):
        dice = random.Random(number)
        own = [bearer for _, bearer in crowd[number % 4::4]]
        lines = [Connection(port) for port in ports]
        for _ in range(operations // CLIENTS):
            who, office, line = dice.choice(own), dice.choice(staff)[1], dice.choice(lines)
            some = [dice.choice(known) for _ in range(dice.randint(1, 6))] if known else [1]
            act = dice.choices(
                ["enrol", "withdraw", "approve", "reject", "grade", "correct", "capacity", "active", "bulk-approve",
                 "bulk-grade", "delete"],
                [34, 16, 14, 6, 6, 3, 6, 2, 5, 4, 1],
            )[0]
            call = {
                "enrol": lambda: line.call(who, "POST", ENROLLMENTS, {"offering": dice.choice(offerings)}),
                "withdraw": lambda: line.call(dice.choice([who, office]), "POST", f"{ENROLLMENTS}{some[0]}/withdraw/"),
                "approve": lambda: line.call(office, "POST", f"{ENROLLMENTS}{some[0]}/approve/"),
                "reject": lambda: line.call(office, "POST", f"{ENROLLMENTS}{some[0]}/reject/", {"notes": "full"}),
                "grade": lambda: line.call(office, "PATCH", f"{ENROLLMENTS}{some[0]}/", result(dice)),
                "correct": lambda: line.call(office, "PATCH", f"{ENROLLMENTS}{some[0]}/", result(dice) | {"reason": "again"}),
                "capacity": lambda: line.call(
                    office, "PATCH", f"/api/academic/offerings/{dice.choice(offerings)}/", {"capacity": dice.choice([0, 8, 12, 20])}),
                "active": lambda: line.call(
                    office, "PATCH", f"/api/academic/offerings/{dice.choice(offerings)}/", {"is_active": dice.random() < 0.8}),
                "bulk-approve": lambda: line.call(office, "POST", f"{ENROLLMENTS}bulk-approve/", {"ids": some}),
                "bulk-grade": lambda: line.call(
                    office, "POST", f"{ENROLLMENTS}bulk-grade/", {"rows": [
                        {"id": one, "status": "WITHDRAWN"} if dice.random() < 0.5 else {"id": one, "grade": dice.choice(GRADES)}
                        for one in some]}),
                # By staff, who may not.
                "delete": lambda: line.call(office, "DELETE", f"{ENROLLMENTS}{some[0]}/"),
            }[act]
            status, body = await call()
            statuses[act, status] += 1
            if status >= 500:
                print("   ", act, status, body)
            if act == "enrol" and status == 201:
                known.append(body["id"])
        for line in lines:
            line.close()

    began = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    took = time.monotonic() - began
    total = sum(statuses.values())
    for (act, status), count in sorted(statuses.items()):
        print(f"    {act:<13} {status} {count:>7}")
    failed = sum(count for (_, status), count in statuses.items() if status >= 500)
    goal(failed == 0, f"{failed} of {total} operations were answered with 500 or above, in {took:.0f} s ({total / took:.0f}/s)")
    deadlocks = made.sql("select deadlocks from pg_stat_database where datname = current_database()")
    print(f"    deadlocks that the database counted: {deadlocks}")


def result(dice):
    grade = dice.choice(GRADES)
    return {"status": "FAILED" if grade in "NF" else "COMPLETED", "grade": grade, "marks": dice.randint(0, 100)}


def main(program, rounds=20, operations=100_000):
    goals = Goals()
    with stand(program, servers=2, LOG_LEVEL=QUIET, DB_POOL_SIZE="16") as (made, ports):
        students, staff = people(made, "student", STUDENTS), people(made, "staff", 4)
        asyncio.run(rush(goals.goal, made, ports, students, rounds))
        asyncio.run(mix(goals.goal, made, ports, students, staff, operations))
        broken = made.broken_invariants()
        goals.goal(not broken, "every invariant holds" if not broken else "; ".join(broken))
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *(int(argument) for argument in sys.argv[2:])))
