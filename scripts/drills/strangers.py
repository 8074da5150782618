"""What a stranger can cost others: bodies and queries that ask for more than they bring, floods of log-ins, large pictures.

`strangers.py PROGRAM [PART …]`: by default all of `bounds`, `floods`, `pictures`.
"""

import importlib
import sys

PARTS = ("bounds", "floods", "pictures")


def main(program, *parts):
    missed = 0
    for part in parts or PARTS:
        print(f"== {part}", flush=True)
        missed += importlib.import_module(part).main(program)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
