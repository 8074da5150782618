"""The worst bodies of a mebibyte to every route that reads one, and the worst query strings of 60 kB to every route that has
parameters, as nobody, a student and an administrator. Part of the drill `hostile`.

Goals: no answer of 500 or above, a refusal below 64 kB, no more than 32 MB of memory above what the process had before, and
each answer within a second.
"""

import base64
import http.client
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from common import QUIET, Goals, people, stand

MEBIBYTE = 1024 * 1024
ROOM = MEBIBYTE - 64 * 1024
LARGEST_REFUSAL = 64 * 1024
MOST_MEMORY = 32 * 1024
SECOND = 1.0
NUL = '"\\u0000"'


def many(text, room):
    return ",".join([text] * (room // (len(text) + 1)))


def numbered(shape):
    parts, size, number = [], 2, 0
    while size < ROOM:
        parts.append(shape(number))
        size += len(parts[-1]) + 1
        number += 1
    return "{" + ",".join(parts[:-1]) + "}"


def bodies(fields):
    """Bodies that cost as much as they can; of those that depend on it, for a route with these fields."""
    each = ROOM // max(len(fields), 1) - 300
    long, name = "b" * 100_000, "n" * 250

    def everywhere(value):
        return "{" + ",".join(f"{json.dumps(field)}:{value}" for field in fields) + "}"

    yield "NUL upon NUL below a long name", '{"' + long + '":[' + many(NUL, ROOM - len(long)) + "]}"
    yield "NUL upon NUL below a name", '{"' + name + '":[' + many(NUL, ROOM) + "]}"
    yield "NUL in names", numbered(lambda n: f'"\\u0000{n}":0')
    yield "names of one letter too many", numbered(lambda n: f'"{n:0256}":0')
    yield "names as long as they may be", numbered(lambda n: f'"{n:0255}":0')
    yield "many names", numbered(lambda n: f'"{n}":0')
    yield "one name again and again", numbered(lambda _: '"a":0')
    yield "small objects", '{"a":[' + many('{"":0}', ROOM) + "]}"
    yield "small objects, not quite too many", '{"a":[' + ",".join(['{"":0}'] * 22_000) + "]}"
    yield "numbers", f'{{"a":[{many("0", ROOM)}]}}'
    yield "numbers alone", f'[{many("0", ROOM)}]'
    yield "deep", '{"a":' * 100_000 + "1"
    yield "as deep as it may be", f'{{"a":[{many("[" * 100 + "]" * 100, ROOM)}]}}'
    yield "one long text", f'{{"a":"{"x" * ROOM}"}}'
    yield "a list where anything stands", everywhere(f'[{many("0", each)}]')
    yield "objects where anything stands", everywhere('[' + many('{"":0}', each) + ']')
    yield "texts where anything stands", everywhere('[' + many('"x"', each) + ']')
    yield "a long text where anything stands", everywhere('"' + "x" * each + '"')
    yield "letters that are spelt long", everywhere('"' + "\\u0001" * (each // 6) + '"')
    yield "NUL where anything stands", everywhere('"' + "\\u0000" * (each // 6) + '"')
    yield "a number of many digits where anything stands", everywhere("9" * each)
    yield "an object where anything stands", everywhere('{"a":{"b":{}}}')
    yield "not UTF-8 in the end", b'{"a":"' + "\u20ac".encode() * (ROOM // 3) + b"\xe2\x82"


def queries(names):
    """Query strings that cost as much as they can, for a route with these parameters."""
    room, first = 60_000, (names or ["a"])[0]
    each = room // max(len(names), 1) - 40

    def ordering(count):
        return ",".join(["code", "-code"] * (count // 2))

    def cursor(count):
        made = {"o": ordering(count), "k": [""] * (count + 1), "i": 1}
        return base64.urlsafe_b64encode(json.dumps(made).encode()).decode().rstrip("=")

    def everywhere(value):
        return "&".join(f"{name}={value}" for name in names)

    yield "one long value", f"{first}={'a' * room}"
    yield "long values", everywhere("a" * each)
    yield "long numbers", everywhere("0" * each + "1")
    yield "lists of words", everywhere("a," * (each // 2))
    yield "signs with a meaning", everywhere("%25_%5C" * (each // 8))
    yield "a parameter again and again", "&".join([f"{first}=1"] * (room // (len(first) + 3)))
    yield "names that nobody knows", "&".join(f"a{n}=" for n in range(room // 8))
    yield "a name that nobody knows", "a" * room + "=1"
    yield "an ordering again and again", f"ordering={ordering(room // 6)}"
    yield "a cursor made at home", f"page_size=1&ordering={ordering(400)}&cursor={cursor(400)}"
    yield "a long cursor made at home", f"page_size=1&ordering=code&cursor={cursor(2000)}"
    yield "a search of many words", "search=" + "a%20" * 100


def fields_of(document, operation):
    """The fields of a body in JSON; None when it has no such body."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    while schema and "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].split("/")[-1]]
    if schema is None:
        return None
    return [name for part in [*schema.get("allOf", []), schema] for name in part.get("properties", {})]


class Watched:
    """A server whose memory is looked at."""

    def __init__(self, port, process):
        self.port, self.process = port, process

    def memory(self, field):
        return int(re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{self.process}/status").read_text())[1])

    def send(self, bearer, method, path, body=None):
        """The status, the size of the answer, how far the process grew (KiB), and how long it took."""
        Path(f"/proc/{self.process}/clear_refs").write_text("5")
        before, started = self.memory("VmRSS"), time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # Whoever may not is told so at the head, and the body is not read.
            pass
        try:
            answer = connection.getresponse()
            status, size = answer.status, len(answer.read())
        except (http.client.HTTPException, OSError):
            # Hung up on within the body, before the answer was read.
            status, size = 401, 0
        took = time.monotonic() - started
        connection.close()
        return status, size, max(0, self.memory("VmHWM") - before), took


def main(program):
    goals, worst, sent, wrong = Goals(), {"bytes": (0, ""), "KiB": (0, ""), "s": (0, "")}, 0, []
    with stand(program, seed=("--students", "50"), REGISTRATION="open", LOG_LEVEL=QUIET) as (made, [port]):
        document = json.loads(subprocess.run([program, "openapi"], env=made.env, check=True, capture_output=True).stdout)
        server = Watched(port, made.processes[0].pid)
        callers = {"nobody": None, "student": people(made, "student", 1)[0][1], "admin": people(made, "admin", 1)[0][1]}
        for path, item in document["paths"].items():
            if path.endswith("/stream/") or path == "/api/token/logout/":
                continue
            there = "/".join("1" if part.startswith("{") else part for part in path.split("/"))
            for method, operation in item.items():
                fields = fields_of(document, operation)
                names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
                shapes = [(what, there, body) for what, body in bodies(fields)] if fields is not None else []
                if method == "get" and names:
                    shapes += [(what, f"{there}?{query}", None) for what, query in queries(names)]
                for what, address, body in shapes:
                    for who, bearer in callers.items():
                        status, size, grown, took = server.send(bearer, method.upper(), address, body)
                        sent += 1
                        says = f"{method.upper()} {path} ({what}, {who}): {status}, {size} bytes, {grown} KiB, {took:.2f} s"
                        is_refusal = status >= 400
                        for unit, value in (("bytes", size if is_refusal else 0), ("KiB", grown), ("s", took)):
                            worst[unit] = max(worst[unit], (value, says))
                        most = LARGEST_REFUSAL if is_refusal else max(LARGEST_REFUSAL, 2 * len(body or ""))
                        too_large = size >= most and not (method == "get" and not is_refusal)
                        if status >= 500 or too_large or grown >= MOST_MEMORY or took >= SECOND:
                            wrong.append(says)
        print(f"  {sent} requests; memory at the end {server.memory('VmRSS') // 1024} MB")
        for unit, (_, says) in worst.items():
            print(f"  most {unit}: {says}")
        for says in wrong[:50]:
            print(f"  ! {says}")
        goals.goal(not wrong, f"{len(wrong)} of {sent} answers are too large, too dear, too slow or 5xx")
        goals.goal(not (broken := made.broken_invariants()), f"invariants hold {broken or ''}")
        # One anonymous request that took the memory of the process.
        for length, count in ((1_000, 1_000), (10_000, 1_000), (10_000, 5_000), (100_000, 1_000), (900_000, 10_000)):
            body = json.dumps({"b" * length: ["\0"] * count})
            status, size, grown, took = server.send(None, "POST", "/api/token/", body)
            print(f"  a name of {length} letters x {count} NULs, {len(body)} bytes: {status}, {size} bytes, {grown} KiB, {took:.3f} s")
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
