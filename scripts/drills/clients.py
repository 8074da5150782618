"""Clients that generators make of the OpenAPI document, in TypeScript and in Python, at a server of their own.

Goals: the document passes openapi-spec-validator, both generators take all of it, and with each client the program in
tests/clients logs in, creates, changes and lists; the one in TypeScript compiles strictly.

`clients.py PROGRAM`
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Goals, stand

PROGRAMS = Path("tests/clients").resolve()
PERSON = next(person for person in json.loads(Path("src/cli/demo/people.json").read_text()) if person["user_type"] == "staff")
STRICTLY = {"strict": True, "target": "es2022", "module": "nodenext", "moduleResolution": "nodenext", "types": []}


def run(goals, folder, what, *command):
    """Whether a command does not fail; what it said is printed if it does."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    goals.goal(done.returncode == 0, what)
    if done.returncode:
        print(said[-5000:])
    return said if done.returncode == 0 else None


def in_python(goals, folder, asked):
    generator = shutil.which("openapi-python-client")
    said = run(goals, folder, "openapi-python-client makes a client", generator, "generate", "--path", "openapi.json",
               "--output-path", "swincms_client", "--meta", "none")
    if said is None:
        return
    # An operation that it cannot read it leaves out, and says so.
    goals.goal("Endpoint" not in said and "WARNING parsing" not in said, "it leaves out no operation")
    shutil.copy(PROGRAMS / "client.py", folder)
    # The client needs what the generator has: its own interpreter knows where that is.
    python = Path(generator).resolve().with_name("python3")
    run(goals, folder, "the program in Python does all it wants", python, "client.py", *asked)


def in_typescript(goals, folder, asked):
    (folder / "node_modules").symlink_to(Path(shutil.which("openapi-typescript")).parent.parent)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": STRICTLY, "files": ["client.ts"]}))
    if run(goals, folder, "openapi-typescript makes the types", "openapi-typescript", "openapi.json", "-o", "schema.d.ts") is None:
        return
    shutil.copy(PROGRAMS / "client.ts", folder)
    if run(goals, folder, "the program in TypeScript compiles", "tsc", "--project", ".") is None:
        return
    run(goals, folder, "the program in TypeScript does all it wants", "node", "client.js", *asked)


def main(program):
    goals = Goals()
    with stand(program, seed=("--students", "5")) as (made, [port]), \
            tempfile.TemporaryDirectory(prefix="swincms-clients-") as folder:
        folder = Path(folder)
        document = subprocess.run([program, "openapi"], env=made.env, check=True, capture_output=True).stdout
        (folder / "openapi.json").write_bytes(document)
        run(goals, folder, "openapi-spec-validator finds nothing", "openapi-spec-validator", "openapi.json")
        asked = [f"http://127.0.0.1:{port}", PERSON["email"], PERSON["password"]]
        in_python(goals, folder, asked)
        in_typescript(goals, folder, asked)
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
