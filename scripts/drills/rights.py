"""What the application's role may do, and may not; part of the drill `stack`."""

import glob
import json
import re
from pathlib import Path

from forbidden import FORBIDDEN


def roles(made, goal):
    allowed = []
    for name, statement in FORBIDDEN:
        _, wrong = made.try_sql(statement, "swincms")
        # Insufficient privilege, and nothing else, is the reason that counts.
        if "42501" not in wrong:
            allowed.append(f"{name}: {wrong.splitlines()[0] if wrong else 'done'}")
    for line in allowed:
        print("    " + line)
    goal(not allowed and len(FORBIDDEN) >= 60, f"{len(FORBIDDEN) - len(allowed)} of {len(FORBIDDEN)} statements are forbidden to the application's role")
    _, wrong = made.try_sql("insert into units (code, name) values ('BACKUP1', 'x')", "swincms_backup")
    goal("25006" in wrong or "42501" in wrong, "the role for backups changes nothing")
    _, wrong = made.try_sql("set transaction_read_only = off; begin read write; delete from units; commit;", "swincms_backup")
    goal("42501" in wrong, "also when it asks to")

    # Every statement in the server's code, planned by the role: PostgreSQL looks at rights before it would begin.
    code = "\n".join(Path(path).read_text() for path in glob.glob("src/**/*.rs", recursive=True))
    plain = re.sub(r"\\\"", '"', code)
    statements = []
    for path in sorted(glob.glob(".sqlx/query-*.json")):
        query = json.loads(Path(path).read_text())
        # Settings and what frames a transaction have no plan and need no right.
        if re.match("(set|savepoint|release|rollback) ", query["query"] + " "):
            continue
        if query["query"] in plain or query["query"] in code:
            statements.append(query["query"])
    script = []
    for number, text in enumerate(statements):
        count = max([int(found) for found in re.findall(r"\$(\d+)", text)], default=0)
        nulls = f"({', '.join(['null'] * count)})" if count else ""
        script.append(f"prepare s as {text};\nexplain execute s{nulls};\ndeallocate s;\n")
    denied, failed = [], 0
    for text, statement in zip(statements, script):
        _, wrong = made.try_sql(statement, "swincms")
        if "42501" in wrong:
            denied.append(" ".join(text.split())[:90] + ": " + wrong.splitlines()[0])
        elif wrong:
            failed += 1
            print("    not planned: " + wrong.splitlines()[0][:140])
    for line in denied:
        print("    " + line)
    goal(not denied and len(statements) > 100 and failed == 0, f"{len(statements)} statements of the server are allowed to it, {failed} could not be planned")
