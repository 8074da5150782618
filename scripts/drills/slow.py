"""Clients that are slow on purpose, against nginx and against one server; part of the drill `stack`.

A thousand connections send a byte every few seconds: of a TLS hello, of the head of a request, of a body. Or they send half a body
and then nothing. Meanwhile others, a few hundred requests a second, are timed.
"""

import asyncio
import json
import re
import resource
import ssl
import subprocess
import time

from site_behind_nginx import log_in

ATTACKERS = 1000
# Seconds between two bytes; how long the attackers are watched; how soon they must be gone.
PAUSE, WATCHED, GONE = 3, 20, 15
HEAD = b"GET /api/academic/units/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nX-Slow: " + b"x" * 1000
POST = (b"POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100000\r\n\r\n")

# Sixteen connections that wait between requests, so that the answer's time is measured, not the queue's.
WRK = """
local tokens, turn = {%s}, 0
request = function()
  turn = turn %% #tokens + 1
  return wrk.format("GET", "/api/users/users/me/", {Authorization = "Bearer " .. tokens[turn], Host = "localhost", ["X-Forwarded-Proto"] = "https"})
end
delay = function() return 30 end
done = function(summary, latency)
  local e = summary.errors
  print(string.format("sums %%d %%d %%d", summary.requests, e.status + e.connect + e.read + e.write + e.timeout, latency:percentile(99)))
end
"""


def slow(site, goal):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    tokens = [log_in(site, f"demo{number:06}@swin.edu.au") for number in range(1, 41)]
    script = site.folder / "slow.lua"
    script.write_text(WRK % ", ".join(json.dumps(token) for token in tokens))
    nginx, server = ("nginx", site.https, site.trust), ("one server", site.ports[0], None)
    for (name, port, trust), shapes in ((nginx, (hello, head, late_head, stalled_body, slow_body)), (server, (head, stalled_body, slow_body))):
        for shape in shapes:
            attack(goal, name, port, trust, shape, script)


def attack(goal, name, port, trust, shape, script):
    what = f"{name}, {ATTACKERS} x {shape.__doc__}"
    before = others(script, port, trust, 5)
    lives, meanwhile = asyncio.run(attacked(port, trust, shape, lambda: others(script, port, trust, 8)))
    # The slowest of a hundred is a matter of luck too: the worse of two quiet times counts.
    idle = max(before, others(script, port, trust, 5), key=lambda found: found["p99"])
    gone = sorted(life for life in lives if life is not None)
    last = f"{len(gone)} closed" + (f", the last after {gone[-1]:.1f} s" if gone else "")
    goal(meanwhile["failed"] == 0 and meanwhile["p99"] < 2 * idle["p99"],
         f"{what}: others' p99 {meanwhile['p99']:.1f} ms, without {idle['p99']:.1f} ms; {meanwhile['failed']} of {meanwhile['requests']} fail")
    if shape is slow_body:
        # As slow as somebody on a bad line: no answer tells the two apart, so it must not hurt.
        print(f"    {what}: {last}, the others go on sending")
    else:
        goal(len(gone) == ATTACKERS and gone[-1] <= GONE, f"{what}: {last}")


def others(script, port, trust, seconds):
    """How those fare who are as they should be: p99 in milliseconds."""
    address = f"{'https' if trust else 'http'}://127.0.0.1:{port}"
    command = ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", str(script), address]
    said = subprocess.run(command, text=True, capture_output=True).stdout
    requests, failed, p99 = map(int, re.search(r"^sums (\d+) (\d+) (\d+)$", said, re.MULTILINE).groups())
    return {"requests": requests, "failed": failed, "p99": p99 / 1000}


async def attacked(port, trust, shape, meanwhile):
    """How long each attacker's connection lived, None for those that still do; and what `meanwhile` found."""
    attackers = [asyncio.create_task(life(port, trust, shape, number)) for number in range(ATTACKERS)]
    # All are connected, and none is gone yet.
    await asyncio.sleep(1.5)
    found = await asyncio.to_thread(meanwhile)
    return await asyncio.gather(*attackers), found


async def life(port, trust, shape, number):
    # Not all at once, which would be another attack.
    await asyncio.sleep(number / ATTACKERS)
    tls = trust if shape is not hello else None
    began = time.monotonic()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None)
        sending = asyncio.create_task(shape(writer, trust))
        ends = began + WATCHED
        try:
            while await asyncio.wait_for(reader.read(4096), ends - time.monotonic()):
                pass
            return time.monotonic() - began
        finally:
            sending.cancel()
            writer.transport.abort()
    except TimeoutError:
        return None
    except OSError:
        return time.monotonic() - began


async def dribble(writer, data):
    for place in range(len(data)):
        writer.write(data[place:place + 1])
        await asyncio.sleep(PAUSE)


async def hello(writer, trust):
    """a byte of a TLS hello every 3 s"""
    outgoing = ssl.MemoryBIO()
    try:
        trust.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        await dribble(writer, outgoing.read())


async def head(writer, _):
    """a byte of a head every 3 s"""
    await dribble(writer, HEAD)


async def late_head(writer, _):
    """nothing for 6 s, then a byte of a head every 3 s"""
    await asyncio.sleep(6)
    await dribble(writer, HEAD)


async def stalled_body(writer, _):
    """a body that stops"""
    writer.write(POST + b"{" * 1000)


async def slow_body(writer, _):
    """a byte of a body every 3 s"""
    writer.write(POST)
    await dribble(writer, b"{" * 1000)
