"""The production set-up without containers: two server processes behind a real nginx, over TLS, on a PostgreSQL that takes
client certificates alone, each role with no more rights than it needs.

Goals: eight hostile TLS set-ups are refused; sixty statements are forbidden to the application's role, while every
statement of the server is allowed; through nginx all works as the server itself does it, with each security header once,
and every GET is answered alike; a thousand clients that are slow on purpose do not slow others down, and are gone within 15 s;
a killed replica goes unnoticed by reads; 20 restarts of both under load, half of it POST, with no failed request.
"""

import glob
import os
import re
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from cluster import cluster, migrate, production
from common import Goals
from hostile import hostile
from replicas import resilience
from rights import roles
from same import same
from site_behind_nginx import Site, reachable, until
from slow import slow
from through_nginx import smoke


def main(program):
    goals = Goals()
    with tempfile.TemporaryDirectory(prefix="swincms-drill-") as folder, ExitStack() as running:
        os.chmod(folder, 0o755)
        made = running.enter_context(cluster(folder, os.environ["PG_BIN"]))
        migrate(made, program, folder)
        made.run(program, "seed", "--force", "--students", "50", env=production(made, folder), cwd=folder)
        hostile(made, program, folder, goals.goal)
        roles(made, goals.goal)
        site = Site(made, program, folder)
        running.callback(site.close)
        for number in (0, 1):
            site.start_replica(number)
        site.write_conf()
        site.nginx("-t", "-q")
        site.nginx()
        until(lambda: reachable(site.https), 10)
        smoke(site, goals.goal)
        same(site, goals.goal)
        slow(site, goals.goal)
        resilience(site, goals.goal)
        broken = made.broken_invariants()
        goals.goal(not broken, f"what always holds, holds {broken or ''}")
        logs = "".join(Path(log).read_text() for log in glob.glob(f"{folder}/server-*.log"))
        denied = re.findall("permission denied for [^\"\\n]*", logs)
        goals.goal(not denied, f"no statement of the servers was denied {sorted(set(denied)) or ''}")
        panics = logs.count("panicked")
        goals.goal(panics == 0, f"{panics} panics")
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
