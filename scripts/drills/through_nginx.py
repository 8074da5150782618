"""What works through nginx as the server itself does it, and what nginx does; part of the drill `stack`."""

import http.client
import json
import re
import socket
import ssl
import struct
import threading
import time
import warnings
import zlib

from site_behind_nginx import HEADERS, Answer, log_in


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
             f"/static/../../media/private/{name}", "/api/files/1/?exp=9999999999&sig=x", "/.env", "/static/..%2f.env"]
    got = {p: a.status for p in tries if b"for the enrolled" in (a := site.ask("GET", p)).content or b"not for anybody" in a.content}
    goal(not got, f"and in none of {len(tries)} other ways {got or ''}")
    sent = [line for line in (site.run / "access.log").read_text().splitlines() if "sig=" in line]
    goal(not sent, "no signature is in nginx's log")

    body, headers = multipart({}, "me.png", picture(), "image/png")
    stored = site.ask("POST", "/api/users/users/me/profile_image/", body, staff, headers)
    url = (stored.json() or {}).get("profile_image") or ""
    public = site.ask("GET", url.split(f":{site.https}")[-1])
    goal(public.status == 200 and public.one("content-type") == "image/png" and public.one("content-disposition").startswith("inline")
         and "max-age=86400" in public.one("cache-control") and not public.twice(), f"a public picture is shown, and kept: {stored.status} {public.status}")
    root = site.folder / "media" / "public"
    kinds = {"a1.html": b"<script>alert(1)</script>", "a2.svg": b"<svg/>", "a3.txt": b"text", "a4.pdf": b"%PDF-1.4", "a5.partial": b"half", "a6.docx": b"PK"}
    found = {}
    for kind, content in kinds.items():
        (root / kind).write_bytes(content)
        answer = site.ask("GET", f"/media/{kind}")
        found[kind] = (answer.status, answer.one("content-type"), (answer.one("content-disposition") or "").split(";")[0], bool(answer.twice()))
        (root / kind).unlink()
    want = {"a1.html": (200, "application/octet-stream", "attachment", False), "a2.svg": (200, "application/octet-stream", "attachment", False),
            "a3.txt": (200, "text/plain; charset=utf-8", "attachment", False), "a4.pdf": (200, "application/pdf", "inline", False), "a5.partial": None,
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
    stranger = raw(site, b"POST /api/core/media/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                   b"Content-Length: 2000000\r\n\r\n" + b"x" * 1000)
    goal(stranger.status == 401, f"whoever shows no token is refused at the head of an upload: {stranger.status}")
    goal(not any((site.run / "nginx-body").rglob("*")) if (site.run / "nginx-body").exists() else True, "and nothing of it lies with nginx")
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
    broken = [raw(site, b"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n"), raw(site, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40000 + b"\r\n\r\n"),
              raw(site, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")]
    goal([a.status for a in broken] == [400, 431, 421] and all(a.one("content-type") == "application/problem+json" and not a.twice() for a in broken),
         f"malformed, too many headers, another site's name: {[a.status for a in broken]}")
    long = raw(site, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 30000 + b"\r\n\r\n")
    goal(long.status == 200, f"a header of 30 kB passes: {long.status}")
    own = [raw(site, f"{line} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example.edu\r\nContent-Length: {length}\r\n\r\n".encode())
           for line, length in (("POST /api/token/", 2 * 1024 * 1024), ("POST /api/core/media/", 40 * 1024 * 1024))]
    goal([(a.status, a.all("access-control-allow-origin")) for a in own] == [(413, ["https://app.example.edu"])] * 2,
         f"nginx's own 413 can be read by the web page's origin: {[(a.status, a.all('access-control-allow-origin')) for a in own]}")
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
    astray = http.client.HTTPConnection("127.0.0.1", site.http, timeout=10)
    astray.request("GET", "/api/x", headers={"Host": "evil.example"})
    astray = astray.getresponse()
    goal(astray.status == 421 and not astray.getheader("Location"), f"nobody is sent to another site: {astray.status}")
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

    def made_up(number):
        """What has the shape of a token, and is none."""
        return "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + str(number).rjust(43, "a")

    caller = made_up(0)
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
    # Words that are no token are one caller, the address; tokens that are made up have a limit all together.
    words = [site.ask("GET", "/health/live", headers={"Authorization": f"Bearer word {number}"}).status for number in range(3)]
    goal(words == [200] * 3, f"what is no token is counted by its address: {words}")
    tokens, lock = [], threading.Lock()

    def flood(first):
        connection = site.connect()
        for number in range(first, first + 1000):
            connection.request("GET", "/health/live", headers={"Authorization": "Bearer " + made_up(number)})
            answer = connection.getresponse()
            answer.read()
            with lock:
                tokens.append(answer.status)
        connection.close()

    began = time.monotonic()
    threads = [threading.Thread(target=flood, args=(1000 * (number + 1),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    room = 2000 + 500 * took
    goal(tokens.count(429) > 0 and tokens.count(200) < room * 1.1 + 100,
         f"of 8000 requests of an address in {took:.1f} s, each with a token of its own, {tokens.count(429)} are 429")
    time.sleep(2)
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
