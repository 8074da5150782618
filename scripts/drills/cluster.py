"""A PostgreSQL of a drill's own, set up as docs/operations.md says: TLS alone, client certificates, a role for each task."""

import getpass
import os
import pwd
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from common import UNCOUNTED, free_port

ROLES = ("swincms", "swincms_migrate", "swincms_backup")


def account():
    """Who runs PostgreSQL, which refuses root: the arguments for subprocess, and the name."""
    if os.getuid() != 0:
        return {}, getpass.getuser()
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    found = pwd.getpwnam(name)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}, name


class Cluster:
    """A running cluster; `sql` asks it as the superuser, through the socket."""

    def __init__(self, folder, programs):
        self.folder, self.programs = Path(folder), Path(programs)
        self.port = free_port()
        self.certificates = self.folder / "certificates"
        self.data, self.socket = self.folder / "data", self.folder / "socket"
        self.as_postgres, self.user = account()
        self.env = {"PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "HOME": str(folder)}

    def run(self, *command, **more):
        done = subprocess.run([str(part) for part in command], text=True, capture_output=True, **more)
        if done.returncode:
            sys.exit(f"{command[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self):
        owner = f"server={self.user}" if self.as_postgres else ""
        self.run("./scripts/make-certificates.sh", self.certificates, env=self.env | {
            "OWNERS": owner, "SITE_NAMES": "localhost,127.0.0.1", "SERVER_NAMES": "localhost,127.0.0.1",
        })
        for path in (self.data, self.socket):
            path.mkdir()
            if self.as_postgres:
                os.chown(path, self.as_postgres["user"], self.as_postgres["group"])
        self.run(self.programs / "initdb", "-D", self.data, "--username=postgres", "--auth=peer", "--encoding=UTF8",
                 "--locale=C.UTF-8", "--no-sync", cwd="/", **self.as_postgres)
        # The repository's own rules; who runs the drill stands for the superuser's account, which has another name here.
        rules = Path("pg_hba.conf").read_text().replace("peer", "peer map=drill")
        (self.data / "pg_hba.conf").write_text(rules)
        (self.data / "pg_ident.conf").write_text(f"drill {getpass.getuser()} postgres\ndrill {self.user} postgres\n")
        self.configure()
        self.control("start")

    def configure(self, tls="server", on=True):
        """Writes the settings, with the certificate in this folder of `certificates`."""
        folder = self.certificates / tls
        settings = f"""
listen_addresses = '127.0.0.1'
port = {self.port}
unix_socket_directories = '{self.socket}'
ssl = {'on' if on else 'off'}
ssl_cert_file = '{folder}/tls.crt'
ssl_key_file = '{folder}/tls.key'
ssl_ca_file = '{self.certificates}/server/ca.crt'
ssl_min_protocol_version = 'TLSv1.2'
fsync = off
max_connections = 60
"""
        (self.data / "postgresql.auto.conf").write_text(settings)

    def control(self, verb):
        how = ("-m", "fast") if verb == "stop" else ()
        self.run(self.programs / "pg_ctl", "-s", "-w", "-D", self.data, "-l", self.data / "log", *how, verb, cwd="/",
                 **self.as_postgres)

    def superuser(self):
        """The environment of a superuser of PostgreSQL's programs."""
        return self.env | {"PGHOST": str(self.socket), "PGPORT": str(self.port), "PGUSER": "postgres"}

    def of_role(self, role):
        """The environment of a role's, over TLS."""
        folder = self.certificates / role
        return self.env | {
            "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(self.port), "POSTGRES_DB": "swincms",
            "POSTGRES_USER": role, "POSTGRES_SSLMODE": "verify-full", "POSTGRES_SSLROOTCERT": f"{folder}/ca.crt",
            "POSTGRES_SSLCERT": f"{folder}/tls.crt", "POSTGRES_SSLKEY": f"{folder}/tls.key",
        }

    def libpq(self, role):
        """The same for PostgreSQL's own programs."""
        ours = self.of_role(role)
        names = {"HOST": "HOST", "PORT": "PORT", "DB": "DATABASE", "USER": "USER", "SSLMODE": "SSLMODE",
                 "SSLROOTCERT": "SSLROOTCERT", "SSLCERT": "SSLCERT", "SSLKEY": "SSLKEY"}
        return self.env | {f"PG{libpq}": ours[f"POSTGRES_{name}"] for name, libpq in names.items()}

    def try_sql(self, text, role=None, database="swincms"):
        """Runs statements: the rows of the last as text, and what was wrong."""
        env = self.superuser() if role is None else self.libpq(role)
        command = [str(self.programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v",
                   "VERBOSITY=verbose", "-d", database]
        done = subprocess.run(command, input=text, text=True, capture_output=True, env=env)
        return done.stdout.strip(), done.stderr.strip() if done.returncode else ""

    def sql(self, text, role=None, database="swincms"):
        rows, wrong = self.try_sql(text, role, database)
        if wrong:
            sys.exit(wrong)
        return rows

    def broken_invariants(self, database="swincms"):
        """Each invariant that has rows, with their number."""
        broken = []
        for query in Path("tests/invariants.sql").read_text().split(";\n"):
            if query.strip() and (count := int(self.sql(f"select count(*) from (\n{query}\n) broken", None, database))):
                broken.append(f"{count} rows: {query.strip().splitlines()[0]}")
        return broken


def production(cluster, folder, role="swincms", **more):
    """The settings of a server process, as in docs/operations.md."""
    return cluster.of_role(role) | {
        "APP_ENV": "prod", "PUBLIC_URL": "https://localhost", "ALLOWED_HOSTS": "localhost",
        "CORS_ALLOWED_ORIGINS": "https://app.example.edu", "TRUSTED_PROXIES": "127.0.0.1",
        "SECRET_KEY": "the key of a drill, which nothing else is signed with",
        "AUDIT_KEY": "the other key of a drill, which seals its audit log",
        "MEDIA_ROOT": f"{folder}/media", "DATA_DIR": str(folder), "RUN_MIGRATIONS": "false",
        "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": "9", "EMAIL_FROM": "SwinCMS <noreply@example.edu>",
        "ACCEL_REDIRECT": "/protected/", **UNCOUNTED, "LOG_LEVEL": "warn,swincms=warn,swincms::cli=info", "LOG_FORMAT": "text",
    } | more


@contextmanager
def cluster(folder, programs):
    """A cluster with its roles and database, and nothing in it."""
    made = Cluster(folder, programs)
    made.start()
    try:
        made.run("./scripts/init-db.sh", env=made.superuser())
        yield made
    finally:
        made.control("stop")


def migrate(made, program, folder):
    """What the operator does: the schema as the owner, then the application's rights."""
    env = production(made, folder, role="swincms_migrate")
    made.run(program, "migrate", env=env, cwd=folder)
    made.run("./scripts/init-db.sh", "--grants", env=made.libpq("swincms_migrate"))
