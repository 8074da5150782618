"""The audit log under load, and in the wrong hands.

While clients write through two server processes, `audit verify` is run again and again: it must never find a fault. Then rows
older than two seconds are changed by hand, one change at a time, past the triggers: each must be found and its row named.
"""

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from common import Goals, stand

CLIENTS = 8
LOAD_SECONDS = int(os.environ.get("DRILL_SECONDS", 30))
TAMPERINGS = int(os.environ.get("DRILL_TAMPERINGS", 1000))
SEED = int(os.environ.get("DRILL_SEED", 7))
PEOPLE = json.loads(Path("src/cli/demo/people.json").read_text())
STAFF = next(person for person in PEOPLE if person["email"].startswith("staff@"))


def call(port, method, path, body, token=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text or b"null")


def write(port, token, client, stop, counts):
    number = 0
    while not stop.is_set():
        body = {"code": f"D{client}-{number}", "name": "Drill"}
        status, made = call(port, "POST", "/api/academic/courses/", body, token)
        assert status == 201, made
        status, made = call(port, "PATCH", f"/api/academic/courses/{made['id']}/", {"name": "Drilled"}, token)
        assert status == 200, made
        number += 1
        counts[client] = 2 * number


def verify(made):
    """The report, and how long it took."""
    began = time.monotonic()
    command = [made.program, "audit", "verify", "--json"]
    done = subprocess.run(command, env=made.env, text=True, capture_output=True)
    if not done.stdout:
        sys.exit(done.stderr)
    return json.loads(done.stdout), time.monotonic() - began


def tampering(rows, random):
    """A kind of change, its statement, and the ids that must be named."""
    row, other = random.sample(rows, 2)
    columns = [
        "user_id = coalesce(user_id, 0) + 1", "action = action || 'x'", "resource_type = resource_type || 'x'",
        "resource_id = coalesce(resource_id, 0) + 1", "details = details || '{\"x\": 1}'", "details = '{}'",
        "salt = sha256(salt)", "details_digest = sha256(details_digest)", "ip_address = '203.0.113.77'",
        "user_agent = user_agent || 'x'", "origin_salt = sha256(origin_salt)", "origin_digest = sha256(origin_digest)",
        "request_id = request_id || 'x'", "created_at = created_at - interval '1 second'",
        "details = '{}', salt = ''", "ip_address = null, user_agent = '', origin_salt = ''",
    ]
    kind = random.choice(["edit", "delete", "insert", "reorder"])
    if kind == "edit":
        return kind, f"update audit_log set {random.choice(columns)} where id = {row}", {row}
    if kind == "delete":
        return kind, f"delete from audit_log where id = {row}", {row}
    if kind == "insert":
        new = 10**12 + random.randrange(10**9)
        return kind, f"""insert into audit_log
            select (jsonb_populate_record(a, jsonb_build_object('id', {new}))).* from audit_log a where id = {row}""", {new}
    return kind, f"""update audit_log a set position = b.position, created_at = b.created_at
        from audit_log b where (a.id, b.id) in (({row}, {other}), ({other}, {row}))""", {row, other}


def by_hand(made, statement):
    made.sql(f"set session_replication_role = replica; begin; {statement}; commit;")


def under_load(made, ports, goals):
    status, tokens = call(ports[0], "POST", "/api/token/", {"email": STAFF["email"], "password": STAFF["password"]})
    assert status == 200, tokens
    stop, counts = threading.Event(), [0] * CLIENTS
    clients = [
        threading.Thread(target=write, args=(ports[n % len(ports)], tokens["access"], n, stop, counts))
        for n in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    until, reports = time.monotonic() + LOAD_SECONDS, []
    while time.monotonic() < until:
        reports.append(verify(made))
    stop.set()
    for client in clients:
        client.join()
    wrong = [report["faults"] for report, _ in reports if not report["ok"]]
    slowest = max(took for _, took in reports)
    print(f"{sum(counts)} writes in {LOAD_SECONDS} s; {len(reports)} checks, the slowest {slowest:.2f} s")
    goals.goal(not wrong, f"{len(wrong)} false alarms under load")


def in_wrong_hands(made, goals):
    time.sleep(2.5)
    report, took = verify(made)
    print(f"{report['rows']} rows under {report['seals']} seals, checked in {took:.2f} s")
    goals.goal(report["ok"] and report["not_sealed_yet"] == 0, "every row older than 2 s is sealed")
    # After the last one a row can be added, as the server does.
    older = "select id from audit_log where position < (select max(position) from audit_log)"
    rows = [int(row) for row in made.sql(older).split()]
    made.sql("create table kept as table audit_log")
    choose, found, missed = random.Random(SEED), {}, []
    for _ in range(TAMPERINGS):
        kind, statement, expected = tampering(rows, choose)
        by_hand(made, statement)
        report, _ = verify(made)
        named = {fault["row"] for fault in report["faults"] if fault["row"]}
        if named == expected:
            found[kind] = found.get(kind, 0) + 1
        else:
            missed.append((statement, sorted(expected), sorted(named)))
        touched = ", ".join(map(str, expected))
        by_hand(made, f"""delete from audit_log where id in ({touched});
            insert into audit_log select * from kept where id in ({touched})""")
    for statement, expected, named in missed[:10]:
        print(f"  expected {expected}, named {named}: {statement}")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(found.items())))
    goals.goal(sum(found.values()) == TAMPERINGS, f"{sum(found.values())} of {TAMPERINGS} changes by hand are found and named")
    report, _ = verify(made)
    goals.goal(report["ok"], "once all is put back nothing is at fault")


def main(program):
    goals = Goals()
    with stand(program, servers=2, seed=("--students", "5")) as (made, ports):
        under_load(made, ports, goals)
        in_wrong_hands(made, goals)
        broken = made.broken_invariants()
        goals.goal(not broken, f"the data keeps its invariants {broken or ''}".rstrip())
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
