"""A lecture hall logs in: 500 students behind one address, beside somebody who guesses one of their passwords.

Goals: all 500 are in within 60 s with no 429 (a 503 with Retry-After is honoured); of 40 guesses at most 10 are looked
at; the guessed account's owner still gets in from where she has logged in before; reads stay fast meanwhile.
"""

import http.client
import json
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import Goals, stand

STUDENTS, HALL, HOME = 500, "198.51.100.7", "203.0.113.9"
PASSWORD = json.loads(Path("src/cli/demo/people.json").read_text())[0]["password"]


def request(port, method, path, body=None, address=HALL):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Content-Type": "application/json", "X-Forwarded-For": address}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.getheader("Retry-After")


def log_in(port, number, password=PASSWORD, address=HALL):
    """Honours 503 as a client would; returns the last status and how often it was asked to wait."""
    for waited in range(60):
        body = {"email": f"demo{number:06}@swin.edu.au", "password": password}
        status, retry = request(port, "POST", "/api/token/", body, address)
        if status != 503:
            return status, waited
        time.sleep(float(retry or 1))
    return 503, 60


def reads(port, stop, into):
    while not stop.is_set():
        began = time.monotonic()
        request(port, "GET", "/api/academic/units/1/")
        into.append((time.monotonic() - began) * 1000)


def p99(times):
    return statistics.quantiles(times, n=100)[98]


def measured(port, work):
    stop, times = threading.Event(), []
    reader = threading.Thread(target=reads, args=(port, stop, times))
    reader.start()
    result = work()
    stop.set()
    reader.join()
    return result, p99(times)


def main(program):
    goals = Goals()
    with stand(program, seed=("--students", str(STUDENTS)), TRUSTED_PROXIES="127.0.0.1") as (_, [port]):
        drill(port, goals.goal)
    return goals.close()


def drill(port, goal):
    assert log_in(port, 1, address=HOME)[0] == 200
    _, idle = measured(port, lambda: time.sleep(3))

    def rush():
        began = time.monotonic()
        with ThreadPoolExecutor(64) as pool:
            guesses = [pool.submit(log_in, port, 1, f"guess-{n}") for n in range(40)]
            students = [pool.submit(log_in, port, n) for n in range(2, STUDENTS + 1)]
            answers = [student.result() for student in students]
            took = time.monotonic() - began
            return answers, took, [guess.result()[0] for guess in guesses]

    (answers, took, guesses), busy = measured(port, rush)
    statuses = [status for status, _ in answers]
    waits = sum(waited for _, waited in answers)
    goal(statuses.count(200) == len(statuses), f"{statuses.count(200)} of {len(statuses)} students got in")
    goal(statuses.count(429) == 0, f"{statuses.count(429)} were throttled; {waits} times somebody was asked to wait")
    goal(took <= 60, f"it took {took:.1f} s: {len(statuses) / took:.1f} log-ins/s")
    goal(guesses.count(401) <= 10, f"{guesses.count(401)} of 40 guesses were looked at, {guesses.count(429)} throttled")
    goal(log_in(port, 1, address=HOME)[0] == 200, "the guessed account's owner gets in from home")
    goal(log_in(port, 1)[0] == 429, "but not from where the guesses came")
    goal(busy < 2 * idle, f"p99 of a read: {idle:.1f} ms idle, {busy:.1f} ms meanwhile ({busy / idle:.1f} x)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
