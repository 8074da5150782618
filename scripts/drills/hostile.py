"""Set-ups of TLS between server and database that must be refused; part of the drill `stack`."""

import json
import os
import re
import socket
import subprocess
import threading

from cluster import production


def hostile(made, program, folder, goal):
    """Each set-up is refused, by the client or by the server, and for its own reason."""
    certificates = made.certificates

    def check(**settings):
        env = production(made, folder, **settings)
        done = subprocess.run([program, "check", "--json"], env=env, cwd=folder, text=True, capture_output=True)
        try:
            found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        except (ValueError, KeyError):
            return done.returncode, done.stderr
        return done.returncode, found["database"]["detail"] if found["database"]["status"] != "skipped" else found["configuration"]["detail"]

    def refused(name, because, **settings):
        code, said = check(**settings)
        fits = code != 0 and re.search(because, said, re.IGNORECASE | re.DOTALL)
        goal(bool(fits), f"{name}: " + ("refused" if code else "TAKEN") + f" ({' '.join(said.split())[:110]})")

    code, said = check()
    goal(code == 0, f"as it should be: {said}")

    def authority(name):
        made.run("./scripts/make-certificates.sh", made.folder / name, env=made.env | {"SERVER_NAMES": "localhost,127.0.0.1"})
        return made.folder / name

    def serve(name, text_of):
        """PostgreSQL with another certificate, until `back`."""
        target = certificates / name
        target.mkdir()
        text_of(target)
        if made.as_postgres:
            for path in (target, *target.iterdir()):
                os.chown(path, made.as_postgres["user"], made.as_postgres["group"])
        made.configure(tls=name)
        made.control("reload")

    def openssl(*arguments):
        made.run("openssl", *arguments, env=made.env)

    def request(target, days, names, issuer=None):
        (target / "ext").write_text(f"subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", f"{target}/tls.key")
        openssl("req", "-new", "-key", f"{target}/tls.key", "-subj", "/CN=localhost", "-out", f"{target}/csr")
        if issuer is None:
            openssl("x509", "-req", "-in", f"{target}/csr", "-signkey", f"{target}/tls.key", "-days", str(days), "-extfile",
                    f"{target}/ext", "-out", f"{target}/tls.crt")
        elif days > 0:
            openssl("x509", "-req", "-in", f"{target}/csr", "-CA", f"{issuer}/tls.crt", "-CAkey", f"{issuer}/tls.key",
                    "-CAcreateserial", "-days", str(days), "-extfile", f"{target}/ext", "-out", f"{target}/tls.crt")
        else:
            (target / "index").write_text("")
            (target / "serial").write_text("01\n")
            (target / "ca.conf").write_text(
                f"[ca]\ndefault_ca=d\n[d]\ndatabase={target}/index\nserial={target}/serial\nnew_certs_dir={target}\n"
                "default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
            openssl("ca", "-batch", "-notext", "-config", f"{target}/ca.conf", "-cert", f"{issuer}/tls.crt", "-keyfile",
                    f"{issuer}/tls.key", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-extfile",
                    f"{target}/ext", "-in", f"{target}/csr", "-out", f"{target}/tls.crt")
        os.chmod(f"{target}/tls.key", 0o600)

    localhost = "DNS:localhost,IP:127.0.0.1"
    # 1. Nobody speaks in the clear: the server takes no such client, the client no such server.
    refused("plaintext, asked by the client", "no encryption", POSTGRES_SSLMODE="disable")
    made.configure(on=False)
    made.control("restart")
    refused("plaintext, a server without TLS", "does not support TLS|not support|server.*TLS")
    made.configure()
    made.control("restart")
    # 2. Somebody in between answers that the server has no TLS.
    with Stripper(made.port) as port:
        refused("stripped request", "does not support TLS|not support", POSTGRES_PORT=str(port))
    # 3.-6. Somebody else's certificate.
    serve("self-signed", lambda target: request(target, 30, localhost))
    refused("self-signed", "certificate|UnknownIssuer")
    other = authority("other")
    serve("wrong-ca", lambda target: request(target, 30, localhost, other / "ca"))
    refused("wrong authority", "UnknownIssuer|certificate")
    serve("wrong-name", lambda target: request(target, 30, "DNS:db.example.org,IP:192.0.2.1", certificates / "ca"))
    refused("wrong name", "NotValidForName|not valid for name")
    serve("expired", lambda target: request(target, 0, localhost, certificates / "ca"))
    refused("expired", "expired")
    made.configure()
    made.control("reload")
    # 7.-8. A client who is not whom they say.
    refused("no client certificate", "certificate", POSTGRES_SSLCERT="", POSTGRES_SSLKEY="", POSTGRES_PASSWORD="guessed")
    role = certificates / "swincms_backup"
    refused("another role's client certificate", "certificate authentication failed",
            POSTGRES_SSLCERT=f"{role}/tls.crt", POSTGRES_SSLKEY=f"{role}/tls.key")
    role = other / "swincms"
    refused("the role's name from another authority", "unknown ca|certificate|UnknownCA",
            POSTGRES_SSLCERT=f"{role}/tls.crt", POSTGRES_SSLKEY=f"{role}/tls.key")
    # And what production refuses before it connects.
    refused("another machine without verify-full", "verify-full", POSTGRES_HOST="db.example.org", POSTGRES_SSLMODE="require")
    code, said = check()
    goal(code == 0, f"and again as it should be: {said}")


class Stripper:
    """Stands between client and server, and answers every request for TLS with `no`."""

    def __init__(self, to):
        self.to = to

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()
        return self.listener.getsockname()[1]

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self.to)) as server:
                client.settimeout(5)
                try:
                    client.recv(8)
                    client.sendall(b"N")
                    while data := client.recv(65536):
                        server.sendall(data)
                except OSError:
                    pass

    def __exit__(self, *_):
        self.listener.close()
