"""Floods from one address, beside somebody who logs in from another.

Three floods of 40 connections for 12 s each: registering with an address that is taken, log-ins to made-up names, and log-ins
of one student with the right password. Goals: five log-ins a second from elsewhere are all 200, each within half a second;
the flood is told 429 or 503; what it leaves is counters, and they are few.
"""

import json
import statistics
import sys
import threading
import time

from common import QUIET, Goals, stand
from log_in import PASSWORD, request

CONNECTIONS, SECONDS, VICTIM = 40, 12, "203.0.113.9"
# Each flood has all that an address has.
FLOODERS = {"taken": "198.51.100.7", "made up": "198.51.100.8", "right": "198.51.100.9"}


def taken(port, number, turn):
    body = {"email": "demo000002@swin.edu.au", "username": f"flood{number}x{turn}", "password": "harbour-Quilt-77",
            "confirm_password": "harbour-Quilt-77"}
    return request(port, "POST", "/api/users/users/", body, FLOODERS["taken"])


def made_up(port, number, turn):
    return request(port, "POST", "/api/token/", {"email": f"no{number}x{turn}@example.edu", "password": "x"},
                   FLOODERS["made up"])


def right(port, _number, _turn):
    return request(port, "POST", "/api/token/", {"email": "demo000002@swin.edu.au", "password": PASSWORD},
                   FLOODERS["right"])


def flood(port, call, stop, into, number):
    turn = 0
    while not stop.is_set():
        turn += 1
        into.append(call(port, number, turn)[0])


def log_ins(port, seconds):
    """Five a second, each at its time whether or not the one before has been answered."""
    answers, threads = [], []

    def once():
        began = time.monotonic()
        body = {"email": "demo000001@swin.edu.au", "password": PASSWORD}
        status, _ = request(port, "POST", "/api/token/", body, VICTIM)
        answers.append((status, time.monotonic() - began))

    for _ in range(int(seconds * 5)):
        threads.append(threading.Thread(target=once))
        threads[-1].start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    return answers


def drill(port, goal, name, call):
    stop, statuses = threading.Event(), []
    flooders = [threading.Thread(target=flood, args=(port, call, stop, statuses, n)) for n in range(CONNECTIONS)]
    for flooder in flooders:
        flooder.start()
    time.sleep(0.5)
    answers = log_ins(port, SECONDS)
    stop.set()
    for flooder in flooders:
        flooder.join()
    times = sorted(took for _, took in answers)
    refused = [status for status, _ in answers if status != 200]
    counted = {status: statuses.count(status) for status in sorted(set(statuses))}
    goal(not refused, f"{name}: {len(answers) - len(refused)} of {len(answers)} log-ins from elsewhere got in {refused or ''}")
    goal(times[-1] < 0.5, f"{name}: median {statistics.median(times) * 1000:.0f} ms, worst {times[-1] * 1000:.0f} ms")
    goal(not [status for status in counted if status >= 500 and status != 503], f"{name}: the flood got {counted}")


def main(program):
    goals = Goals()
    settings = {"TRUSTED_PROXIES": "127.0.0.1", "REGISTRATION": "open", "LOG_LEVEL": QUIET}
    with stand(program, seed=("--students", "10"), **settings) as (_, [port]):
        assert request(port, "POST", "/api/token/", {"email": "demo000001@swin.edu.au", "password": PASSWORD}, VICTIM)[0] == 200
        drill(port, goals.goal, "taken addresses", taken)
        drill(port, goals.goal, "made-up names", made_up)
        drill(port, goals.goal, "right passwords", right)
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
