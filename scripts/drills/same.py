"""Whether nginx changes anything: every GET of the API through it and from a server itself; part of the drill `stack`.

An administrator, a student and nobody ask for each path of the OpenAPI document, with ids that lists have shown. Status, headers
and body are the same, but for what is new in each answer: the request's id, moments, and the signatures of links.
"""

import http.client
import re

from site_behind_nginx import Answer, log_in

# Endless; and not the server's to answer behind nginx, which `through_nginx` looks at.
LEFT_OUT = {"/api/core/notifications/stream/", "/media/{name}", "/"}
# nginx's own, or of the connection.
OWN = {"date", "server", "connection", "x-request-id", "transfer-encoding", "content-length"}
NEW = [(rb'"request_id":"[^"]*"', b'"request_id":""'), (rb"exp=\d+&sig=[\w-]+", b"sig"), (rb'"exported_at":"[^"]*"', b'"exported_at":""')]


# A row for what the demo has none of; {name} is the id of the row that was made under that path's last word.
ROWS = [
    ("core/tickets", {"title": "A ticket"}), ("core/ticket-comments", {"ticket": "{tickets}", "comment": "A comment"}),
    ("core/events", {"title": "An event", "start": "2026-05-01T09:00:00Z", "target_all_students": True}),
    ("core/pages", {"title": "A page", "slug": "a-page", "content": "For all.", "published": True}),
    ("core/forms", {"name": "A form", "slug": "a-form", "schema": {"type": "object"}}),
    ("core/submissions", {"form": "{forms}", "data": {}}),
    ("core/sessions", {"offering": "{offering}", "date": "2026-05-04", "start_time": "09:00"}),
    ("core/attendance", {"session": "{sessions}", "student": "{student}", "status": "excused"}),
    ("social/achievements", {"name": "An achievement", "points_required": 10}),
    ("users/n8n-workflows", {"name": "A workflow", "trigger_event": "enrollment.confirmed", "is_active": False}),
    ("users/roles", {"name": "A role", "permissions": ["students.read"]}),
    ("users/user-roles", {"role": "{roles}", "user": "{student}"}),
    ("users/scholarships", {"name": "A scholarship"}),
]


def same(site, goal):
    people = {"an administrator": log_in(site, "admin@swin.edu.au"), "a student": log_in(site, "demo000001@swin.edu.au"), "nobody": None}
    refused = fill(site, people["an administrator"], people["a student"])
    goal(not refused, f"{len(ROWS) - len(refused)} of {len(ROWS)} rows to look at are made {refused or ''}")
    schema = site.ask("GET", "/api/schema/").json()
    routes = [path for path, verbs in schema["paths"].items() if "get" in verbs and path not in LEFT_OUT]
    asked, statuses, without, other = 0, {}, set(), []
    for who, token in people.items():
        for route in routes:
            path = with_id(site, route, people["an administrator"])
            if path is None:
                without.add(route)
                continue
            # Moments pass: what lies between two answers of the server's is no fault of nginx's.
            before, through, after = direct(site, path, token), site.ask("GET", path, token=token), direct(site, path, token)
            asked += 1
            statuses[through.status] = statuses.get(through.status, 0) + 1
            if what_counts(through) not in (what_counts(before), what_counts(after)):
                other.append(f"{who}, {path}: {differences(through, after)}")
    for line in other:
        print("    " + line)
    said = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    goal(not other and asked > 2 * len(routes), f"{asked - len(other)} of {asked} answers on {len(routes)} paths are the same through nginx ({said})")
    print(f"    not asked, there is no row to show: {', '.join(sorted(without))}")


def fill(site, admin, student):
    """Makes a row of each, and says which were refused."""
    enrolment = site.ask("GET", "/api/enrollment/enrollments/?page_size=1&status=ENROLLED", token=student).json()[0]
    made = {"offering": enrolment["offering"]["id"], "student": enrolment["student"]["id"]}
    refused = []
    for path, body in ROWS:
        body = {name: made.get(value[1:-1]) if isinstance(value, str) and value.startswith("{") else value for name, value in body.items()}
        answer = site.ask("POST", f"/api/{path}/", body, admin)
        if answer.status == 201:
            made[path.split("/")[1]] = answer.json()["id"]
        else:
            refused.append(f"{path}: {answer.status} {answer.content.decode()[:300]}")
    return refused


def with_id(site, route, token):
    """The path, with the id or slug of the first row of the list it is below; None where that has none."""
    while found := re.search(r"\{(\w+)\}", route):
        above = route[:found.start()].removesuffix("by-slug/")
        listed = site.ask("GET", f"{above}?page_size=1", token=token)
        rows = listed.json() if listed.status == 200 and listed.one("content-type") == "application/json" else []
        field = "slug" if found[1] == "slug" else "id"
        if not isinstance(rows, list) or not rows or field not in rows[0]:
            return None
        route = route[:found.start()] + str(rows[0][field]) + route[found.end():]
    return route


def direct(site, path, token):
    """As nginx asks a server."""
    connection = http.client.HTTPConnection("127.0.0.1", site.ports[0], timeout=20)
    headers = {"Host": f"localhost:{site.https}", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"}
    connection.request("GET", path, headers=headers | ({"Authorization": f"Bearer {token}"} if token else {}))
    answer = connection.getresponse()
    found = Answer(answer.status, [(name.lower(), value) for name, value in answer.getheaders()], answer.read())
    connection.close()
    return found


def what_counts(answer):
    body = answer.content
    for pattern, instead in NEW:
        body = re.sub(pattern, instead, body)
    # Bodies with such things have a tag of their own.
    own = OWN | ({"etag"} if body != answer.content else set())
    return answer.status, sorted(pair for pair in answer.headers if pair[0] not in own), body


def differences(one, two):
    (status, headers, body), (other_status, other_headers, other_body) = what_counts(one), what_counts(two)
    found = [] if status == other_status else [f"{status} for {other_status}"]
    found += [f"{sign} {pair}" for sign, own in (("more", set(headers) - set(other_headers)), ("less", set(other_headers) - set(headers))) for pair in sorted(own)]
    if body != other_body:
        place = next((n for n, (a, b) in enumerate(zip(body, other_body)) if a != b), min(len(body), len(other_body)))
        found.append(f"body at {place}: {body[max(0, place - 20):place + 30]} for {other_body[max(0, place - 20):place + 30]}")
    return "; ".join(found)
