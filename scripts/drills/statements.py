"""The SQL statements behind a request, read off PostgreSQL's own log, and how fast pgbench runs the very same.

A server process of its own asks PostgreSQL to log what it is sent (`log_statement = all` for its sessions alone). What such a
process runs without being asked is listened for first and left out. pgbench prepares the statements as the server does, and gives
the same values as parameters.
"""

import os
import re
import subprocess
import time
from pathlib import Path

LINE = re.compile(r"^(?=\d+\|)", re.MULTILINE)
EXECUTED = re.compile(r"^\d+\|LOG:  (?:execute [^:]+|statement): (.*)$", re.DOTALL)
VALUES = re.compile(r"^\d+\|DETAIL:  [Pp]arameters: (.*)$", re.DOTALL)
VALUE = re.compile(r"\$(\d+) = (NULL|'((?:[^']|'')*)')")
# Longer than the slowest of the background's rounds that look at the database.
ROUND = 2.5
WARM = 2


class Listener:
    """Hears the statements of the requests to a server process that was started with `OPTIONS` in its database's address."""

    OPTIONS = "options[log_statement]=all"

    def __init__(self, sql):
        sql("alter system set log_line_prefix = '%p|'")
        sql("select pg_reload_conf()")
        self.log = Path(sql("show data_directory")).parent / "log"
        self.background = set()

    def settle(self):
        """Listens to what runs without being asked."""
        place = self.log.stat().st_size
        time.sleep(ROUND)
        self.background |= {text for text, _ in self.heard(place)}

    def of(self, ask):
        """The statements that `ask` makes the server send, each with its values: None for null."""
        ask()
        time.sleep(0.2)
        place = self.log.stat().st_size
        ask()
        # A session that is idle has written its last line; PostgreSQL does not buffer them.
        time.sleep(0.2)
        return [(text, values) for text, values in self.heard(place) if text not in self.background]

    def heard(self, place):
        with self.log.open() as log:
            log.seek(place)
            entries = LINE.split(log.read())
        found = []
        for entry in entries:
            entry = entry.rstrip("\n").replace("\n\t", "\n")
            if said := EXECUTED.match(entry):
                found.append((said[1], []))
            elif (said := VALUES.match(entry)) and found:
                values = {int(n): None if word == "NULL" else text.replace("''", "'") for n, word, text in VALUE.findall(said[1])}
                found[-1] = (found[-1][0], [values[n] for n in sorted(values)])
        return found


def types(sql, statement, count):
    """What PostgreSQL takes the parameters of a statement for."""
    return sql(f"prepare asked as {statement}; select unnest(parameter_types) from pg_prepared_statements where name = 'asked'").split("\n")[:count]


def script(sql, number, statements):
    """A transaction script of pgbench's, and the values of its variables."""
    text, values = [], []
    for place, (statement, given) in enumerate(statements):
        # What looks like a variable is one to pgbench, in comments too.
        statement = re.sub(r"--[^\n]*", "", statement)
        kinds = types(sql, statement, len(given)) if given else []
        for n in range(len(given), 0, -1):
            name = f"v{number}_{place}_{n}"
            # Each place is a parameter of its own to pgbench, and some would tell no type.
            value = "null" if given[n - 1] is None else f":{name}"
            statement = re.sub(rf"\${n}\b", f"{value}::{kinds[n - 1]}", statement)
            values += ["-D", f"{name}={given[n - 1]}"]
        text.append(statement + ";\n")
    return "".join(text), values


def pgbench(made, requests, connections, seconds):
    """Transactions per second of the statements of these requests, each request as often as the others."""
    psql = made.psql
    host, user, database = psql[psql.index("-h") + 1], psql[psql.index("-U") + 1], psql[-1]
    # The first seconds are for connecting, and for PostgreSQL to settle on plans, as it has for the server.
    command = ["pgbench", "-h", host, "-U", user, "-n", "-M", "prepared", "-c", str(connections), "-j", "2", "-P", "1", "-T", str(seconds + WARM)]
    for number, statements in enumerate(requests):
        text, values = script(made.sql, number, statements)
        path = Path(made.folder) / f"script-{number}.sql"
        path.write_text(text)
        command += ["-f", str(path), *values]
    # As the server's sessions have it.
    env = os.environ | {"PGOPTIONS": "-c jit=off -c timezone=UTC"}
    done = subprocess.run([*command, database], text=True, capture_output=True, env=env)
    rates = [float(rate) for rate in re.findall(r"^progress: .*? ([\d.]+) tps", done.stderr, re.MULTILINE)][WARM:]
    if done.returncode or not rates or "aborted" in done.stderr:
        raise SystemExit(f"pgbench: {done.stdout}{done.stderr}")
    return sum(rates) / len(rates)
