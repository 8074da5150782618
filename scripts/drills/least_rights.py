"""All HTTP tests, with servers that log in as the application's role instead of the tables' owner.

Goal: they pass, so no statement of the server needs a right that the role does not have. The drill `stack` plans the statements
that stand in the code; these run them, and those that are made up as a request asks.

`least_rights.py PROGRAM TESTS [TEST …]`, with PG_BIN
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster import account
from common import Goals

SETTINGS = ("listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300", "log_line_prefix='%u '")


def main(program, tests, *names):
    goals, programs = Goals(), os.environ["PG_BIN"]
    owner, _ = account()
    with tempfile.TemporaryDirectory(prefix="swincms-drill-") as folder:
        os.chmod(folder, 0o755)
        home = Path(folder) / "pg"
        home.mkdir()
        if owner:
            os.chown(home, owner["user"], owner["group"])

        def run(*command, **env):
            return subprocess.run(command, env=os.environ | env, check=True, text=True, capture_output=True).stdout.strip()

        def postgres(program, *arguments):
            subprocess.run([f"{programs}/{program}", "-D", f"{home}/data", *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL, **owner)

        def address(role, database="postgres"):
            return f"postgres:///{database}?host={home}&user={role}"

        postgres("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        postgres("pg_ctl", "-s", "-w", "-l", f"{home}/log", "-o", " ".join(["-k", str(home), *(f"-c {one}" for one in SETTINGS)]), "start")
        try:
            # The tests name the database that theirs are copies of; it is made anew, as an operator makes one.
            run(tests, "a_link_lives_an_hour", TEST_DATABASE_URL=address("postgres"))
            psql = [f"{programs}/psql", "-XqAt", "-d", address("postgres"), "-c"]
            template = run(*psql, r"select datname from pg_database where datname like 'swincms\_template\_%'")
            run(*psql, f"drop database {template}")
            run("./scripts/init-db.sh", DATABASE_URL=address("postgres"), DB_NAME=template)
            run(program, "migrate", APP_ENV="dev", DATA_DIR=folder, DATABASE_URL=address("swincms_migrate", template))
            run("./scripts/init-db.sh", "--grants", DATABASE_URL=address("swincms_migrate"), DB_NAME=template)
            env = os.environ | {"TEST_DATABASE_URL": address("postgres"), "TEST_SERVER_ROLE": "swincms"}
            done = subprocess.run([tests, *names], env=env)
            goals.goal(done.returncode == 0, "the tests pass")
            denied = set(re.findall("^swincms ERROR:  (permission denied.*|must be owner.*)$", (home / "log").read_text(), re.MULTILINE))
            goals.goal(not denied, f"nothing is denied to the servers {sorted(denied) or ''}")
        finally:
            postgres("pg_ctl", "-s", "-m", "immediate", "stop")
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
