//! The audit log: each write leaves one row, a refusal none, and no row is ever changed.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use swincms::app::routes;
use swincms::ids::Id;

use crate::support::{PASSWORD, Person, Reply, TestApp, Upload};

/// A resource that is created, replaced, changed, deleted and restored.
struct Resource {
    base: &'static str,
    /// The resource type in the log.
    name: &'static str,
    /// A whole body.
    body: Value,
    /// A field and another value for it.
    change: (&'static str, Value),
}

/// Every resource with the shared verbs; what they refer to is there.
async fn resources(app: &TestApp) -> Vec<Resource> {
    let (course, unit, other) = (app.course().await, app.unit().await, app.unit().await);
    app.offering_of(unit, 0).await;
    let intake = sqlx::query_scalar!("select id from intakes").fetch_one(&app.db).await.unwrap();
    let (holder, student) = (app.staff().await, app.student().await);
    let prepared = sqlx::query!(
        "with profile as (
            delete from student_profiles where user_id = $1
         )
         insert into roles (name) values ('Keeper') returning id",
        student.id.0
    );
    let role = prepared.fetch_one(&app.db).await.unwrap().id;
    let resource = |base, name, body, change| Resource { base, name, body, change };
    vec![
        resource(
            "/api/academic/courses/",
            "course",
            json!({ "code": "NEW", "name": "New", "duration_years": "2.0", "department": "Arts" }),
            ("name", json!("Newer")),
        ),
        resource(
            "/api/academic/units/",
            "unit",
            json!({ "code": "NEW1", "name": "New", "credit_points": "12.5", "prerequisites": [unit] }),
            ("prerequisites", json!([unit, other])),
        ),
        resource(
            "/api/academic/course-units/",
            "course_unit",
            json!({ "course": course, "unit": unit, "is_elective": false }),
            ("is_elective", json!(true)),
        ),
        resource("/api/academic/intakes/", "intake", json!({ "year": 2031, "semester": "S1" }), ("year", json!(2032))),
        resource(
            "/api/academic/offerings/",
            "offering",
            json!({
                "unit": other, "year": 2026, "semester": "S1", "intake": intake, "capacity": 5,
                "enrollment_start": "2026-01-12T00:00:00.000000Z", "enrollment_end": "2026-03-13T00:00:00.000000Z",
            }),
            ("capacity", json!(7)),
        ),
        resource(
            "/api/academic/unit-resources/",
            "unit_resource",
            json!({ "unit": unit, "title": "Plan", "url": "https://example.org/" }),
            ("title", json!("Other plan")),
        ),
        resource(
            "/api/users/roles/",
            "role",
            json!({ "name": "Librarian", "permissions": ["courses.write"] }),
            ("permissions", json!(["courses.write", "units.write"])),
        ),
        resource(
            "/api/users/user-roles/",
            "user_role",
            json!({ "user": holder.id, "role": role, "valid_until": null }),
            ("valid_until", json!("2027-01-01T00:00:00.000000Z")),
        ),
        resource(
            "/api/users/student-profiles/",
            "student_profile",
            json!({ "user": student.id, "student_id": "N-1", "enrollment_date": "2026-03-02" }),
            ("academic_status", json!("probation")),
        ),
        resource(
            "/api/users/users/",
            "user",
            json!({ "email": "new@example.edu", "username": "new", "user_type": "staff", "department": "Arts" }),
            ("department", json!("Law")),
        ),
    ]
}

/// A row of the log.
#[derive(Debug)]
struct Entry {
    user_id: Option<i64>,
    action: String,
    resource_type: String,
    resource_id: Option<i64>,
    details: Value,
}

/// The whole log, in its order.
async fn log(app: &TestApp) -> Vec<Entry> {
    let rows = sqlx::query_as!(
        Entry,
        "select user_id, action, resource_type, resource_id, details from audit_log order by id"
    );
    rows.fetch_all(&app.db).await.unwrap()
}

/// The log as it grows; every look takes what is new.
struct Watch<'a> {
    app: &'a TestApp,
    seen: usize,
    /// Which lines of the route table have been followed.
    driven: BTreeSet<(String, String)>,
}

impl Watch<'_> {
    async fn new_entries(&mut self) -> Vec<Entry> {
        let entries: Vec<Entry> = log(self.app).await.into_iter().skip(self.seen).collect();
        self.seen += entries.len();
        entries
    }

    /// The one row that this write left, after a look at who, what and which.
    async fn follow(&mut self, route: (Method, &str), actor: Option<Id>, action: &str, of: (&str, Id)) -> Value {
        let mut entries = self.new_entries().await;
        assert_eq!(entries.len(), 1, "{route:?} leaves one row: {entries:?}");
        let entry = entries.remove(0);
        let found = (entry.user_id, entry.action.as_str(), entry.resource_type.as_str(), entry.resource_id);
        assert_eq!(found, (actor.map(|id| id.0), action, of.0, Some(of.1.0)), "{route:?}");
        self.driven.insert((route.0.to_string(), route.1.to_owned()));
        entry.details
    }

    /// A refusal leaves nothing.
    async fn refused(&mut self, reply: Reply, status: u16) {
        reply.expect(status);
        let entries = self.new_entries().await;
        assert!(entries.is_empty(), "a refusal leaves a row: {entries:?}");
    }
}

fn with(body: &Value, field: &str, value: &Value) -> Value {
    let mut body = body.clone();
    body[field] = value.clone();
    body
}

#[tokio::test]
async fn every_write_of_every_resource_leaves_one_row_and_a_refusal_none() {
    let app = TestApp::start().await;
    let (admin, student) = (app.admin().await, app.student().await);
    let mut watch = Watch { app: &app, seen: 0, driven: BTreeSet::new() };
    for resource in resources(&app).await {
        drive(&mut watch, &admin, &student, resource).await;
    }
    drive_enrollments(&mut watch, &app, &admin).await;
    drive_the_rest(&mut watch, &app).await;

    // Those that read, write no resource, or are the whole point of another test.
    let silent = ["/api/token/refresh/", "/api/token/verify/"];
    for route in routes().lines() {
        let followed = watch.driven.contains(&(route.method.to_string(), route.path.clone()));
        let writes = route.method != Method::GET && !silent.contains(&route.path.as_str());
        assert_eq!(followed, writes, "{} {}: follow it in this test", route.method, route.path);
    }
}

async fn drive(watch: &mut Watch<'_>, admin: &Person, student: &Person, resource: Resource) {
    let Resource { base, name, body, change: (field, value) } = resource;
    let path = |rest: &str| format!("{base}{{id}}/{rest}");
    let who = Some(admin.id);
    let mut new = body.clone();
    if name == "user" {
        new = with(&with(&new, "password", &json!("harbour-Quilt-77")), "confirm_password", &json!("harbour-Quilt-77"));
    }

    watch.refused(admin.post(base, &json!({})).await, 400).await;
    if name != "user" {
        watch.refused(student.post(base, &new).await, 403).await;
    }
    let created = admin.post(base, &new).await;
    let id = Id(created.expect(201)["id"].as_i64().unwrap());
    let details = watch.follow((Method::POST, base), who, "create", (name, id)).await;
    for (member, sent) in body.as_object().unwrap() {
        let change = &details["changes"][member];
        let nothing_changed = sent.is_null() && change.is_null();
        assert!(nothing_changed || *change == json!({ "before": null, "after": sent }), "{name}.{member}: {details}");
    }
    let one = format!("{base}{id}/");

    let changed = admin.patch(&one, &json!({ field: value })).await;
    changed.expect(200);
    let details = watch.follow((Method::PATCH, &path("")), who, "update", (name, id)).await;
    let before = &created.body[field];
    let before = if field == "prerequisites" { &body[field] } else { before };
    assert_eq!(details, json!({ "changes": { field: { "before": before, "after": value } } }), "{name}");

    admin.put(&one, &body).await.expect(200);
    let details = watch.follow((Method::PUT, &path("")), who, "update", (name, id)).await;
    assert_eq!(details["changes"][field]["before"], value, "{name}");

    let outsider = if name == "user" { 404 } else { 403 };
    watch.refused(student.patch(&one, &json!({ field: value })).await, outsider).await;
    watch.refused(student.put(&one, &body).await, outsider).await;
    watch.refused(student.delete(&one).await, outsider).await;
    watch.refused(admin.with("If-Match", "\"old\"").patch(&one, &json!({ field: value })).await, 412).await;
    watch.refused(admin.patch(&one, &json!({ field: { "no": "such" } })).await, 400).await;

    admin.delete(&one).await.expect(204);
    let details = watch.follow((Method::DELETE, &path("")), who, "delete", (name, id)).await;
    assert!(!details["changes"].as_object().unwrap().is_empty(), "{name}: what was there stays known");
    watch.refused(admin.delete(&one).await, 404).await;
    let restore = format!("{one}restore/");
    admin.with("Idempotency-Key", "r").post_bare(&restore).await.expect(200);
    watch.follow((Method::POST, &path("restore/")), who, "restore", (name, id)).await;
    admin.with("Idempotency-Key", "r").post_bare(&restore).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "a kept answer is no second write");
    watch.refused(admin.post_bare(&restore).await, 404).await;
}

/// The writes of enrolment.
async fn drive_enrollments(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let base = "/api/enrollment/enrollments/";
    let (ann, other) = (app.student().await, app.student().await);
    let offering = app.offering(0).await;
    let status = |before: Value, after: Value| json!({ "before": before, "after": after });
    let enrol = async |who: &Person, offering: Id| {
        let made = who.post(base, &json!({ "offering": offering })).await;
        Id(made.expect(201)["id"].as_i64().unwrap())
    };

    let id = enrol(&ann, offering).await;
    let (of, one) = (("enrollment", id), format!("{base}{id}/"));
    let details = watch.follow((Method::POST, base), Some(ann.id), "create", of).await;
    assert_eq!(details["changes"]["status"], status(json!(null), json!("PENDING")));
    watch.refused(ann.post(base, &json!({ "offering": offering })).await, 409).await;
    ann.post(&format!("{base}?dry_run=true"), &json!({ "offering": offering })).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "to ask is not to do");

    let path = |rest: &str| format!("{base}{{id}}/{rest}");
    watch.refused(ann.post_bare(&format!("{one}approve/")).await, 403).await;
    admin.post(&format!("{one}approve/"), &json!({ "notes": "Welcome" })).await.expect(200);
    let details = watch.follow((Method::POST, &path("approve/")), Some(admin.id), "approve", of).await;
    assert_eq!(details["changes"]["reason"], status(json!(null), json!("Welcome")));
    admin.patch(&one, &json!({ "marks": "61" })).await.expect(200);
    let details = watch.follow((Method::PATCH, &path("")), Some(admin.id), "update", of).await;
    assert_eq!(details, json!({ "changes": { "marks": status(json!(null), json!("61.00")) } }));
    let result = json!({ "status": "COMPLETED", "grade": "C", "marks": "61" });
    admin.put(&one, &result).await.expect(200);
    let details = watch.follow((Method::PUT, &path("")), Some(admin.id), "update", of).await;
    assert_eq!(details["changes"]["grade"], status(json!(""), json!("C")));
    watch.refused(admin.patch(&one, &json!({ "status": "PENDING" })).await, 409).await;
    admin.delete(&one).await.expect(204);
    watch.follow((Method::DELETE, &path("")), Some(admin.id), "delete", of).await;
    admin.post_bare(&format!("{one}restore/")).await.expect(200);
    watch.follow((Method::POST, &path("restore/")), Some(admin.id), "restore", of).await;

    for (verb, who) in [("withdraw", &other), ("reject", admin)] {
        let id = enrol(&other, offering).await;
        watch.follow((Method::POST, base), Some(other.id), "create", ("enrollment", id)).await;
        who.post_bare(&format!("{base}{id}/{verb}/")).await.expect(200);
        let route = path(&format!("{verb}/"));
        watch.follow((Method::POST, &route), Some(who.id), verb, ("enrollment", id)).await;
    }
    let id = enrol(&other, offering).await;
    let of = ("enrollment", id);
    watch.follow((Method::POST, base), Some(other.id), "create", of).await;
    let bulk = |verb: &str| format!("{base}bulk-{verb}/");
    admin.post(&bulk("approve"), &json!({ "ids": [id, id, 987_654] })).await.expect(200);
    watch.follow((Method::POST, &bulk("approve")), Some(admin.id), "approve", of).await;
    admin.post(&bulk("grade"), &json!({ "rows": [{ "id": id, "grade": "HD" }] })).await.expect(200);
    watch.follow((Method::POST, &bulk("grade")), Some(admin.id), "update", of).await;
}

/// The writes that are their own.
async fn drive_the_rest(watch: &mut Watch<'_>, app: &TestApp) {
    let ann = app.student().await;
    let own = ("user", ann.id);
    for path in ["/api/users/users/update_profile/", "/api/users/update_profile/"] {
        for method in [Method::PUT, Method::PATCH] {
            let bio = format!("{method} {path}");
            ann.send(method.clone(), path, "application/json", json!({ "bio": bio }).to_string()).await.expect(200);
            let details = watch.follow((method, path), Some(ann.id), "update", own).await;
            assert_eq!(details["changes"]["bio"]["after"], json!(bio));
        }
    }

    let picture = "/api/users/users/me/profile_image/";
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82";
    ann.upload(picture, Upload::of("file", "a.png", &png[..])).await.expect(200);
    let details = watch.follow((Method::POST, picture), Some(ann.id), "set_profile_image", own).await;
    let file = sqlx::query_scalar!("select profile_image_id from users where id = $1", ann.id.0);
    let file = file.fetch_one(&app.db).await.unwrap();
    assert_eq!(details, json!({ "changes": { "profile_image": { "before": null, "after": file } } }));
    watch.refused(ann.upload(picture, Upload::of("file", "a.png", "words")).await, 400).await;

    let token = json!({ "email": ann.email, "password": PASSWORD });
    let mut refresh = String::new();
    for path in ["/api/token/", "/api/token/compat/"] {
        let tokens = app.anonymous().post(path, &token).await;
        tokens.expect(200)["refresh"].as_str().unwrap().clone_into(&mut refresh);
        let session = newest_session(app).await;
        watch.follow((Method::POST, path), Some(ann.id), "log_in", ("session", session)).await;
        watch.refused(app.anonymous().post(path, &json!({ "email": ann.email, "password": "wrong" })).await, 401).await;
    }
    let session = newest_session(app).await;
    app.anonymous().post("/api/token/refresh/", &json!({ "refresh": refresh })).await.expect(200);
    app.anonymous().post("/api/token/verify/", &json!({ "token": refresh })).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "neither leaves a row");
    app.anonymous().post("/api/token/logout/", &json!({ "refresh": refresh })).await.expect(204);
    watch.follow((Method::POST, "/api/token/logout/"), Some(ann.id), "log_out", ("session", session)).await;

    let other = ann.new_session(app).await.session;
    ann.delete(&format!("/api/users/sessions/{other}/")).await.expect(204);
    let path = "/api/users/sessions/{id}/";
    watch.follow((Method::DELETE, path), Some(ann.id), "revoke", ("session", other)).await;
    watch.refused(ann.delete(&format!("/api/users/sessions/{other}/")).await, 404).await;

    let password = "/api/users/users/me/password/";
    let wrong = json!({ "current_password": "wrong", "new_password": "harbour-Quilt-78" });
    watch.refused(ann.post(password, &wrong).await, 400).await;
    ann.post(password, &with(&wrong, "current_password", &json!(PASSWORD))).await.expect(204);
    watch.follow((Method::POST, password), Some(ann.id), "change_password", own).await;

    let ask = "/api/users/password-reset/";
    app.anonymous().post(ask, &json!({ "email": ann.email })).await.expect(202);
    watch.follow((Method::POST, ask), Some(ann.id), "ask_for_password_reset", own).await;
    let secret = "the token of a link, as a mail has it";
    let token = sqlx::query!(
        "insert into password_reset_tokens (user_id, token_hash, expires_at)
         values ($1, $2, rule_now() + interval '1 hour')",
        ann.id.0,
        swincms::access::tokens::hash(secret)
    );
    token.execute(&app.db).await.unwrap();
    let confirm = "/api/users/password-reset/confirm/";
    let sent = json!({ "token": secret, "new_password": "harbour-Quilt-79" });
    watch.refused(app.anonymous().post(confirm, &with(&sent, "token", &json!("another"))).await, 400).await;
    app.anonymous().post(confirm, &sent).await.expect(204);
    watch.follow((Method::POST, confirm), Some(ann.id), "reset_password", own).await;

    // What is secret stands nowhere in the log.
    let whole = sqlx::query_scalar!(r#"select string_agg(a::text, ' ') as "text!" from audit_log a"#);
    let whole = whole.fetch_one(&app.db).await.unwrap();
    let hashes = sqlx::query_scalar!("select password_hash from users where password_hash <> ''");
    let hashes = hashes.fetch_all(&app.db).await.unwrap();
    let passwords = [
        "harbour-Quilt-77",
        "harbour-Quilt-78",
        "harbour-Quilt-79",
        PASSWORD,
        "argon2",
        "eyJ",
        "password_hash",
        "confirm_password",
    ];
    let secrets = passwords.into_iter().chain([secret, refresh.as_str(), ann.access.as_str()]);
    for secret in secrets.chain(hashes.iter().map(String::as_str)) {
        assert!(!whole.contains(secret), "{secret} stands in the log");
    }
}

async fn newest_session(app: &TestApp) -> Id {
    Id(sqlx::query_scalar!(r#"select max(id) as "id!" from sessions"#).fetch_one(&app.db).await.unwrap())
}

#[tokio::test]
async fn a_row_says_from_where_and_in_which_request() {
    let app = TestApp::start().await;
    let staff = app.staff().await.with("User-Agent", b"test/1 caf\xe9").with("X-Request-Id", "request-7");
    staff.post("/api/academic/courses/", &json!({ "code": "C", "name": "C" })).await.expect(201);
    let row = sqlx::query!(
        r#"select host(ip_address) as "ip!", user_agent, request_id, created_at > now() - interval '1 hour' as "now!",
                  details_digest = sha256(salt || convert_to(details::text, 'UTF8')) as "digest!"
             from audit_log"#
    );
    let row = row.fetch_one(&app.db).await.unwrap();
    assert_eq!(
        (row.ip.as_str(), row.user_agent.as_str(), row.request_id.as_str()),
        ("127.0.0.1", "test/1 caf\u{fffd}", "request-7")
    );
    assert!(row.now && row.digest);
}

#[tokio::test]
async fn who_registers_without_an_account_is_nobody_in_the_log() {
    let app = TestApp::start().await;
    let body = json!({
        "email": "a@example.edu", "username": "a", "password": "harbour-Quilt-77", "confirm_password": "harbour-Quilt-77",
    });
    let id = app.anonymous().post("/api/users/users/", &body).await.expect(201)["id"].as_i64();
    let entries = log(&app).await;
    assert_eq!((entries.len(), entries[0].user_id, entries[0].resource_id), (1, None, id));
    assert_eq!(entries[0].details["changes"]["email"], json!({ "before": null, "after": "a@example.edu" }));
}

#[tokio::test]
async fn a_write_whose_row_fails_does_not_happen() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let broken = "create function fail() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
                  create trigger fail before insert on audit_log for each row execute function fail()";
    sqlx::raw_sql(broken).execute(&app.db).await.unwrap();
    let reply = staff.post("/api/academic/courses/", &json!({ "code": "C", "name": "C" })).await;
    assert_eq!(reply.refusal(), (500, "internal"));
    let courses = sqlx::query_scalar!(r#"select count(*) as "count!" from courses"#);
    assert_eq!(courses.fetch_one(&app.db).await.unwrap(), 0);
}

#[tokio::test]
async fn the_database_refuses_to_change_or_remove_a_row() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    staff.post("/api/academic/courses/", &json!({ "code": "C", "name": "C" })).await.expect(201);
    let before =
        sqlx::query_scalar!(r#"select to_jsonb(a) as "row!" from audit_log a"#).fetch_all(&app.db).await.unwrap();
    assert_eq!(before.len(), 1);
    for statement in [
        "delete from audit_log",
        "truncate audit_log",
        "update audit_log set user_id = 4711",
        "update audit_log set user_id = null",
        "update audit_log set action = 'other'",
        "update audit_log set resource_id = 4711",
        "update audit_log set created_at = now()",
        "update audit_log set ip_address = null",
        "update audit_log set details = '{\"changes\": {}}'",
        "update audit_log set details = '{}', user_id = 4711",
        "update audit_log set salt = '\\x01'",
        "update audit_log set details_digest = sha256('')",
        "update audit_log set position = '1'",
        "update audit_log set id = 4711",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&app.db).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert!(matches!(code.as_deref(), Some("23001" | "428C9")), "{statement}: {refused}");
    }
    let after =
        sqlx::query_scalar!(r#"select to_jsonb(a) as "row!" from audit_log a"#).fetch_all(&app.db).await.unwrap();
    assert_eq!(after, before);

    // The one change that is allowed: what was said of a person is erased, and its digest stays.
    sqlx::raw_sql("update audit_log set details = '{}', salt = ''").execute(&app.db).await.unwrap();
    let erased =
        sqlx::query_scalar!(r#"select to_jsonb(a) as "row!" from audit_log a"#).fetch_one(&app.db).await.unwrap();
    assert_eq!(erased["details_digest"], before[0]["details_digest"]);
    assert_eq!(erased["details"], json!({}));
}
