"""Ten of the largest pictures at once, to a process that may have 512 MB. Part of the drill `hostile`.

Goals: each is served or refused, the process stays below its limit, and it answers afterwards.
"""

import http.client
import io
import re
import struct
import sys
import threading
import zlib
from pathlib import Path

from common import QUIET, Goals, people, stand

LIMIT = 512 * 1024


def png(width, height, colours=6, bits=8):
    """A picture of one colour, as small as it can be sent."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = 1 + width * {2: 3, 6: 4}[colours] * bits // 8
    packer, out = zlib.compressobj(9), io.BytesIO()
    for _ in range(height):
        out.write(packer.compress(bytes(line)))
    out.write(packer.flush())
    head = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", out.getvalue()) + chunk(b"IEND", b"")


def send(port, bearer, path, picture):
    body = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n" + picture + b"\r\n--x--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", path, body, {"Content-Type": "multipart/form-data; boundary=x",
                                            "Authorization": f"Bearer {bearer}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def memory(process, field):
    return int(re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[1])


def main(program):
    goals = Goals()
    with stand(program, LOG_LEVEL=QUIET) as (made, [port]):
        process = made.processes[0].pid
        staff, student = people(made, "staff", 1)[0][1], people(made, "student", 1)[0][1]
        pictures = {
            "RGB, 6000 x 4000": png(6000, 4000, colours=2), "RGBA, 4400 x 4400": png(4400, 4400),
            "RGBA, 8192 x 8192": png(8192, 8192), "RGBA of 16 bits, 4400 x 4400": png(4400, 4400, bits=16),
        }
        for what, picture in pictures.items():
            for path, bearer in (("/api/users/users/me/profile_image/", student), ("/api/core/media/", staff)):
                Path(f"/proc/{process}/clear_refs").write_text("5")
                before = memory(process, "VmRSS")
                status = send(port, bearer, path, picture)
                grown = memory(process, "VmHWM") - before
                print(f"  {what}, {len(picture) // 1024} kB, to {path}: {status}, + {grown // 1024} MB")
        Path(f"/proc/{process}/clear_refs").write_text("5")
        statuses, largest = [], [pictures["RGB, 6000 x 4000"], pictures["RGBA, 4400 x 4400"]]
        threads = [threading.Thread(target=lambda n=n: statuses.append(send(port, staff, "/api/core/media/", largest[n % 2])))
                   for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        peak = memory(process, "VmHWM")
        counted = {status: statuses.count(status) for status in sorted(set(statuses))}
        goals.goal(set(statuses) <= {201, 503} and len(statuses) == 10, f"ten of the largest at once: {counted}")
        goals.goal(peak < LIMIT, f"the process had at most {peak // 1024} MB of {LIMIT // 1024}")
        goals.goal(send(port, student, "/api/users/users/me/profile_image/", png(64, 64)) == 200, "and works afterwards")
    return goals.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
