"""The production set-up without containers: two server processes behind a real nginx, over TLS, on a PostgreSQL that takes
client certificates alone, each role with no more rights than it needs.

Goals: eight hostile TLS set-ups are refused; sixty statements are forbidden to the application's role, while every
statement of the server is allowed; through nginx all works as the server itself does it, with each security header once;
a killed replica goes unnoticed by reads; 20 restarts of both under load, half of it POST, with no failed request.
"""

import glob
import http.client
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zlib
from contextlib import ExitStack
from pathlib import Path

from cluster import cluster, migrate, production
from common import Goals, free_port
from hostile import hostile
from rights import roles

PASSWORD = json.loads(Path("src/cli/demo/people.json").read_text())[0]["password"]
RESTARTS = 20
HEADERS = ("strict-transport-security", "x-content-type-options", "x-frame-options", "referrer-policy",
           "content-security-policy", "x-request-id")


class Site:
    """nginx and the replicas behind it."""

    def __init__(self, made, program, folder):
        self.made, self.program, self.folder = made, program, Path(folder)
        self.http, self.https = free_port(), free_port()
        self.ports = [free_port(), free_port()]
        self.replicas = [None, None]
        self.trust = ssl.create_default_context(cafile=f"{made.certificates}/ca/tls.crt")
        self.run = self.folder / "nginx"
        self.run.mkdir(mode=0o755)
        web = self.folder / "web"
        (web / "static").mkdir(parents=True)
        (web / "index.html").write_text("<!doctype html><title>the page</title>")
        (web / "static" / "app.1a2b.js").write_text("console.log('the page')")
        (web / ".env").write_text("not for anybody")

    def write_conf(self, down=()):
        """The repository's nginx.conf with other addresses and paths, by the script that operators use."""
        certificates = self.made.certificates / "site"
        env = {
            "PATH": os.environ["PATH"], "BACKENDS": " ".join(f"127.0.0.1:{port}" for port in self.ports),
            "DOWN": " ".join(f"127.0.0.1:{port}" for port in down), "HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "HTTPS_LISTEN": f"127.0.0.1:{self.https}", "CERTIFICATE": f"{certificates}/tls.crt",
            "KEY": f"{certificates}/tls.key", "MEDIA_ROOT": f"{self.folder}/media", "WEB_ROOT": f"{self.folder}/web",
            "RUN_DIR": str(self.run), "ACCESS_LOG": f"{self.run}/access.log", "ERROR_LOG": f"{self.run}/error.log",
            "MAX_UPLOAD_MB": "1", "CORS_ALLOWED_ORIGINS": "https://app.example.edu",
        }
        text = self.made.run("./scripts/nginx-conf.sh", env=env)
        (self.run / "nginx.conf").write_text(text)

    def nginx(self, *arguments):
        self.made.run("nginx", "-c", f"{self.run}/nginx.conf", "-e", f"{self.run}/error.log", *arguments)

    def reload(self, down=()):
        """Tells nginx, and waits until its old workers take no more requests."""
        self.write_conf(down)
        before = self.workers()
        self.nginx("-s", "reload")
        until(lambda: not before & self.workers(), 20)

    def workers(self):
        """Workers of nginx that take requests."""
        master = (self.run / "nginx.pid").read_text().strip()
        found = set()
        for status in glob.glob("/proc/[0-9]*/stat"):
            try:
                fields = Path(status).read_text().rsplit(")", 1)[1].split()
                title = Path(status.replace("/stat", "/cmdline")).read_bytes()
            except OSError:
                continue
            if fields[1] == master and b"shutting down" not in title:
                found.add(status.split("/")[2])
        return found

    def start_replica(self, number):
        port = self.ports[number]
        env = production(self.made, self.folder, BIND=f"127.0.0.1:{port}", MAX_UPLOAD_MB="1",
                         PUBLIC_URL=f"https://localhost:{self.https}")
        with open(self.folder / f"server-{number}.log", "a") as log:
            self.replicas[number] = subprocess.Popen([self.program], env=env, cwd=self.folder, stdout=log, stderr=log)
        until(lambda: ready(port), 20)

    def stop_replica(self, number, how=signal.SIGTERM):
        self.replicas[number].send_signal(how)
        self.replicas[number].wait(timeout=60)

    def restart(self, number):
        """What scripts/deploy.sh does with each replica: out of nginx, drained, anew, ready, back in."""
        self.reload(down=[self.ports[number]])
        self.stop_replica(number)
        self.start_replica(number)
        self.reload()

    def connect(self):
        return http.client.HTTPSConnection("localhost", self.https, timeout=20, context=self.trust)

    def ask(self, method, path, body=None, token=None, headers=None):
        """The answer: status, headers as pairs with lower-case names, and the bytes."""
        connection = self.connect()
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, [(n.lower(), v) for n, v in answer.getheaders()], answer.read())
        finally:
            connection.close()

    def close(self):
        if (self.run / "nginx.pid").exists():
            self.nginx("-s", "stop")
        for replica in self.replicas:
            if replica and replica.poll() is None:
                replica.terminate()
                replica.wait(timeout=60)


class Answer:
    def __init__(self, status, headers, content):
        self.status, self.headers, self.content = status, headers, content

    def all(self, name):
        return [value for header, value in self.headers if header == name]

    def one(self, name):
        values = self.all(name)
        return values[0] if len(values) == 1 else None

    def json(self):
        return json.loads(self.content)

    def twice(self):
        """Security headers that are not there exactly once."""
        return [name for name in HEADERS if len(self.all(name)) != 1]


def until(holds, seconds):
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            sys.exit("waited in vain")
        time.sleep(0.02)


def ready(port):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False


def main(program):
    goals = Goals()
    with tempfile.TemporaryDirectory(prefix="swincms-drill-") as folder, ExitStack() as running:
        os.chmod(folder, 0o755)
        made = running.enter_context(cluster(folder, os.environ["PG_BIN"]))
        migrate(made, program, folder)
        made.run(program, "seed", "--force", "--students", "50", env=production(made, folder), cwd=folder)
        hostile(made, program, folder, goals.goal)
        roles(made, goals.goal)
        site = Site(made, program, folder)
        running.callback(site.close)
        for number in (0, 1):
            site.start_replica(number)
        site.write_conf()
        site.nginx("-t", "-q")
        site.nginx()
        until(lambda: reachable(site.https), 10)
        smoke(site, goals.goal)
        resilience(site, goals.goal)
        broken = made.broken_invariants()
        goals.goal(not broken, f"what always holds, holds {broken or ''}")
        logs = "".join(Path(log).read_text() for log in glob.glob(f"{folder}/server-*.log"))
        denied = re.findall("permission denied for [^\"\\n]*", logs)
        goals.goal(not denied, f"no statement of the servers was denied {sorted(set(denied)) or ''}")
        panics = logs.count("panicked")
        goals.goal(panics == 0, f"{panics} panics")
    return goals.close()


def reachable(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---- Through nginx ----

def multipart(fields, name, content, media_type="application/octet-stream"):
    edge = "drill-edge"
    parts = [f'--{edge}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode() for field, value in fields.items()]
    parts.append(f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {media_type}\r\n\r\n'.encode())
    return b"".join(parts) + content + f"\r\n--{edge}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={edge}"}


def picture():
    """A PNG of one pixel."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b""))


def log_in(site, email):
    answer = site.ask("POST", "/api/token/", {"email": email, "password": PASSWORD})
    if answer.status != 200:
        logs = "".join(path.read_text() for path in site.folder.glob("server-*.log"))
        sys.exit(f"{email} cannot log in: {answer.status} {answer.content}\n{logs[-2000:]}")
    return answer.json()["access"]


def smoke(site, goal):
    admin, staff = log_in(site, "admin@swin.edu.au"), log_in(site, "staff@swin.edu.au")
    student = log_in(site, "demo000001@swin.edu.au")
    me = site.ask("GET", "/api/users/users/me/", token=staff)
    goal(me.status == 200 and me.one("etag") and me.one("etag").startswith('"'), "log in, and read oneself with a strong ETag")
    goal(site.ask("GET", "/api/users/users/me/", token=staff, headers={"If-None-Match": me.one("etag")}).status == 304, "unchanged: 304")
    unit = site.ask("POST", "/api/academic/units/", {"code": "DRL10001", "name": "A drill"}, staff)
    listed = site.ask("GET", "/api/academic/units/?page_size=2", token=staff)
    goal(unit.status == 201 and listed.status == 200 and "https://" in (listed.one("link") or "https://"), "list and create")
    path = f"/api/academic/units/{unit.json()['id']}/"
    statuses = [site.ask("PATCH", path, {"name": "Another"}, staff).status, site.ask("DELETE", path, token=staff).status,
                site.ask("POST", path + "restore/", token=admin).status]
    goal(statuses == [200, 204, 200], f"change, delete, restore: {statuses}")
    # Its statements are made of a list, so no plan of `rights` has seen them.
    other = site.ask("GET", "/api/users/users/?search=demo0000&ordering=-id", token=admin).json()
    erased = site.ask("POST", f"/api/users/users/{other[0]['id']}/anonymise/", token=admin)
    goal(erased.status == 200 and erased.json()["tables"], f"somebody is anonymised: {erased.status}")

    # Every list that an administrator can see: whether the role may read it all.
    schema = site.ask("GET", "/api/schema/").json()
    paths = [p for p, verbs in schema["paths"].items() if "get" in verbs and "{" not in p and "stream" not in p]
    faults = {p: status for p in paths if (status := site.ask("GET", p, token=admin).status) >= 500}
    goal(not faults, f"{len(paths)} paths are read by an administrator, none fails {faults or ''}")

    # Private and public files.
    body, headers = multipart({"unit": str(unit.json()["id"]), "title": "Notes", "resource_type": "OTHER"}, "my notes.txt", b"for the enrolled alone\n")
    stored = site.ask("POST", "/api/academic/unit-resources/", body, staff, headers)
    link = stored.json().get("file", "") if stored.status == 201 else ""
    private = site.ask("GET", link.split(f":{site.https}")[-1]) if link else Answer(0, [], b"")
    goal(private.status == 200 and private.content == b"for the enrolled alone\n", f"a private file comes by its link ({stored.status}, {private.status})")
    once = private.twice() + [n for n in ("content-disposition", "content-type", "cache-control") if len(private.all(n)) != 1]
    goal(not once and "attachment" in (private.one("content-disposition") or "") and private.one("cache-control") == "private, no-store"
         and "sandbox" in private.one("content-security-policy") and not private.all("x-accel-redirect"), f"with the server's headers, each once {once or ''}")
    name = site.made.sql("select name from stored_files where not public order by id desc limit 1")
    tries = [f"/protected/{name}", f"/media/{name}", f"/media/../private/{name}", f"/media/..%2fprivate/{name}", f"/media/%2e%2e/private/{name}",
             f"/static/../../media/private/{name}", f"/api/files/1/?exp=9999999999&sig=x", "/.env", "/static/..%2f.env"]
    got = {p: a.status for p in tries if b"for the enrolled" in (a := site.ask("GET", p)).content or b"not for anybody" in a.content}
    goal(not got, f"and in none of {len(tries)} other ways {got or ''}")
    sent = [line for line in (site.run / "access.log").read_text().splitlines() if "sig=" in line]
    goal(not sent, "no signature is in nginx's log")

    body, headers = multipart({}, "me.png", picture(), "image/png")
    stored = site.ask("POST", "/api/users/users/me/profile_image/", body, staff, headers)
    url = (stored.json() or {}).get("profile_image") or ""
    public = site.ask("GET", url.split(f":{site.https}")[-1])
    goal(public.status == 200 and public.one("content-type") == "image/png" and public.one("content-disposition").startswith("inline")
         and "immutable" in public.one("cache-control") and not public.twice(), f"a public picture is shown, and kept: {stored.status} {public.status}")
    root = site.folder / "media" / "public"
    kinds = {"a1.html": b"<script>alert(1)</script>", "a2.svg": b"<svg/>", "a3.txt": b"text", "a4.pdf": b"%PDF-1.4", "a5.partial": b"half", "a6.docx": b"PK"}
    found = {}
    for kind, content in kinds.items():
        (root / kind).write_bytes(content)
        answer = site.ask("GET", f"/media/{kind}")
        found[kind] = (answer.status, answer.one("content-type"), (answer.one("content-disposition") or "").split(";")[0], bool(answer.twice()))
        (root / kind).unlink()
    want = {"a1.html": (200, "application/octet-stream", "attachment", False), "a2.svg": (200, "application/octet-stream", "attachment", False),
            "a3.txt": (200, "text/plain", "attachment", False), "a4.pdf": (200, "application/pdf", "inline", False), "a5.partial": None,
            "a6.docx": (200, "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "attachment", False)}
    wrong = {k: found[k] for k in kinds if (found[k] != want[k] if want[k] else found[k][0] != 404)}
    goal(not wrong, f"of other public files none but PDF is shown in place {wrong or ''}")

    # Limits.
    big, headers = multipart({"unit": str(unit.json()["id"]), "title": "Big", "resource_type": "OTHER"}, "big.txt", b"x" * (1536 * 1024))
    server = site.ask("POST", "/api/academic/unit-resources/", big, staff, headers)
    huge, headers = multipart({}, "huge.txt", b"x" * (4 * 1024 * 1024))
    nginx = refused_early(site, "/api/academic/unit-resources/", len(huge), headers["Content-Type"], staff)
    goal((server.status, nginx.status) == (413, 413) and nginx.one("content-type") == "application/problem+json" and nginx.json()["status"] == 413
         and not nginx.twice(), "too large a file is 413: by the server, and by nginx before it comes")
    fits, headers = multipart({"unit": str(unit.json()["id"]), "title": "Fits", "resource_type": "OTHER"}, "fits.txt", b"x" * (1024 * 1024))
    goal(site.ask("POST", "/api/academic/unit-resources/", fits, staff, headers).status == 201, "one of MAX_UPLOAD_MB passes")
    limits(site, goal, student)

    # nginx's own answers, and the web page's.
    page, deep, static, absent = (site.ask("GET", p) for p in ("/", "/units/7/edit", "/static/app.1a2b.js", "/static/none.js"))
    goal(page.status == deep.status == 200 and b"the page" in deep.content and page.one("cache-control") == "no-cache", "the web page answers for its own paths")
    goal(static.status == 200 and static.one("content-type").startswith("application/javascript") and "immutable" in static.one("cache-control") and absent.status == 404,
         "its parts are kept for a year")
    api404, docs, health, other = (site.ask("GET", p) for p in ("/api/nothing/", "/api/docs/", "/health/ready", "/health/else"))
    metrics = site.ask("GET", "/metrics")
    answers = {"/": page, "/units/7/edit": deep, "/static/none.js": absent, "/api/nothing/": api404, "/api/docs/": docs, "/health/ready": health,
               "/api/users/users/me/": me, "401": site.ask("GET", "/api/users/users/me/"), "/metrics": metrics, "/media/none.png": site.ask("GET", "/media/none.png"),
               "405": site.ask("POST", "/", b"")}
    twice = {p: a.twice() for p, a in answers.items() if a.twice()}
    goal(not twice, f"each of {len(HEADERS)} headers stands once on each of {len(answers)} answers {twice or ''}")
    goal(answers["405"].status == 405 and answers["405"].one("content-type") == "application/problem+json", f"a wrong method is 405: {answers['405'].status} {answers['405'].one('content-type')}")
    broken = raw(site, b"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"), raw(site, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40000 + b"\r\n\r\n")
    goal(all(a.status == 400 and a.one("content-type") == "application/problem+json" and not a.twice() for a in broken), "what is malformed is 400")
    goal("script-src" in docs.one("content-security-policy"), "the server's own policy for its interactive page stands")
    goal((health.status, other.status, metrics.status) == (200, 404, 404), "health is public, nothing else for operators is")
    hsts = {a.one("strict-transport-security") for a in answers.values()}
    goal(hsts == {"max-age=31536000"}, f"HSTS is for a year, everywhere the same: {hsts}")
    versions = [v for a in answers.values() for n, v in a.headers if n == "server" and re.search(r"\d", v)]
    goal(not versions, "no version is told")
    cors = site.ask("GET", "/api/academic/units/?page_size=1", headers={"Origin": "https://app.example.edu"})
    goal(cors.all("access-control-allow-origin") == ["https://app.example.edu"], "CORS is the server's, once")

    plain = http.client.HTTPConnection("127.0.0.1", site.http, timeout=10)
    plain.request("POST", "/api/token/?a=b", headers={"Host": "localhost"})
    moved = plain.getresponse()
    goal(moved.status == 308 and moved.getheader("Location") == "https://localhost/api/token/?a=b", f"http leads to https: {moved.status} {moved.getheader('Location')}")
    for version, wanted in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        goal(speaks(site, version) == wanted, f"{version.name} is {'spoken' if wanted else 'refused'}")

    # Who asked: nginx's word, not the client's.
    site.ask("POST", "/api/token/", {"email": "nobody@swin.edu.au", "password": "x"}, headers={"X-Forwarded-For": "203.0.113.77", "X-Forwarded-Proto": "http"})
    addresses = site.made.sql("select string_agg(distinct host(ip_address), ',') from audit_log where ip_address is not null")
    goal(addresses == "127.0.0.1", f"a claimed address is not believed: {addresses}")

    # Server-sent events come as they are told.
    took = stream(site, student)
    goal(took is not None and took < 2, f"a notification comes through nginx in {took if took is None else round(took, 2)} s")


def raw(site, request):
    with socket.create_connection(("127.0.0.1", site.https), timeout=10) as plain, site.trust.wrap_socket(plain, server_hostname="localhost") as tls:
        tls.sendall(request)
        answer = http.client.HTTPResponse(tls)
        answer.begin()
        return Answer(answer.status, [(n.lower(), v) for n, v in answer.getheaders()], answer.read())


def refused_early(site, path, length, media_type, token):
    """Announces a body and waits: the refusal comes before any of it is sent."""
    return raw(site, f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n".encode())


def limits(site, goal, token):
    """A burst of 500 is served, what goes far beyond is 429; another caller, and the refresh of tokens, are not affected."""
    def burst(path, count, bearer):
        statuses, lock = [], threading.Lock()

        def work(share):
            connection = site.connect()
            for _ in range(share):
                connection.request("GET", path, headers={"Authorization": f"Bearer {bearer}"} if bearer else {})
                answer = connection.getresponse()
                content = answer.read()
                with lock:
                    statuses.append((answer.status, answer.getheader("Retry-After"), answer.getheader("Content-Type"), content))
            connection.close()

        threads = [threading.Thread(target=work, args=(count // 8,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses

    caller = "a caller of a drill's"
    first = burst("/health/live", 480, caller)
    goal(all(status == 200 for status, *_ in first), "480 requests at once are served")
    many = burst("/health/live", 3200, caller)
    refused = [answer for answer in many if answer[0] == 429]
    fits = all(after == "1" and kind == "application/problem+json" and json.loads(content)["code"] == "too_many_requests" for _, after, kind, content in refused)
    goal(len(refused) > 0 and fits, f"of 3200 more {len(refused)} are 429 with Retry-After, as problem+json")
    other = site.ask("GET", "/api/users/users/me/", token=token)
    goal(other.status == 200, "another caller behind the same address is not affected")
    refreshed = [site.ask("POST", p, {"refresh": "x"}, headers={"Authorization": f"Bearer {caller}"}).status for p in ("/api/token/refresh/", "/api/token/refresh")]
    goal(refreshed == [401, 401], f"nor is the refresh of tokens: {refreshed}")
    rate = [status for status, *_ in burst("/health/live", 8, caller)]
    time.sleep(1)
    later = [status for status, *_ in burst("/health/live", 48, caller)]
    goal(later.count(200) == 48, f"a second later 48 of 48 are served again (at once {rate.count(200)} of 8)")


def speaks(site, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(f"{site.made.certificates}/ca/tls.crt")
    warnings.simplefilter("ignore", DeprecationWarning)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    if version == ssl.TLSVersion.TLSv1_3:
        context.minimum_version = version
    else:
        # Else the client's own rules would refuse an old version first.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    try:
        with socket.create_connection(("127.0.0.1", site.https), timeout=5) as raw, context.wrap_socket(raw, server_hostname="localhost"):
            return True
    except (ssl.SSLError, OSError):
        return False


def stream(site, student):
    """Seconds from a notification's commit to its arrival."""
    connection = site.connect()
    connection.request("GET", "/api/core/notifications/stream/", headers={"Authorization": f"Bearer {student}"})
    answer = connection.getresponse()
    if answer.status != 200:
        return None
    answer.fp.readline()
    person = site.ask("GET", "/api/users/users/me/", token=student).json()["id"]
    began = time.monotonic()
    site.made.sql(f"insert into notifications (recipient_id, verb) values ({person}, 'Through nginx')", "swincms")
    while time.monotonic() - began < 10:
        line = answer.fp.readline()
        if b"Through nginx" in line:
            connection.close()
            return time.monotonic() - began
    return None


# ---- Replicas that come and go ----

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
