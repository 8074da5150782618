"""What the drills share: servers of their own on a database of their own, and goals that are reached or missed."""

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
        } | settings
        self.psql = None

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
