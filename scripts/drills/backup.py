"""A backup is made while the server writes, and restored: every row and every file is as it was.

Goals: the restored database is row by row that of the dump's moment, and so are the files; a dump or files that were
damaged, in the archive or beneath its checksums, are refused and nothing is changed; of faked dates those of more than
30 days are removed; a backup that is broken off leaves nothing under its final name; a file that is lost is told, and keeps
nobody from restoring the rest; what a verification finds, it writes down. With `--rows N` there are N enrolments beside, and
it says how long backup, verification and restore of them take.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
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


def add_enrolments(made, rows):
    """So many results of long ago, eight of each student, with all that goes along with a result."""
    made.sql(f"""
        set synchronous_commit = off;
        insert into units (code, name, credit_points) select 'BIG' || n, 'Big ' || n, 12.5 from generate_series(1, 8) n;
        insert into intakes (semester, year) values ('S1', 2020) on conflict do nothing;
        insert into offerings (unit_id, intake_id, semester, year, enrollment_start, enrollment_end, capacity, requires_approval)
        select u.id, i.id, i.semester, i.year, '2020-01-01', '2020-02-01', 0, false
          from units u, intakes i where u.code like 'BIG%' and (i.semester, i.year) = ('S1', 2020);
        insert into unit_anti_requisites
        select least(a.id, b.id), greatest(a.id, b.id) from units a, units b
         where a.code like 'BIG%' and b.code not like 'BIG%' on conflict do nothing;
        create temp table big as
        with made as (
            insert into users (email, username, password_hash, first_name, last_name, user_type)
            select 'big' || n || '@swin.edu.au', 'big' || n, 'none', 'Văn ' || n, 'Nguyễn', 'student'
              from generate_series(1, {rows} / 8) n
            returning id)
        select id from made;
        insert into student_profiles (user_id, student_id) select id, 'BIG-' || id from big;
        insert into gold_accounts (student_id) select id from big on conflict do nothing;
        create temp table results as
        with made as (
            insert into enrollments (student_id, offering_id, status, grade, completion_date, enrolled_at)
            select b.id, o.id, 'COMPLETED', 'P', '2020-07-01', '2020-01-15'
              from big b, offerings o join units u on u.id = o.unit_id where u.code like 'BIG%'
            returning id, student_id, offering_id)
        select * from made;
        insert into enrollment_history (enrollment_id, from_status, to_status) select id, '', 'ENROLLED' from results;
        insert into enrollment_history (enrollment_id, from_status, to_status, to_grade)
        select id, 'ENROLLED', 'COMPLETED', 'P' from results;
        insert into transcripts (enrollment_id, student_id, unit_code, unit_name, semester, year, credit_points, status, grade,
                                 grade_point, completion_date)
        select r.id, r.student_id, u.code, u.name, o.semester, o.year, u.credit_points, 'COMPLETED', 'P', 1, '2020-07-01'
          from results r join offerings o on o.id = r.offering_id join units u on u.id = o.unit_id;
        update offerings o set current_enrollment = (select count(*) from results r where r.offering_id = o.id)
         where o.id in (select offering_id from results);""")


def main(program, *arguments):
    if arguments and (len(arguments) != 2 or arguments[0] != "--rows" or not arguments[1].isdecimal()):
        sys.exit("--rows and how many enrolments are expected")
    rows = int(arguments[1]) if arguments else 0
    goals = Goals()
    programs = os.environ["PG_BIN"]
    with tempfile.TemporaryDirectory(prefix="swincms-drill-") as folder:
        os.chmod(folder, 0o755)
        with cluster(folder, programs) as made:
            migrate(made, program, folder)
            drill(made, program, Path(folder), goals.goal, rows)
    return goals.close()


def drill(made, program, folder, goal, many):
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
    verdicts(made, folder, Path(again.stdout.strip()), back_up, restore, goal)
    if many:
        large(made, many, back_up, restore, goal)


def verdicts(made, folder, good, back_up, restore, goal):
    """What is written down of a backup, and who reads it."""
    media, backups = folder / "media", folder / "backups"

    def check():
        return subprocess.run(["./scripts/backup-database.sh", "--check"], env=made.env | {"BACKUP_DIR": str(backups)}, text=True,
                              capture_output=True)

    def verdict(of):
        return (of / "verdict").read_text().split("\t")[0] if (of / "verdict").exists() else "none"

    unverified = check()
    restore(good, "--verify")
    goal(unverified.returncode == 0 and "not verified" in unverified.stderr and verdict(good) == "good" and check().returncode == 0,
         f"a verification writes its verdict: {check().stderr.strip()}")

    # A file is lost, and only then a backup made.
    lost = next((media / "private").iterdir())
    away = folder / "lost"
    shutil.move(lost, away)
    done = back_up()
    without = Path(done.stdout.strip())
    goal(done.returncode == 3 and f"private/{lost.name}" in done.stderr and (without / "missing.txt").read_text() == f"private/{lost.name}\n",
         f"a lost file is told, in a backup that is kept: {done.stderr.strip().splitlines()[-2][:100]}")
    goal(check().returncode == 1, f"and makes it no good one: {check().stderr.strip()[-80:]}")
    verified = restore(without, "--verify")
    goal(verified.returncode == 0 and "missing already" in verified.stderr, f"the rest can be restored: {verified.stderr.strip().splitlines()[-1]}")
    shutil.move(away, lost)

    # A backup that is found bad.
    time.sleep(1.1)
    broken = Path(back_up().stdout.strip())
    lines = (broken / "rows.tsv").read_text().replace("public.units\t", "public.units\t9")
    (broken / "rows.tsv").write_text(lines)
    digests = "".join(f"{hashlib.sha256((broken / part).read_bytes()).hexdigest()}  {part}\n" for part in ("database.dump", "media.tar", "rows.tsv"))
    (broken / "SHA256SUMS").write_text(digests)
    found = subprocess.run(["./scripts/restore-database.sh", "--newest", "--verify"], text=True, capture_output=True,
                           env=made.superuser() | {"MEDIA_ROOT": str(media), "DB_NAME": "swincms", "BACKUP_DIR": str(backups)})
    goal(found.returncode == 1 and verdict(broken) == "bad" and check().returncode == 1, f"the newest is found bad: {check().stderr.strip()[-100:]}")
    shutil.rmtree(broken)

    # What a restore has left behind that was killed days ago goes with the next; a fresh one may be at work.
    fresh = f"swincms_new_{datetime.now(timezone.utc) - timedelta(hours=1):%Y%m%d%H%M%S}"
    for name in ("swincms_new_20200101000000", fresh):
        made.sql(f"create database {name}", None, "postgres")
    restore(good, "--verify")
    left = made.sql("select datname from pg_database where datname like 'swincms_new_%'", None, "postgres").split()
    goal(left == [fresh], f"a database that a killed restore has left behind is removed: {left}")
    made.sql(f"drop database {fresh}", None, "postgres")


def large(made, many, back_up, restore, goal):
    """How long it takes, and that it ends."""
    add_enrolments(made, many)
    made.sql("analyze")
    size = made.sql("select pg_size_pretty(pg_database_size('swincms')), (select count(*) from enrollments)")
    began = time.monotonic()
    done = back_up()
    took = time.monotonic() - began
    backup = Path(done.stdout.strip())
    goal(done.returncode == 0, f"{size} enrolments: a backup takes {took:.1f} s, {sum(f.stat().st_size for f in backup.iterdir()) >> 20} MiB")
    for arguments, what in ((("--verify",), "a verification"), (("--yes",), "a restore")):
        began = time.monotonic()
        done = restore(backup, *arguments)
        took = time.monotonic() - began
        said = done.stderr.strip().splitlines()
        goal(done.returncode == 0 and took < max(120, many / 5000), f"{what} takes {took:.1f} s: {said[-1]}")
        steps = [line.strip() for line in said if "took" in line or line[:1].isdigit() or "statistics" in line]
        print("    " + "; ".join(steps))
    goal(not made.broken_invariants(), "what always holds, holds")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
