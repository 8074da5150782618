"""Replicas that come and go under load; part of the drill `stack`."""

import http.client
import signal
import threading
import time

from site_behind_nginx import log_in

RESTARTS = 20


class Load:
    """Reads and writes until it is stopped; remembers what failed."""

    def __init__(self, site, methods, clients=4):
        self.site, self.methods, self.stop = site, methods, threading.Event()
        self.done, self.failed = 0, []
        self.lock = threading.Lock()
        self.tokens = [log_in(site, f"demo{number:06}@swin.edu.au") for number in range(2, 2 + clients)]
        self.threads = [threading.Thread(target=self.work, args=(token, number)) for number, token in enumerate(self.tokens)]

    def work(self, token, number):
        turn = number
        while not self.stop.is_set():
            method = self.methods[turn % len(self.methods)]
            turn += 1
            try:
                if method == "GET":
                    answer = self.site.ask("GET", "/api/academic/units/?page_size=5", token=token)
                else:
                    answer = self.site.ask("POST", "/api/core/tickets/", {"title": f"Ticket {number} {turn}"}, token)
                wrong = None if answer.status in (200, 201) else f"{method} {answer.status} {answer.content[:80]}"
            except OSError as error:
                wrong = f"{method} {error!r}"
            except http.client.HTTPException as error:
                wrong = f"{method} {error!r}"
            with self.lock:
                self.done += 1
                if wrong:
                    self.failed.append(wrong)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def resilience(site, goal):
    with Load(site, ["GET"]) as load:
        time.sleep(1)
        site.stop_replica(0, signal.SIGKILL)
        time.sleep(2)
        site.start_replica(0)
        time.sleep(1)
    goal(not load.failed, f"a replica is killed: {len(load.failed)} of {load.done} reads fail {load.failed[:2] or ''}")

    before = int(site.made.sql("select count(*) from tickets"))
    began = time.monotonic()
    with Load(site, ["GET", "POST"]) as load:
        for turn in range(RESTARTS):
            site.restart(turn % 2)
    took = time.monotonic() - began
    goal(not load.failed, f"{RESTARTS} restarts of the two in turn: {len(load.failed)} of {load.done} requests fail, half of them POST, in {took:.0f} s {load.failed[:3] or ''}")
    made = int(site.made.sql("select count(*) from tickets")) - before
    goal(abs(made - load.done / 2) <= 4, f"{made} tickets were made")
