"""How fast the server is, against what the same machine could do in the same minutes.

Each rate stands beside a reference that was measured in turn with it: pgbench with the very statements of the request, prepared,
on as many connections; or the server's own answer that needs no database. The ratio is what carries over to another machine, the
rates do not. Client, server and PostgreSQL share the machine's cores, as in the reference the client and PostgreSQL do.

    bench.py PROGRAM [--quick] [--only PART,PART]

Parts: reads, unchanged, start, growth, imports. Ends with 1 when a goal is missed.
"""

import argparse
import base64
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from common import free_port, stand
from imports import imports
from statements import Listener, pgbench
from university import found, grow

DATABASE = "load"
PARTS = ("reads", "unchanged", "start", "growth", "imports")
CONNECTIONS = 32
SMALL, LARGE, LARGE_QUICK = 10_000, 1_000_000, 100_000
PAGE = 100
UNITS, OFFERINGS = "/api/academic/units/", "/api/academic/offerings/"
ENROLMENTS, USERS, ME = "/api/enrollment/enrollments/", "/api/users/users/", "/api/users/users/me/"
DASHBOARD = "/api/enrollment/enrollments/dashboard/"

# Asks for each of its requests in turn, and says at the end what wrk knows: numbers in one line.
WRK = """
local asked = {%s}
local ready, turn = {}, 0
init = function() for i, one in ipairs(asked) do ready[i] = wrk.format("GET", one[1], one[2]) end end
request = function() turn = turn %% #ready + 1 return ready[turn] end
done = function(summary, latency)
  local e = summary.errors
  print(string.format("sums %%d %%d %%d %%d %%d", summary.requests, summary.duration, e.status + e.connect + e.read + e.write + e.timeout,
                      latency:percentile(50), latency:percentile(99)))
end
"""


class Table:
    """Prints each row when it is known, with a mark when its goal is missed."""

    LINE = "{:1} {:46} {:>9} {:>11} {:>6}  {:22} {:>9} {:>9}"

    def __init__(self):
        self.missed = []

    def head(self):
        print(self.LINE.format("", "what", "ours/s", "reference/s", "ratio", "goal", "p50", "p99"), flush=True)

    def row(self, what, holds, goal, ours="", reference="", ratio="", p50="", p99=""):
        ours, reference = (f"{rate:.0f}" if isinstance(rate, float) else rate for rate in (ours, reference))
        ratio = f"{ratio:.2f}" if isinstance(ratio, float) else ratio
        p50, p99 = (f"{time:.2f} ms" if isinstance(time, float) else time for time in (p50, p99))
        line = self.LINE.format("" if holds else "!", what, ours, reference, ratio, goal, p50, p99).rstrip()
        print(line, flush=True)
        if not holds:
            self.missed.append(line[2:])

    def close(self):
        for line in self.missed:
            print("missed: " + " ".join(line.split()))
        print("all goals reached" if not self.missed else f"{len(self.missed)} goals missed")
        return 1 if self.missed else 0


def get(port, path, bearer=None, **more):
    """The answer: status, headers and the bytes. No reference to a path that does not work."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers(bearer) | more)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def headers(bearer):
    return {"Authorization": f"Bearer {bearer}"} if bearer else {}


class Load:
    """Sends requests for some seconds, the same ones in turn on all connections."""

    def __init__(self, folder):
        self.script = Path(folder) / "wrk.lua"

    def run(self, port, asked, connections, seconds):
        """Requests per second, and p50 and p99 in milliseconds. `asked` are (path, headers)."""
        def lua(text):
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

        each = ["{%s, {%s}}" % (lua(path), ", ".join(f"[{lua(name)}] = {lua(value)}" for name, value in head.items())) for path, head in asked]
        self.script.write_text(WRK % ", ".join(each))
        # A thread has as many connections as another.
        command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", self.script, f"http://127.0.0.1:{port}"]
        done = subprocess.run(command, text=True, capture_output=True)
        sums = re.search(r"^sums (\d+) (\d+) (\d+) (\d+) (\d+)$", done.stdout, re.MULTILINE)
        if not sums or int(sums[3]):
            sys.exit(f"wrk: {asked[0][0]}: {done.stdout}{done.stderr}")
        requests, duration, _, p50, p99 = map(int, sums.groups())
        return requests * 1e6 / duration, p50 / 1000, p99 / 1000


class Bench:
    def __init__(self, made, port, who, quick):
        self.made, self.port, self.who, self.quick = made, port, who, quick
        self.table, self.load = Table(), Load(made.folder)
        self.seconds, self.rounds = (1, 1) if quick else (3, 2)

    def pair(self, asked, reference):
        """Ours and the reference in turn: both rates, and ours p50 and p99."""
        self.load.run(self.port, asked, CONNECTIONS, 1)
        rounds = [(self.load.run(self.port, asked, CONNECTIONS, self.seconds), reference()) for _ in range(self.rounds)]
        (rates, p50s, p99s), references = zip(*(ours for ours, _ in rounds)), [rate for _, rate in rounds]
        return statistics.mean(rates), statistics.mean(references), statistics.mean(p50s), statistics.mean(p99s)

    # ---- One row, a page, the dashboard: against pgbench ----

    def reads(self):
        students, [(_, staff)], [(admin_id, admin)] = (self.who[kind] for kind in ("student", "staff", "admin"))
        unit = json.loads(get(self.port, f"{UNITS}?page_size=1", staff)[2])[0]["id"]
        def of_each(bearer):
            return json.loads(get(self.port, f"{ENROLMENTS}?page_size=1", bearer)[2])[0]["id"]
        page = f"?page_size={PAGE}"
        rows = [
            ("one row: the caller", 0.5, [(ME, bearer) for _, bearer in students]),
            ("one row: a unit", 0.5, [(f"{UNITS}{unit + n}/", bearer) for n, (_, bearer) in enumerate(students)]),
            ("one row: an enrolment of one's own", 0.5, [(f"{ENROLMENTS}{of_each(bearer)}/", bearer) for _, bearer in students]),
            ("one row: a user, by an administrator", 0.5, [(f"{USERS}{user}/", admin) for user, _ in students]),
            (f"{PAGE} units", 0.4, [(UNITS + page, bearer) for _, bearer in students]),
            (f"{PAGE} offerings", 0.4, [(OFFERINGS + page, bearer) for _, bearer in students]),
            (f"{PAGE} users, by an administrator", 0.4, [(USERS + page, admin)]),
            (f"{PAGE} enrolments, by staff", 0.4, [(ENROLMENTS + page, staff)]),
            ("a student's dashboard", 0.3, [(DASHBOARD, bearer) for _, bearer in students]),
        ]
        heard = self.heard([asked for _, _, asked in rows])
        for (what, goal, asked), statements in zip(rows, heard):
            ours, reference, p50, p99 = self.pair(
                [(path, headers(bearer)) for path, bearer in asked],
                lambda: pgbench(self.made, statements, CONNECTIONS, self.seconds))
            each = max(map(len, statements))
            holds, goals = ours >= goal * reference, f"ratio >= {goal}"
            if goal == 0.4:
                holds, goals = holds and p99 <= 2 * p50, f"{goals}, p99 <= 2 p50"
            elif what.endswith("dashboard"):
                holds, goals = holds and each <= 8, f"{goals}, {each} of 8 SQL"
            self.table.row(what, holds, goals, ours, reference, ours / reference, p50, p99)

    def heard(self, requests):
        """The statements of each request of each list of (path, token)."""
        listener = Listener(self.made.sql)
        with self.made.beside(DATABASE, f"&{Listener.OPTIONS}").server() as port:
            def ask(path, bearer):
                status, _, content = get(port, path, bearer)
                if status != 200:
                    sys.exit(f"{path}: {status} {content}")
            listener.settle()
            return [[listener.of(lambda: ask(path, bearer)) for path, bearer in asked] for asked in requests]

    # ---- What has not changed, and what rarely does: against an answer without the database ----

    def unchanged(self):
        students = self.who["student"]
        page = f"?page_size={PAGE}"
        static = [("/health/live", {})]
        for what, path in (("the caller", ME), (f"{PAGE} units", UNITS + page), (f"{PAGE} offerings", OFFERINGS + page)):
            asked = []
            for _, bearer in students:
                tag = get(self.port, path, bearer)[1]["ETag"]
                again = get(self.port, path, bearer, **{"If-None-Match": tag})[0]
                if again != 304:
                    sys.exit(f"{path} is {again}, not 304")
                asked.append((path, headers(bearer) | {"If-None-Match": tag}))
            self.against_static(f"unchanged: {what}", asked, static)
        for what, path in ((f"reference list: {PAGE} units", UNITS + page), (f"reference list: {PAGE} offerings", OFFERINGS + page)):
            self.against_static(what, [(path, headers(bearer)) for _, bearer in students], static)

    def against_static(self, what, asked, static):
        ours, reference, p50, p99 = self.pair(asked, lambda: self.load.run(self.port, static, CONNECTIONS, self.seconds)[0])
        self.table.row(what, ours >= 0.5 * reference, "ratio >= 0.5", ours, reference, ours / reference, p50, p99)

    # ---- Start-up and memory ----

    def start(self):
        times, idle = [], []
        for _ in range(3 if self.quick else 7):
            other, port = self.made.beside(DATABASE), free_port()
            began = time.monotonic()
            server = subprocess.Popen([other.program], env=other.env | {"BIND": f"127.0.0.1:{port}"}, stderr=subprocess.DEVNULL)
            while not ready(port):
                time.sleep(0.001)
            times.append((time.monotonic() - began) * 1000)
            time.sleep(2)
            idle.append(resident(server.pid, "VmRSS"))
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
        took = statistics.median(times)
        self.table.row("start to ready, schema current", took <= 150, "<= 150 ms", p50=took, p99=max(times))
        self.table.row(f"memory idle: {max(idle):.1f} MB", max(idle) <= 30, "<= 30 MB")

    def memory(self):
        """Of the server that had all the load."""
        peak = resident(self.made.processes[0].pid, "VmHWM")
        self.table.row(f"memory under load, at its highest: {peak:.1f} MB", peak <= 100, "<= 100 MB")

    # ---- Growth ----

    def growth(self):
        large = LARGE_QUICK if self.quick else LARGE
        [(_, staff)], [(_, admin)], students = self.who["staff"], self.who["admin"], self.who["student"]
        began = time.monotonic()
        grow(self.made.sql, SMALL, large)
        print(f"  from {SMALL} to {large} enrolments in {time.monotonic() - began:.0f} s")
        page = f"?page_size={PAGE}"
        rows = [
            ("a student's dashboard", [(DASHBOARD, bearer) for _, bearer in students]),
            ("enrolments, by staff", [(ENROLMENTS + page, staff)]),
            ("one's own enrolments", [(ENROLMENTS + page, bearer) for _, bearer in students]),
            ("enrolments of a status, by staff", [(f"{ENROLMENTS}{page}&status=COMPLETED", staff)]),
            ("approvals to decide on", [(f"/api/enrollment/approvals/{page}", staff)]),
            ("users, by an administrator", [(USERS + page, admin)]),
        ]
        with self.made.beside("small").server() as small:
            for what, asked in rows:
                asked = [(path, headers(bearer)) for path, bearer in asked]
                self.grown(f"{what}, {large // SMALL} x the data", (small, asked), (self.port, asked))
        last = large // PAGE
        first, far = f"{ENROLMENTS}{page}", f"{ENROLMENTS}{page}&cursor={self.cursor(staff, (last - 1) * PAGE)}"
        if len(json.loads(get(self.port, far, staff)[2])) != PAGE:
            sys.exit("the far page is not whole")
        self.grown(f"page {last} against page 1", (self.port, [(first, headers(staff))]), (self.port, [(far, headers(staff))]))

    def grown(self, what, before, after):
        """Few connections, so that what is measured is how long a request takes, not how it waits."""
        for port, asked in (before, after):
            self.load.run(port, asked, 2, 1)
        rounds = [[self.load.run(port, asked, 2, 1) for port, asked in (before, after)] for _ in range(3)]
        (was, was_p50, _), (now, p50, p99) = ([statistics.median(values) for values in zip(*side)] for side in zip(*rounds))
        self.table.row(what, p50 <= 1.2 * was_p50, f"{p50 / was_p50:.2f} of 1.2 x p50", now, was, now / was, p50, p99)

    def cursor(self, bearer, skipped):
        """That of the page after so many rows: the first page's, with the place of another row."""
        link = get(self.port, f"{ENROLMENTS}?page_size={PAGE}", bearer)[1]["Link"]
        text = re.search(r"cursor=([^>&]+)", link)[1]
        cursor = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        when, row = self.made.sql(
            f"set timezone = 'UTC'; select created_at, id from enrollments order by created_at desc, id desc offset {skipped - 1} limit 1").split("|")
        cursor |= {"k": [when, row], "i": int(row)}
        return base64.urlsafe_b64encode(json.dumps(cursor).encode()).rstrip(b"=").decode()


def ready(port):
    try:
        return get(port, "/health/ready")[0] == 200
    except OSError:
        return False


def resident(process, field):
    """Megabytes of memory that a process holds, or has held at most."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[1]) / 1024


def tune(sql):
    """As docs/operations.md recommends."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024 ** 2
    for setting in (f"shared_buffers = '{min(memory // 4, 2048)}MB'", f"effective_cache_size = '{memory * 3 // 4}MB'",
                    "work_mem = '16MB'", "random_page_cost = 1.1"):
        sql(f"alter system set {setting}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--only", default=",".join(PARTS))
    asked = arguments.parse_args()
    parts = asked.only.split(",")
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"unknown parts: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    with ExitStack() as running:
        cluster, _ = running.enter_context(stand(asked.program, LOG_LEVEL="info"))
        tune(cluster.sql)
        # Some of it counts from a restart; the last server to leave stops PostgreSQL, and the next starts it.
        cluster.stop_servers()
        running.enter_context(cluster.server())
        print(f"  {os.cpu_count()} cores; PostgreSQL {cluster.sql('show server_version')}; {CONNECTIONS} connections; "
              f"{SMALL} enrolments where no more are named")
        cluster.sql(f"create database {DATABASE} template template0")
        made = cluster.beside(DATABASE)
        made.run("migrate")
        who = found(made.sql, SMALL)
        # As it is now, for `growth` to compare with.
        cluster.sql(f"create database small template {DATABASE}")
        bench = Bench(made, running.enter_context(made.server()), who, asked.quick)
        bench.table.head()
        for part in parts:
            if part == "imports":
                imports(bench)
            else:
                getattr(bench, part)()
        bench.memory()
    return bench.table.close()


if __name__ == "__main__":
    sys.exit(main())
