"""What the drills share: servers of their own on a database of their own, clients with tokens, and goals that are
reached or missed."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

SECRET = "the key of a drill, which nothing else is signed with"
# Requests are not logged, what the drills read is.
QUIET = "warn,swincms=warn,swincms::dev_database=info,swincms::cli=info"
# What a drill does in a minute, people do in a year.
UNCOUNTED = {name: "100000" for name in (
    "PERSON_WRITES_AT_ONCE", "PERSON_WRITES_A_MINUTE", "REGISTRATIONS_AT_ONCE", "REGISTRATIONS_AN_HOUR",
    "RESETS_AT_ONCE", "RESETS_AN_HOUR")}

PEOPLE = """
with made as (
    insert into users (email, username, first_name, last_name, password_hash, user_type)
    select 'drill-{kind}' || i || '@swin.edu.au', 'drill-{kind}' || i, 'Drill', '{kind}' || i, '!', '{kind}'
      from generate_series(1, {count}) i
    returning id, user_type
),
profile as (
    insert into student_profiles (user_id, student_id, enrollment_date)
    select id, 'D-' || id, current_date from made where user_type = 'student'
),
account as (insert into gold_accounts (student_id) select id from made where user_type = 'student'),
opened as (
    insert into sessions (user_id, refresh_hash, expires_at)
    select id, sha256(id::text::bytea), now() + interval '1 day' from made
    returning user_id, id
)
select json_agg(json_build_array(user_id, id) order by user_id) from opened;
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Goals:
    """Prints each goal as it is looked at, and remembers those that are missed."""

    def __init__(self):
        self.missed = []

    def goal(self, holds, text):
        print(("  " if holds else "! ") + text, flush=True)
        if not holds:
            self.missed.append(text)

    def close(self):
        for goal in self.missed:
            print(f"missed: {goal}")
        print("all goals reached" if not self.missed else f"{len(self.missed)} goals missed")
        return 1 if self.missed else 0


class Stand:
    """Server processes on one database. `sql` asks it directly."""

    def __init__(self, program, folder, settings):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("POSTGRES_", "DATABASE_"))}
        self.program, self.folder = program, folder
        self.env = clean | {
            "APP_ENV": "dev", "DATA_DIR": folder, "LOG_LEVEL": "warn,swincms=info", "DATABASE_URL": "",
            "SECRET_KEY": SECRET,
        } | settings
        self.psql = None
        self.processes = []

    def run(self, *arguments):
        env = self.env | {"BIND": "127.0.0.1:0"}
        subprocess.run([self.program, *arguments], env=env, check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def server(self):
        """A running process; gives its port."""
        port = free_port()
        with tempfile.NamedTemporaryFile("w+", dir=self.folder, prefix="log-") as log:
            env = self.env | {"BIND": f"127.0.0.1:{port}"}
            server = subprocess.Popen([self.program], env=env, stdout=log, stderr=log)
            self.processes.append(server)
            try:
                for _ in range(400):
                    said = Path(log.name).read_text()
                    if re.search("ready", said):
                        break
                    time.sleep(0.05)
                found = re.search(r"embedded database: (psql .*)", said)
                self.psql = self.psql or (found and found.group(1).split())
                yield port
            finally:
                server.send_signal(signal.SIGTERM)
                server.wait(timeout=60)

    def beside(self, database, options=""):
        """The same program on another database of the running cluster, or with more in the database's address."""
        host, user = (self.psql[self.psql.index(flag) + 1] for flag in ("-h", "-U"))
        address = f"postgres:///{database}?host={host}&user={user}{options}"
        other = Stand(self.program, self.folder, {"LOG_LEVEL": self.env["LOG_LEVEL"], "DATABASE_URL": address})
        other.psql = [*self.psql[:-1], database]
        return other

    def stop_servers(self):
        """Stops the processes that the stand has started; the database stays for those that were started beside them."""
        for server in self.processes:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)

    def sql(self, text):
        """Runs statements and gives the rows of the last as text."""
        command = [*self.psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(command, input=text, text=True, capture_output=True)
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout.strip()

    def broken_invariants(self):
        """Each invariant that has rows, with their number."""
        broken = []
        for query in Path("tests/invariants.sql").read_text().split(";\n"):
            if not query.strip():
                continue
            count = int(self.sql(f"select count(*) from (\n{query}\n) broken"))
            if count:
                broken.append(f"{count} rows: {query.strip().splitlines()[0]}")
        return broken


@contextmanager
def stand(program, servers=1, seed=(), **settings):
    """A stand with running servers, and their ports."""
    with tempfile.TemporaryDirectory(prefix="swincms-drill-") as folder, ExitStack() as running:
        os.chmod(folder, 0o755)
        made = Stand(program, folder, settings)
        if seed:
            made.run("seed", *seed)
        ports = [running.enter_context(made.server()) for _ in range(servers)]
        yield made, ports


def token(user, session):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    now = int(time.time())
    claims = {
        "token_type": "access", "exp": now + 3600, "iat": now, "jti": f"drill-{session}", "user_id": user,
        "session_id": session,
    }
    head = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + part(json.dumps(claims).encode())
    return (head + b"." + part(hmac.digest(SECRET.encode(), head, hashlib.sha256))).decode()


def people(made, kind, count):
    """Adds so many people of a kind, who are logged in: the id and the token of each."""
    rows = json.loads(made.sql(PEOPLE.format(kind=kind, count=count)))
    return [(user, token(user, session)) for user, session in rows]


class Connection:
    """A client's open connection; JSON in and out, with an Idempotency-Key if one is given."""

    def __init__(self, port):
        self.port, self.streams = port, None

    async def call(self, bearer, method, path, body=None, key=None):
        status, content = await self.ask(bearer, method, path, body, key)
        return status, json.loads(content) if content else None

    async def ask(self, bearer, method, path, body=None, key=None):
        """The status, and the answer's body as it came."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {bearer}\r\n"
            + (f"Idempotency-Key: {key}\r\n" if key else "")
            + f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(answer.split("content-length: ")[1].split("\r\n")[0]) if "content-length: " in answer else 0
        return int(answer[9:12]), await reader.readexactly(length)

    def close(self):
        if self.streams:
            self.streams[1].close()
