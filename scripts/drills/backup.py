"""A backup is made while the server writes, and restored: every row and every file is as it was.

Goals: the restored database is row by row that of the dump's moment, and so are the files; a dump or files that were
damaged, in the archive or beneath its checksums, are refused and nothing is changed; of faked dates those of more than
30 days are removed; a backup that is broken off leaves nothing under its final name.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cluster import cluster, migrate, production
from common import Goals

TABLES = """select c.relname from pg_class c
 where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1"""


def rows_of(made, database):
    """Each table's rows, as a digest of their text in order."""
    digests = {}
    for table in made.sql(TABLES, None, database).splitlines():
        text = "string_agg(t::text, chr(10) order by t::text collate \"C\")"
        query = f"select count(*), encode(sha256(convert_to({text}, 'UTF8')), 'hex') from public.{table} t"
        digests[table] = made.sql(query, None, database)
    return digests


def files_of(root):
    root = Path(root)
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("public", "private") for path in sorted((root / part).rglob("*")) if path.is_file()
    }


def add_files(made, root, count):
    """Uploaded files, as the server would have stored them."""
    for part in ("public", "private"):
        (root / part).mkdir(parents=True, exist_ok=True)
    values = []
    for number in range(count):
        content, public = f"file {number}\n".encode() * (number + 1), number % 2 == 0
        name = f"{hashlib.md5(content).hexdigest()}.txt"
        (root / ("public" if public else "private") / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        values.append(f"('{name}', 'notes {number}.txt', '\\x{digest}', {len(content)}, 'text/plain', {public})")
    made.sql("insert into stored_files (name, original_name, sha256, size, content_type, public) values " + ",".join(values))
    # A file is something's; what is nobody's would break what always holds.
    made.sql("""insert into media_assets (file_id, uploaded_by_id)
        select f.id, (select min(id) from users) from stored_files f where f.public""")
    made.sql("""insert into unit_resources (unit_id, title, resource_type, file_id)
        select (select min(id) from units), f.original_name, 'OTHER', f.id from stored_files f where not f.public""")


def main(program):
    goals = Goals()
    programs = os.environ["PG_BIN"]
    with tempfile.TemporaryDirectory(prefix="swincms-drill-") as folder:
        os.chmod(folder, 0o755)
        with cluster(folder, programs) as made:
            migrate(made, program, folder)
            drill(made, program, Path(folder), goals.goal)
    return goals.close()


def drill(made, program, folder, goal):
    media, backups = folder / "media", folder / "backups"
    made.run(program, "seed", "--force", "--students", "300", env=production(made, folder), cwd=folder)
    add_files(made, media, 60)
    backup_env = made.of_role("swincms_backup") | {"MEDIA_ROOT": str(media), "BACKUP_DIR": str(backups)}
    restore_env = made.superuser() | {"MEDIA_ROOT": str(media), "DB_NAME": "swincms"}

    def back_up(**more):
        return subprocess.run(["./scripts/backup-database.sh"], env=backup_env | more, text=True, capture_output=True)

    def restore(which, *arguments):
        command = ["./scripts/restore-database.sh", str(which), *(arguments or ("--yes",))]
        return subprocess.run(command, env=restore_env, text=True, capture_output=True)

    # Retention: one backup a day for 40 days, in name only, and what is none of ours.
    backups.mkdir()
    now = datetime.now(timezone.utc)
    dates = [now - timedelta(days=days, minutes=5) for days in range(1, 41)]
    for date in dates:
        (backups / f"swincms-{date:%Y%m%dT%H%M%SZ}").mkdir()
    (backups / "swincms-by-hand").mkdir()

    before, files = rows_of(made, "swincms"), files_of(media)
    done = back_up()
    if done.returncode:
        sys.exit(done.stderr)
    backup = Path(done.stdout.strip())
    rows = sum(int(line.split("\t")[1]) for line in (backup / "rows.tsv").read_text().splitlines())
    goal(backup.is_dir() and len(files) == 60, f"a backup of {len(before)} tables, {rows} rows and {len(files)} files")
    left = sorted(path.name for path in backups.glob("swincms-2*"))
    kept = [f"swincms-{date:%Y%m%dT%H%M%SZ}" for date in dates if now - date < timedelta(days=30)]
    goal(left == sorted([*kept, backup.name]), f"of 40 faked dates {len(left) - 1} are kept, none of more than 30 days")
    goal((backups / "swincms-by-hand").is_dir(), "what has no name of ours is left alone")

    # Damaged backups, each a copy of the good one with one fault.
    def damaged(name, fault, sums=False):
        copy = folder / "damaged" / name
        shutil.copytree(backup, copy)
        fault(copy)
        if sums:
            lines = [f"{hashlib.sha256((copy / part).read_bytes()).hexdigest()}  {part}\n"
                     for part in ("database.dump", "media.tar", "rows.tsv")]
            (copy / "SHA256SUMS").write_text("".join(lines))
        done = restore(copy)
        databases = made.sql("select count(*) from pg_database where datname like 'swincms%'", None, "postgres")
        same = rows_of(made, "swincms") == before and files_of(media) == files and databases == "1"
        said = done.stderr.strip().splitlines()[-1] if done.stderr else ""
        goal(done.returncode != 0 and same, f"{name}: refused, nothing changed ({said[:90]})")

    def flip(part, where):
        def fault(copy):
            content = bytearray((copy / part).read_bytes())
            content[int(len(content) * where)] ^= 0xFF
            (copy / part).write_bytes(content)
        return fault

    def cut(copy):
        content = (copy / "database.dump").read_bytes()
        (copy / "database.dump").write_bytes(content[: len(content) // 2])

    def other_file(copy):
        """One byte of one uploaded file, in an archive that is otherwise whole."""
        with tempfile.TemporaryDirectory() as scratch:
            with tarfile.open(copy / "media.tar") as archive:
                archive.extractall(scratch)
            victim = next(path for path in sorted(Path(scratch).rglob("*.txt")))
            victim.write_bytes(b"X" + victim.read_bytes()[1:])
            with tarfile.open(copy / "media.tar", "w") as archive:
                archive.add(scratch, ".")

    def fewer(copy):
        lines = (copy / "rows.tsv").read_text().splitlines()
        changed = [line if not line.startswith("public.users\t") else "public.users\t999999" for line in lines]
        (copy / "rows.tsv").write_text("\n".join(changed) + "\n")

    damaged("one byte of the dump", flip("database.dump", 0.5))
    damaged("one byte of the files", flip("media.tar", 0.5))
    damaged("half a dump", cut)
    damaged("half a dump with matching checksums", cut, sums=True)
    damaged("another uploaded file with matching checksums", other_file, sums=True)
    damaged("fewer rows than there were, with matching checksums", fewer, sums=True)
    damaged("no checksums", lambda copy: (copy / "SHA256SUMS").unlink())

    # Broken off: nothing is left under a final name.
    wanted = len(list(backups.glob("swincms-2*")))
    process = subprocess.Popen(["./scripts/backup-database.sh"], env=backup_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(backups.glob(".unfinished-*/database.dump")) and process.poll() is None:
        pass
    process.kill()
    process.wait()
    goal(len(list(backups.glob("swincms-2*"))) == wanted, "a backup that is killed leaves nothing under a final name")
    done = back_up(MEDIA_ROOT=str(folder / "absent"))
    goal(done.returncode != 0, "a backup without its files fails: " + done.stderr.strip())

    # Much is lost after the backup; it all comes back, to the row.
    made.sql("delete from idempotency_keys; update users set first_name = 'lost'; update units set name = 'lost';")
    for path in list((media / "private").iterdir())[:20]:
        path.unlink()
    verified = restore(backup, "--verify")
    goal(verified.returncode == 0 and "lost" in made.sql("select string_agg(distinct name, '') from units"), "--verify changes nothing")
    nobody = restore(backup, "--no-such")
    goal(nobody.returncode != 0, "an unknown argument is refused")
    done = restore(backup)
    if done.returncode:
        sys.exit(done.stderr)
    after = rows_of(made, "swincms")
    differ = [table for table in before if before[table] != after.get(table)]
    goal(not differ and before.keys() == after.keys(), f"row by row the same in {len(before)} tables; differing: {differ}")
    goal(files_of(media) == files, f"file by file the same: {len(files)}")
    goal(not made.broken_invariants(), "what always holds, holds")
    old = made.sql("select datname from pg_database where datname like 'swincms_before_%'", None, "postgres")
    goal("lost" in made.sql("select string_agg(distinct name, '') from units", None, old), f"the old database is beside it: {old}")

    # The server goes on with it as before, with no more rights than before.
    checked = subprocess.run([program, "check", "--json"], env=production(made, folder), cwd=folder, text=True, capture_output=True)
    goal(checked.returncode == 0 and json.loads(checked.stdout)["ok"], "`swincms check` finds it in order")
    _, wrong = made.try_sql("delete from users", "swincms")
    goal("42501" in wrong, "and the application's role may delete no user")
    again = back_up()
    goal(again.returncode == 0, "the next backup is made by the role for it")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
