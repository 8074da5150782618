"""nginx and two replicas behind it, as the drill `stack` runs them."""

import glob
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

from cluster import production
from common import free_port

PASSWORD = json.loads(Path("src/cli/demo/people.json").read_text())[0]["password"]
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
            "ALLOWED_HOSTS": "localhost,cms.example.edu",
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


def reachable(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def log_in(site, email):
    answer = site.ask("POST", "/api/token/", {"email": email, "password": PASSWORD})
    if answer.status != 200:
        logs = "".join(path.read_text() for path in site.folder.glob("server-*.log"))
        sys.exit(f"{email} cannot log in: {answer.status} {answer.content}\n{logs[-2000:]}")
    return answer.json()["access"]
