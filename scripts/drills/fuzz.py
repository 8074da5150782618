"""Requests that schemathesis makes up from the OpenAPI document, valid ones and such as break it, as nobody and as each kind of
person.

Goals: no answer of 500 or above, no status, header, media type or body that the document does not have, and every statement
of tests/invariants.sql holds. 100,000 requests take some forty minutes.

`fuzz.py PROGRAM [SECONDS]`: how long as each, by default 340.
"""

import collections
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from common import QUIET, UNCOUNTED, Goals, free_port, people, stand

KINDS = [None, "student", "parent", "unit_convenor", "auditor", "staff", "admin"]
# What ends the session that asks; the stream, which does not end; the advisor, who has nobody to ask here.
LEFT_OUT = ["/api/token/logout/", "/api/core/notifications/stream/", "/api/askai/chat/"]
CHECKS = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance"]
SAMPLE = re.compile(r'^swincms_http_requests_total\{(.*)\} (\d+)', re.M)


def answered(metrics):
    """How many requests the server has answered, by the first digit of the status."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
        text = answer.read().decode()
    counts = collections.Counter()
    for labels, count in SAMPLE.findall(text):
        counts[re.search('status="(.)', labels).group(1)] += int(count)
    return counts


def fuzz(folder, port, bearer, seconds, seed):
    """Whether all checks passed; what failed is printed."""
    command = ["schemathesis", "run", "openapi.json", "--url", f"http://127.0.0.1:{port}", "--checks", ",".join(CHECKS),
               "--phases", "coverage,fuzzing,stateful", "--max-time", str(seconds), "--seed", str(seed), "--no-color",
               "--continue-on-failure", "--generation-database", "none", "--warnings", "off", "--request-timeout", "30",
               "--suppress-health-check", "all"]
    for path in LEFT_OUT:
        command += ["--exclude-path", path]
    if bearer:
        command += ["--header", f"Authorization: Bearer {bearer}"]
    # It keeps what it found in the folder where it runs.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds * 3 + 300)
    if done.returncode:
        print(done.stdout[-20_000:], done.stderr[-2_000:])
    return done.returncode == 0


def main(program, seconds=340):
    goals = Goals()
    metrics, total = free_port(), collections.Counter()
    settings = {"LOG_LEVEL": QUIET, "METRICS_BIND": f"127.0.0.1:{metrics}", "REGISTRATION": "open", **UNCOUNTED}
    with stand(program, seed=("--students", "50"), **settings) as (made, [port]), \
            tempfile.TemporaryDirectory(prefix="swincms-fuzz-") as folder:
        document = subprocess.run([program, "openapi"], env=made.env, check=True, capture_output=True).stdout
        Path(folder, "openapi.json").write_bytes(document)
        # Their own ids are none that somebody makes up.
        made.sql("alter sequence users_id_seq restart 7000000; alter sequence sessions_id_seq restart 7000000")
        for seed, kind in enumerate(KINDS):
            bearer = people(made, kind, 1)[0][1] if kind else None
            before = answered(metrics)
            passed = fuzz(folder, port, bearer, int(seconds), seed)
            counts = answered(metrics) - before
            total += counts
            said = ", ".join(f"{counts[digit]} x {digit}xx" for digit in sorted(counts))
            goals.goal(passed and not counts["5"], f"as {kind or 'nobody'}: {said}")
        print(f"  {sum(total.values())} requests")
        goals.goal(not (broken := made.broken_invariants()), f"invariants hold {broken or ''}")
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
