"""10,000 webhooks to a receiver that fails, while the processes that send them are killed.

Teachers mark classes present and absent in turn, so that each of 500 students causes 20 messages, in order. A receiver on
this machine refuses 30 % of the calls: it answers 500, hangs up, or answers too late. Two server processes send, and one of
them is killed with SIGKILL, 50 times, and started again; calls that were cut off are sent again with their Idempotency-Key.
WEBHOOK_SPEED compresses the clock of the retries.

Goals: every message arrives and is accepted, each signed and under one id however often it comes; none that has no
committed cause; none before an older one about the same student was accepted; every statement of tests/invariants.sql holds.

`outbox.py PROGRAM [MESSAGES [KILLS]]`
"""

import base64
import collections
import hashlib
import hmac
import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

try:
    # The specification's own package, where it is installed: a second opinion on the signatures.
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
except ImportError:
    Webhook = None

from common import QUIET, Goals, free_port, people, stand

STUDENTS, CLASSES, SPEED = 500, 5, 20

SEAT = """
with u as (insert into units (code, name) values ('HOOK', 'Drill') returning id),
     i as (insert into intakes (year, semester) values (2027, 'S1') returning id),
     o as (insert into offerings (unit_id, year, semester, intake_id, enrollment_start, enrollment_end, current_enrollment)
           select u.id, 2027, 'S1', i.id, now() - interval '1 day', now() + interval '30 days', {count} from u, i returning id),
     e as (insert into enrollments (student_id, offering_id, status)
           select s.id, o.id, 'ENROLLED' from o, users s where s.user_type = 'student' returning id, offering_id),
     h as (insert into enrollment_history (enrollment_id, from_status, to_status) select id, '', 'ENROLLED' from e),
     c as (insert into class_sessions (offering_id, date, start_time)
           select o.id, current_date - 1, time '08:00' + n * interval '1 hour' from o, generate_series(1, {classes}) n returning id)
select json_agg(id order by id) from c;
"""


class Receiver:
    """Records what comes, and fails when the dice say so."""

    def __init__(self):
        self.lock, self.dice = threading.Lock(), random.Random(5)
        self.calls = collections.Counter()
        # By webhook-id: its number, how often it came, and whether it was accepted; and the same by object.
        self.messages, self.objects = {}, collections.defaultdict(list)
        self.faults, self.secret, self.verified = [], None, 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                how = receiver.heard(self.headers, body)
                try:
                    if how == "late":
                        time.sleep(10 / SPEED * 1.5)
                    if how == "hangs up":
                        self.close_connection = True
                        return
                    self.send_response(500 if how == "500" else 200)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 128

            # A sender that was killed leaves broken connections.
            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def heard(self, headers, body):
        key, number = headers["webhook-id"], int(headers["webhook-id"].removeprefix("msg_"))
        signed = f"{key}.{headers['webhook-timestamp']}.".encode() + body
        wanted = "v1," + base64.b64encode(hmac.digest(self.secret, signed, hashlib.sha256)).decode()
        content = json.loads(body)
        with self.lock:
            how = self.dice.choices(["accepted", "500", "hangs up", "late"], [70, 12, 12, 6])[0]
            self.calls[how] += 1
            if headers["webhook-signature"] != wanted or not self.verifies(headers, body):
                self.faults.append(f"{key} is not signed")
            known = self.messages.get(key)
            if known is None:
                known = self.messages[key] = {"number": number, "body": body, "times": 0, "accepted": False}
                self.objects[content["event_id"]].append(known)
            known["times"] += 1
            if known["body"] != body:
                self.faults.append(f"{key} came with another body")
            about_it = self.objects[content["event_id"]]
            if any(other["number"] > number for other in about_it):
                self.faults.append(f"{key} came after a newer one")
            if any(other["number"] < number and not other["accepted"] for other in about_it):
                self.faults.append(f"{key} came before an older one was accepted")
            known["accepted"] |= how == "accepted"
        return how

    def verifies(self, headers, body):
        """Whether standardwebhooks agrees; without the package nobody is asked."""
        if Webhook is None:
            return True
        try:
            Webhook("whsec_" + base64.b64encode(self.secret).decode()).verify(body, dict(headers))
            self.verified += 1
            return True
        except WebhookVerificationError:
            return False


class Process:
    """A server process that can be killed and started again on its port."""

    def __init__(self, made):
        self.made, self.port = made, free_port()
        self.start()

    def start(self):
        self.log = open(Path(self.made.folder) / f"log-{self.port}", "a+")
        env = self.made.env | {"BIND": f"127.0.0.1:{self.port}"}
        self.running = subprocess.Popen([self.made.program], env=env, stdout=self.log, stderr=self.log)
        for _ in range(400):
            try:
                line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                line.request("GET", "/health/ready")
                if line.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        sys.exit("a server did not start")

    def stop(self, how):
        self.running.send_signal(how)
        self.running.wait(timeout=60)
        self.log.close()


def call(processes, dice, bearer, method, path, body, key):
    """Until it is answered, at whichever process lives."""
    for _ in range(200):
        try:
            line = http.client.HTTPConnection("127.0.0.1", dice.choice(processes).port, timeout=10)
            line.request(method, path, json.dumps(body), {
                "Authorization": f"Bearer {bearer}", "Content-Type": "application/json", "Idempotency-Key": key})
            answer = line.getresponse()
            content = answer.read()
            if answer.status < 500 and answer.status != 409:
                return answer.status, json.loads(content)
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    sys.exit("a call was never answered")


def mark(processes, classes, students, teachers, rounds, went_wrong):
    """Marks everybody present and absent in turn: each class by a teacher of its own, with a fifth of the students."""
    def teach(number):
        dice = random.Random(number)
        own = [student for student, _ in students[number::len(classes)]]
        for n in range(2 * rounds):
            status = "absent" if n % 2 else "present"
            rows = [{"student": student, "status": status} for student in own]
            answer = call(processes, dice, teachers[number][1], "POST", f"/api/core/sessions/{classes[number]}/attendance/",
                          {"records": rows}, f"drill-{number}-{n}")
            if answer[0] != 200 or answer[1]["refused_count"]:
                went_wrong.append(answer)

    threads = [threading.Thread(target=teach, args=(number,)) for number in range(len(classes))]
    for thread in threads:
        thread.start()
    return threads


def main(program, messages=10_000, kills=50):
    goals, receiver = Goals(), Receiver()
    rounds = max(1, messages // STUDENTS)
    settings = {"LOG_LEVEL": QUIET + ",swincms::workflows=error", "WEBHOOK_ALLOWED_HOSTS": "127.0.0.1", "WEBHOOK_SPEED": str(SPEED)}
    with stand(program, **settings) as (made, ports):
        students, teachers, admins = people(made, "student", STUDENTS), people(made, "staff", CLASSES), people(made, "admin", 1)
        classes = json.loads(made.sql(SEAT.format(count=STUDENTS, classes=CLASSES)))
        processes = [Process(made), Process(made)]
        workflow = {
            "name": "drill", "trigger_event": "attendance.marked",
            "configuration": {"webhook_url": f"http://127.0.0.1:{receiver.server.server_port}/hook"},
        }
        status, workflow = call(processes, random.Random(0), admins[0][1], "POST", "/api/users/n8n-workflows/", workflow, "drill")
        receiver.secret = base64.b64decode(workflow["secret"].removeprefix("whsec_"))
        # The stand's own process sends no more: all that do are killed.
        made.stop_servers()

        began, went_wrong, killed = time.monotonic(), [], 0
        threads = mark(processes, classes, students, teachers, rounds, went_wrong)
        dice = random.Random(7)
        left = None
        while time.monotonic() - began < 600:
            time.sleep(dice.uniform(0.2, 0.9))
            if killed < kills:
                one = dice.choice(processes)
                one.stop(signal.SIGKILL)
                killed += 1
                one.start()
                continue
            if not any(thread.is_alive() for thread in threads):
                left = made.sql("select count(*) from webhook_outbox where state = 'pending'")
                if left == "0":
                    break
        took = time.monotonic() - began
        for thread in threads:
            thread.join()

        rows = json.loads(made.sql(
            "select json_agg(json_build_array(id, split_part(object_key, ':', 2), state, attempts)) from webhook_outbox"))
        arrived = {known["number"] for known in receiver.messages.values()}
        accepted = {known["number"] for known in receiver.messages.values() if known["accepted"]}
        caused = {row[0] for row in rows}
        print(f"    {sum(receiver.calls.values())} calls in {took:.0f} s: "
              + ", ".join(f"{count} {how}" for how, count in receiver.calls.most_common()))
        again = sum(known["times"] - 1 for known in receiver.messages.values())
        goals.goal(not went_wrong, f"{len(went_wrong)} of {2 * rounds * CLASSES} calls that mark a class went wrong")
        goals.goal(killed == kills, f"{killed} of {kills} times a process was killed")
        goals.goal(len(rows) == rounds * STUDENTS, f"{len(rows)} of {rounds * STUDENTS} messages were caused")
        lost = sum(row[0] not in accepted for row in rows)
        goals.goal(lost == 0 and left == "0", f"{lost} of {len(rows)} messages were lost; {again} calls were repeats, each under its first id")
        goals.goal(arrived <= caused, f"{len(arrived - caused)} arrived without a committed cause")
        print(f"    {receiver.verified} signatures were verified by the package standardwebhooks, too")
        goals.goal(not receiver.faults, f"{len(receiver.faults)} were unsigned, changed, or out of order")
        for fault in receiver.faults[:5]:
            print("   ", fault)
        undelivered = collections.Counter(row[2] for row in rows if row[2] != "delivered")
        goals.goal(not undelivered, f"{sum(undelivered.values())} are not written down as delivered {dict(undelivered) or ''}")
        broken = made.broken_invariants()
        goals.goal(not broken, "every invariant holds" if not broken else "; ".join(broken))
        for process in processes:
            process.stop(signal.SIGTERM)
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *(int(argument) for argument in sys.argv[2:])))
