//! The audit log: each write leaves one row, a refusal none, and no row is ever changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use swincms::app::routes;
use swincms::ids::Id;

use crate::support::{MISSPELT, PASSWORD, PROBE, Person, Probe, Reply, Seen, TestApp, Upload};

/// What n8n shows.
const N8N_SECRET: &str = "shared with n8n alone";

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
#[allow(clippy::too_many_lines, reason = "an entry for each resource")]
async fn resources(app: &TestApp) -> Vec<Resource> {
    let (course, unit, other) = (app.course().await, app.unit().await, app.unit().await);
    app.offering_of(unit, 0).await;
    let intake = sqlx::query_scalar!("select id from intakes").fetch_one(&app.db).await.unwrap();
    let (holder, student, parent) = (app.staff().await, app.student().await, app.parent().await);
    let prepared = sqlx::query!(
        "with profile as (
            delete from student_profiles where user_id = $1
         )
         insert into roles (name) values ('Keeper') returning id",
        student.id.0
    );
    let role = prepared.fetch_one(&app.db).await.unwrap().id;
    let class = app.offering(0).await;
    app.enrollment(student.id, class, "ENROLLED").await;
    let session = sqlx::query_scalar!(
        "insert into class_sessions (offering_id, date, start_time) values ($1, '2026-03-02', '09:00') returning id",
        class.0
    );
    let session = Id(session.fetch_one(&app.db).await.unwrap());
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
            "/api/core/events/",
            "event",
            json!({
                "title": "Open day", "start": "2026-03-10T09:00:00.000000Z", "location": "Hall", "attendees": [holder.id],
                "related_unit": unit,
            }),
            ("title", json!("Closed day")),
        ),
        resource(
            "/api/core/sessions/",
            "class_session",
            json!({
                "offering": class, "session_type": "lab", "date": "2026-03-09", "start_time": "09:00:00",
                "end_time": "11:00:00", "instructor": holder.id,
            }),
            ("location", json!("EN101")),
        ),
        resource(
            "/api/core/attendance/",
            "attendance_record",
            json!({ "session": session, "student": student.id, "status": "late", "notes": "Bus" }),
            ("status", json!("present")),
        ),
        resource(
            "/api/core/pages/",
            "page",
            json!({ "title": "Exam dates", "slug": "exam-dates", "content": "Soon", "unit": unit, "published": true }),
            ("content", json!("Later")),
        ),
        resource(
            "/api/core/forms/",
            "form",
            json!({ "name": "Excursion", "slug": "excursion", "schema": { "type": "object" } }),
            ("name", json!("Trip")),
        ),
        resource(
            "/api/social/achievements/",
            "achievement",
            json!({ "name": "Helper", "points_required": 1000, "description": "Helps" }),
            ("points_required", json!(900)),
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
            "/api/users/n8n-workflows/",
            "workflow",
            json!({
                "name": "Mail", "trigger_event": "student.ask",
                "configuration": { "webhook_url": "https://h.example/", "webhook_url_test": "", "use_test_url": false },
            }),
            ("name", json!("Post")),
        ),
        resource(
            "/api/users/guardians/",
            "guardian",
            json!({ "user": parent.id, "students": [student.id], "relationship": "Mother" }),
            ("relationship", json!("Aunt")),
        ),
        resource(
            "/api/users/scholarships/",
            "scholarship",
            json!({ "name": "Merit", "amount": "500.00", "max_awards": 3 }),
            ("max_awards", json!(4)),
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
    /// The transaction, or the part of one that could be taken back, that wrote it.
    transaction: String,
}

/// The whole log, in its order.
async fn log(app: &TestApp) -> Vec<Entry> {
    let rows = sqlx::query_as!(
        Entry,
        r#"select user_id, action, resource_type, resource_id, details,
                  xmin::text as "transaction!"
             from audit_log
            order by id"#
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
        self.wrote_something(&entry).await;
        self.driven.insert((route.0.to_string(), route.1.to_owned()));
        entry.details
    }

    /// The row stands in the transaction of the write: what it wrote is there.
    async fn wrote_something(&self, entry: &Entry) {
        // What it removed is not.
        if entry.action == "unattend" {
            return;
        }
        let tables = sqlx::query_scalar!(
            r#"select string_agg(format('select from %I where xmin = %L', table_name, $1::text), ' union all ') as "sql!"
                 from information_schema.tables
                where table_schema = 'public'
                  and table_type = 'BASE TABLE'
                  and table_name not in ('audit_log', 'audit_seals', 'idempotency_keys', 'throttle_buckets')"#,
            entry.transaction
        );
        let sql = tables.fetch_one(&self.app.db).await.unwrap();
        let rows = sqlx::Executor::fetch_all(&self.app.db, sqlx::AssertSqlSafe(sql)).await.unwrap();
        assert!(!rows.is_empty(), "nothing was written in the transaction of {entry:?}");
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
    // What nothing reads is told by all of them, and refused with nothing done by all of them.
    MISSPELT.scope(true, every_write()).await;
}

#[tokio::test]
async fn every_body_needs_what_the_document_requires_and_nothing_else() {
    let seen = probed(Probe::Incomplete).await;
    let (operations, requests) = seen.counts();
    assert!(operations > 80 && requests > 400, "{operations} {requests}");
    let found = seen.found();
    assert!(found.is_empty(), "{found:#?}");
}

#[tokio::test]
async fn no_refusal_of_a_body_speaks_the_language_of_the_implementation() {
    let seen = probed(Probe::WrongTypes).await;
    let (operations, requests) = seen.counts();
    assert!(operations > 80 && requests > 3000, "{operations} {requests}");
    let found = seen.found();
    assert!(found.is_empty(), "{found:#?}");
}

/// All writes, with bodies beside theirs.
async fn probed(probe: fn(Seen) -> Probe) -> Seen {
    let probe = Arc::new(probe(Seen::default()));
    PROBE.scope(Arc::clone(&probe), every_write()).await;
    match Arc::into_inner(probe) {
        Some(Probe::Incomplete(seen) | Probe::WrongTypes(seen)) => seen,
        None => panic!("somebody still asks"),
    }
}

async fn every_write() {
    let app = TestApp::with(&[("N8N_WEBHOOK_SECRET", N8N_SECRET)]).await;
    let (admin, student) = (app.admin().await, app.student().await);
    let mut watch = Watch { app: &app, seen: 0, driven: BTreeSet::new() };
    for resource in resources(&app).await {
        drive(&mut watch, &admin, &student, resource).await;
    }
    drive_enrollments(&mut watch, &app, &admin).await;
    drive_events(&mut watch, &app, &admin).await;
    drive_content(&mut watch, &app, &admin).await;
    drive_classes(&mut watch, &app, &admin).await;
    drive_notifications(&mut watch, &app).await;
    drive_tickets(&mut watch, &app, &admin).await;
    drive_library(&mut watch, &app, &admin).await;
    drive_submissions(&mut watch, &admin).await;
    drive_calendar_links(&mut watch, &app).await;
    drive_workflows(&mut watch, &app, &admin).await;
    drive_gold(&mut watch, &app, &admin).await;
    drive_anonymising(&mut watch, &app, &admin).await;
    drive_guardians(&mut watch, &app, &admin).await;
    drive_applications(&mut watch, &app, &admin).await;
    drive_the_rest(&mut watch, &app).await;

    // Those that read, write no resource, or are the whole point of another test.
    let silent =
        ["/api/token/refresh/", "/api/token/verify/", "/api/askai/chat/", "/api/core/events/{id}/refine-chatbot/"];
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

/// What people do about events for themselves.
async fn drive_events(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let ann = app.student().await;
    let event = json!({ "title": "Open day", "start": "2026-03-10T09:00:00Z" });
    let made = admin.post("/api/core/events/", &event).await;
    let id = Id(made.expect(201)["id"].as_i64().unwrap());
    let of = ("event", id);
    watch.follow((Method::POST, "/api/core/events/"), Some(admin.id), "create", of).await;
    for verb in ["attend", "unattend"] {
        let path = format!("/api/core/events/{{id}}/{verb}/");
        ann.post_bare(&path.replace("{id}", &id.to_string())).await.expect(200);
        watch.follow((Method::POST, &path), Some(ann.id), verb, of).await;
    }
    let publish = "/api/core/events/bulk-publish/";
    admin.post(publish, &json!({ "event_ids": [id], "visibility": "public" })).await.expect(200);
    watch.follow((Method::POST, publish), Some(admin.id), "publish", of).await;
    let path = "/api/core/events/import-csv/";
    let made = admin.upload(path, Upload::of("data", "a.csv", "title,start\na,2026-03-10")).await;
    let new = ("event", Id(made.expect(200)["events"][0]["id"].as_i64().unwrap()));
    watch.follow((Method::POST, path), Some(admin.id), "create", new).await;
    let path = "/api/core/events/batch-create-webhook/";
    let made = admin.post(path, &json!({ "events": [{ "title": "b", "start": "2026-03-10" }] })).await;
    let new = ("event", Id(made.expect(201)["created_events"][0]["id"].as_i64().unwrap()));
    watch.follow((Method::POST, path), Some(admin.id), "create", new).await;

    let one = format!("/api/core/events/{id}/");
    // This alone is a student's to write.
    MISSPELT.scope(false, ann.patch(&one, &json!({ "dismissed": true }))).await.expect(200);
    let details = watch.follow((Method::PATCH, "/api/core/events/{id}/"), Some(ann.id), "dismiss", of).await;
    assert_eq!(details, json!({ "changes": { "dismissed": { "before": false, "after": true } } }));
    MISSPELT.scope(false, ann.patch(&one, &json!({ "dismissed": true }))).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "twice is once");
}

/// What is done to the content of an event, by people and by n8n.
async fn drive_content(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let event = json!({ "title": "Open day", "start": "2026-03-10T09:00:00Z" });
    let made = admin.post("/api/core/events/", &event).await;
    let id = Id(made.expect(201)["id"].as_i64().unwrap());
    let (of, who) = (("event", id), Some(admin.id));
    watch.follow((Method::POST, "/api/core/events/"), who, "create", of).await;
    let route = |verb: &str| format!("/api/core/events/{{id}}/{verb}/");
    let path = |verb: &str| route(verb).replace("{id}", &id.to_string());
    let side = |before: Value, after: Value| json!({ "before": before, "after": after });

    let n8n = app.anonymous().with("X-N8N-SECRET", N8N_SECRET);
    watch.refused(admin.post(&path("gcal-sync"), &json!({ "gcal_event_id": "g" })).await, 403).await;
    n8n.post(&path("gcal-sync"), &json!({ "gcal_event_id": "g" })).await.expect(200);
    let details = watch.follow((Method::POST, &route("gcal-sync")), None, "await_content", of).await;
    assert_eq!(details["changes"]["generation_status"], side(json!("idle"), json!("pending")));
    let content = json!({ "generated_content": { "social_post": "One", "other": "Same" } });
    n8n.post(&path("generation_callback"), &content).await.expect(200);
    watch.follow((Method::POST, &route("generation_callback")), None, "deliver_content", of).await;
    n8n.post(&path("generation_callback"), &content).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "twice is once");

    admin.patch(&path("patch-content"), &json!({ "generated_content": { "social_post": "Two" } })).await.expect(200);
    let details = watch.follow((Method::PATCH, &route("patch-content")), who, "update_content", of).await;
    let texts = side(json!({ "social_post": "One" }), json!({ "social_post": "Two" }));
    assert_eq!(details, json!({ "changes": { "generated_content": texts } }));
    admin.put(&path("update-content"), &content).await.expect(200);
    watch.follow((Method::PUT, &route("update-content")), who, "update_content", of).await;
    for (verb, body, action) in [
        ("generate_content", json!({}), "generate_content"),
        ("refine_content", json!({ "refinement_prompt": "shorter" }), "refine_content"),
        ("apply-suggestion", json!({ "suggestion": "Three" }), "apply_suggestion"),
        ("confirm-content", json!({ "visibility": "public" }), "confirm_content"),
    ] {
        admin.post(&path(verb), &body).await.expect(200);
        watch.follow((Method::POST, &route(verb)), who, action, of).await;
    }
    admin.delete(&path("clear-content")).await.expect(200);
    watch.follow((Method::DELETE, &route("clear-content")), who, "clear_content", of).await;
    admin.post_bare(&path("content-history/1/restore")).await.expect(200);
    let restore = "/api/core/events/{id}/content-history/{rev}/restore/";
    watch.follow((Method::POST, restore), who, "restore_content", of).await;
    watch.refused(admin.post_bare(&path("content-history/99/restore")).await, 404).await;
    let suggest = json!({ "refinement_type": "prompt", "content": "shorter" });
    admin.post(&path("refine-chatbot"), &suggest).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "to suggest is not to do");
}

/// The writes of classes and of attendance that are not the shared verbs.
async fn drive_classes(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let (offering, student) = (app.offering(0).await, app.student().await);
    app.enrollment(student.id, offering, "ENROLLED").await;
    let generate = "/api/core/sessions/generate/";
    let pattern = json!({
        "offering": offering, "weekday": 1, "start_time": "09:00", "first_date": "2026-03-02",
        "last_date": "2026-03-03", "location": "EN201",
    });
    let made = admin.post(generate, &pattern).await;
    let class = Id(made.expect(201)["sessions"][0]["id"].as_i64().unwrap());
    let details = watch.follow((Method::POST, generate), Some(admin.id), "generate", ("class_session", class)).await;
    assert_eq!(details["changes"]["date"], json!({ "before": null, "after": "2026-03-02" }));
    watch.refused(admin.post(generate, &pattern).await, 409).await;
    admin.post(&format!("{generate}?dry_run=true"), &pattern).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "to ask is not to do");

    let series = made.body["sessions"][0]["series"].as_str().unwrap().to_owned();
    let (path, route) = (format!("/api/core/sessions/series/{series}/"), "/api/core/sessions/series/{series}/");
    let change = json!({ "from": "2026-03-01", "location": "EN202" });
    watch.refused(student.patch(&path, &change).await, 403).await;
    admin.patch(&path, &change).await.expect(200);
    let details = watch.follow((Method::PATCH, route), Some(admin.id), "update", ("class_session", class)).await;
    assert_eq!(details, json!({ "changes": { "location": { "before": "EN201", "after": "EN202" } } }));

    let (path, route) = (format!("/api/core/sessions/{class}/attendance/"), "/api/core/sessions/{id}/attendance/");
    watch.refused(student.post(&path, &json!({ "default": "present" })).await, 403).await;
    for (status, action) in [("absent", "create"), ("present", "update")] {
        let reply = admin.post(&path, &json!({ "default": status })).await;
        let record = Id(reply.expect(200)["results"][0]["id"].as_i64().unwrap());
        let of = ("attendance_record", record);
        let details = watch.follow((Method::POST, route), Some(admin.id), action, of).await;
        assert_eq!(details["changes"]["status"]["after"], json!(status));
    }
    let (cancel, day_off) =
        ("/api/core/sessions/cancel/", json!({ "date": "2026-03-02", "offerings": [offering], "reason": "Holiday" }));
    watch.refused(student.post(cancel, &day_off).await, 403).await;
    admin.post(cancel, &day_off).await.expect(200);
    let details = watch.follow((Method::POST, cancel), Some(admin.id), "cancel", ("class_session", class)).await;
    let wanted = json!({
        "status": { "before": "scheduled", "after": "cancelled" }, "reason": { "before": null, "after": "Holiday" },
    });
    assert_eq!(details, json!({ "changes": wanted }));

    let empty = app.offering(0).await;
    let (path, closing) = (format!("/api/academic/offerings/{empty}/close/"), json!({ "reason": "Nobody asked" }));
    watch.refused(student.post(&path, &closing).await, 403).await;
    admin.post(&path, &closing).await.expect(200);
    let of = ("offering", empty);
    let details =
        watch.follow((Method::POST, "/api/academic/offerings/{id}/close/"), Some(admin.id), "close", of).await;
    assert_eq!(details["changes"]["is_active"], json!({ "before": true, "after": false }));
    watch.refused(admin.post(&path, &closing).await, 409).await;
}

/// The writes of notifications.
async fn drive_notifications(watch: &mut Watch<'_>, app: &TestApp) {
    let base = "/api/core/notifications/";
    let (ann, staff) = (app.student().await, app.staff().await);
    let made = ann.post(base, &json!({ "recipient": staff.id, "verb": "Hello" })).await;
    let id = Id(made.expect(201)["id"].as_i64().unwrap());
    let (of, one, path) = (("notification", id), format!("{base}{id}/"), format!("{base}{{id}}/"));
    let details = watch.follow((Method::POST, base), Some(ann.id), "create", of).await;
    assert_eq!(details["changes"]["recipient"], json!({ "before": null, "after": staff.id }));
    assert_eq!(details["changes"]["verb"], json!({ "before": null, "after": { "length": 5 } }));
    watch.refused(ann.post(base, &json!({ "recipient": ann.id, "verb": "Hello" })).await, 400).await;
    watch.refused(ann.patch(&one, &json!({ "unread": false })).await, 404).await;

    let offering = app.offering(0).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let to_class = json!({ "offering": offering, "verb": "Room changed" });
    watch.refused(ann.post(base, &to_class).await, 403).await;
    staff.post(base, &to_class).await.expect(201);
    let details = watch.follow((Method::POST, base), Some(staff.id), "notify_class", ("offering", offering)).await;
    assert_eq!(details, json!({ "told": 1 }), "not what was said");

    let unread = |before: bool, after: bool| json!({ "changes": { "unread": { "before": before, "after": after } } });
    staff.patch(&one, &json!({ "unread": false })).await.expect(200);
    let details = watch.follow((Method::PATCH, &path), Some(staff.id), "update", of).await;
    assert_eq!(details, unread(true, false));
    staff.put(&one, &json!({ "unread": true })).await.expect(200);
    let details = watch.follow((Method::PUT, &path), Some(staff.id), "update", of).await;
    assert_eq!(details, unread(false, true));
    let all = format!("{base}mark-all-read/");
    staff.post_bare(&all).await.expect(200);
    let details =
        watch.follow((Method::POST, &all), Some(staff.id), "mark_notifications_read", ("user", staff.id)).await;
    assert_eq!(details, json!({ "marked": 1 }));
    staff.delete(&one).await.expect(204);
    watch.follow((Method::DELETE, &path), Some(staff.id), "delete", of).await;
    watch.refused(staff.delete(&one).await, 404).await;
}

/// The writes of tickets and of comments on them.
async fn drive_tickets(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let (tickets, comments) = ("/api/core/tickets/", "/api/core/ticket-comments/");
    let (ann, other) = (app.student().await, app.student().await);
    let change = |before: Value, after: Value| json!({ "before": before, "after": after });

    let made = ann.post(tickets, &json!({ "title": "Hello", "priority": "high" })).await;
    let ticket = Id(made.expect(201)["id"].as_i64().unwrap());
    let (of, one) = (("ticket", ticket), format!("{tickets}{ticket}/"));
    let path = |rest: &str| format!("{tickets}{{id}}/{rest}");
    let details = watch.follow((Method::POST, tickets), Some(ann.id), "create", of).await;
    // What was ignored is not in the log either.
    assert_eq!(details["changes"]["title"], change(json!(null), json!("Hello")));
    assert_eq!(details["changes"]["priority"], change(json!(null), json!("medium")));
    watch.refused(ann.post(tickets, &json!({})).await, 400).await;
    watch.refused(other.patch(&one, &json!({ "title": "x" })).await, 404).await;
    admin.patch(&one, &json!({ "status": "in_progress" })).await.expect(200);
    let details = watch.follow((Method::PATCH, &path("")), Some(admin.id), "update", of).await;
    assert_eq!(details, json!({ "changes": { "status": change(json!("open"), json!("in_progress")) } }));
    ann.put(&one, &json!({ "title": "Hi", "priority": "high" })).await.expect(200);
    let details = watch.follow((Method::PUT, &path("")), Some(ann.id), "update", of).await;
    assert_eq!(details, json!({ "changes": { "title": change(json!("Hello"), json!("Hi")) } }));
    let files = format!("{one}files/");
    let file = ann.upload(&files, Upload::of("file", "a.txt", "text")).await.expect(201)["id"].clone();
    let details = watch.follow((Method::POST, &path("files/")), Some(ann.id), "add_file", of).await;
    assert_eq!(details["changes"]["file"], change(json!(null), file));
    watch.refused(ann.upload(&files, Upload::of("file", "a.svg", "<svg/>")).await, 400).await;

    let made = ann.post(comments, &json!({ "ticket": ticket, "comment": "Please" })).await;
    let comment = Id(made.expect(201)["id"].as_i64().unwrap());
    let (said, its, at) = (("ticket_comment", comment), format!("{comments}{comment}/"), format!("{comments}{{id}}/"));
    let details = watch.follow((Method::POST, comments), Some(ann.id), "create", said).await;
    // What people say to each other is not copied.
    assert_eq!(details["changes"]["comment"], change(json!(null), json!({ "length": 6 })));
    watch.refused(other.post(comments, &json!({ "ticket": ticket, "comment": "x" })).await, 400).await;
    watch.refused(admin.patch(&its, &json!({ "comment": "x" })).await, 403).await;
    ann.patch(&its, &json!({ "comment": "Now", "internal": true })).await.expect(200);
    let details = watch.follow((Method::PATCH, &at), Some(ann.id), "update", said).await;
    let lengths = change(json!({ "length": 6 }), json!({ "length": 3 }));
    assert_eq!(details, json!({ "changes": { "comment": lengths } }));
    ann.put(&its, &json!({ "ticket": ticket, "comment": "Soon" })).await.expect(200);
    watch.follow((Method::PUT, &at), Some(ann.id), "update", said).await;
    ann.delete(&its).await.expect(204);
    watch.follow((Method::DELETE, &at), Some(ann.id), "delete", said).await;
    admin.post_bare(&format!("{its}restore/")).await.expect(200);
    watch.follow((Method::POST, &format!("{at}restore/")), Some(admin.id), "restore", said).await;

    watch.refused(ann.delete(&one).await, 403).await;
    admin.delete(&one).await.expect(204);
    let details = watch.follow((Method::DELETE, &path("")), Some(admin.id), "delete", of).await;
    assert_eq!(details["changes"]["title"], change(json!("Hi"), json!(null)));
    admin.post_bare(&format!("{one}restore/")).await.expect(200);
    watch.follow((Method::POST, &path("restore/")), Some(admin.id), "restore", of).await;
}

/// The writes of the library and of media.
async fn drive_library(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let (ann, who) = (app.student().await, Some(admin.id));
    let change = |before: Value, after: Value| json!({ "before": before, "after": after });
    for (base, name) in [("/api/core/resources/", "resource"), ("/api/core/media/", "media_asset")] {
        let form = || Upload::of("file", "a.txt", "text").and("title", "Guide");
        let path = |rest: &str| format!("{base}{{id}}/{rest}");
        watch.refused(ann.upload(base, form()).await, 403).await;
        watch.refused(admin.upload(base, Upload::of("file", "a.svg", "<svg/>").and("title", "Guide")).await, 400).await;
        let id = Id(admin.upload(base, form()).await.expect(201)["id"].as_i64().unwrap());
        let (of, one) = ((name, id), format!("{base}{id}/"));
        let details = watch.follow((Method::POST, base), who, "create", of).await;
        let file = sqlx::query_scalar!(r#"select max(id) as "id!" from stored_files"#);
        let file = file.fetch_one(&app.db).await.unwrap();
        if name == "resource" {
            assert_eq!(details["changes"]["title"], change(json!(null), json!("Guide")));
            admin.patch(&one, &json!({ "title": "Map" })).await.expect(200);
            let details = watch.follow((Method::PATCH, &path("")), who, "update", of).await;
            assert_eq!(details, json!({ "changes": { "title": change(json!("Guide"), json!("Map")) } }));
            admin.put(&one, &json!({ "title": "Plan" })).await.expect(200);
            let details = watch.follow((Method::PUT, &path("")), who, "update", of).await;
            assert_eq!(details, json!({ "changes": { "title": change(json!("Map"), json!("Plan")) } }));
        } else {
            assert_eq!(details, json!({ "changes": { "file": change(json!(null), json!(file)) } }));
        }
        watch.refused(ann.delete(&one).await, 403).await;
        admin.delete(&one).await.expect(204);
        watch.follow((Method::DELETE, &path("")), who, "delete", of).await;
        admin.post_bare(&format!("{one}restore/")).await.expect(200);
        watch.follow((Method::POST, &path("restore/")), who, "restore", of).await;
    }
}

/// What is sent in with forms.
async fn drive_submissions(watch: &mut Watch<'_>, admin: &Person) {
    let (forms, base) = ("/api/core/forms/", "/api/core/submissions/");
    let form = admin.post(forms, &json!({ "name": "F", "slug": "f", "schema": { "type": "integer" } })).await;
    let form = Id(form.expect(201)["id"].as_i64().unwrap());
    watch.follow((Method::POST, forms), Some(admin.id), "create", ("form", form)).await;
    watch.refused(admin.post(base, &json!({ "form": form, "data": "one" })).await, 400).await;
    let sent = admin.post(base, &json!({ "form": form, "data": 1 })).await;
    let of = ("submission", Id(sent.expect(201)["id"].as_i64().unwrap()));
    let details = watch.follow((Method::POST, base), Some(admin.id), "create", of).await;
    assert_eq!(details, json!({ "changes": { "form": { "before": null, "after": form } } }), "the data are not logged");
    let (one, path) = (format!("{base}{}/", of.1), "/api/core/submissions/{id}/");
    admin.delete(&one).await.expect(204);
    watch.follow((Method::DELETE, path), Some(admin.id), "delete", of).await;
    admin.post_bare(&format!("{one}restore/")).await.expect(200);
    watch.follow((Method::POST, &format!("{path}restore/")), Some(admin.id), "restore", of).await;
}

/// A calendar link is made and revoked; its secret is nowhere in the log.
async fn drive_calendar_links(watch: &mut Watch<'_>, app: &TestApp) {
    let (path, ann) = ("/api/core/calendar-link/", app.student().await);
    let newest = async || {
        let sql = sqlx::query_scalar!(r#"select max(id) as "id!" from calendar_links"#);
        Id(sql.fetch_one(&app.db).await.unwrap())
    };
    watch.refused(ann.delete(path).await, 404).await;
    for _ in 0..2 {
        let made = ann.post_bare(path).await;
        let url = made.expect(201)["url"].as_str().unwrap().to_owned();
        let of = ("calendar_link", newest().await);
        let details = watch.follow((Method::POST, path), Some(ann.id), "create", of).await;
        assert_eq!(details, json!({}));
        app.anonymous().get(&url).await.expect(200);
        assert!(watch.new_entries().await.is_empty(), "to read the feed is no write");
    }
    ann.delete(path).await.expect(204);
    let of = ("calendar_link", newest().await);
    watch.follow((Method::DELETE, path), Some(ann.id), "revoke", of).await;
}

/// A secret is renewed, and messages are sent again.
async fn drive_workflows(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let body = json!({ "name": "Mail", "trigger_event": "student.ask", "configuration": { "webhook_url": "https://h.example/" } });
    let workflow = crate::academic::id_of(&admin.post("/api/users/n8n-workflows/", &body).await);
    watch.new_entries().await;
    let renewed = admin.post_bare(&format!("/api/users/n8n-workflows/{workflow}/rotate-secret/")).await;
    let secret = renewed.expect(200)["secret"].as_str().unwrap().to_owned();
    let route = (Method::POST, "/api/users/n8n-workflows/{id}/rotate-secret/");
    let details = watch.follow(route, Some(admin.id), "rotate_secret", ("workflow", workflow)).await;
    assert!(!details.to_string().contains(&secret));

    let made = sqlx::query!(
        r#"with m as (
               insert into webhook_outbox (trigger_event, workflow_id, object_key, state)
               values ('event.generate', $1, 'event:1', 'dead')
               returning id
           )
           insert into workflow_executions (workflow_id, message_id, trigger_event, status, end_time)
           select $1, id, 'event.generate', 'failed', rule_now()
             from m
           returning id, message_id as "message!""#,
        workflow.0
    );
    let made = made.fetch_one(&app.db).await.unwrap();
    let (call, message) = (Id(made.id), Id(made.message));
    admin.post_bare(&format!("/api/users/n8n-logs/{call}/replay/")).await.expect(202);
    let route = (Method::POST, "/api/users/n8n-logs/{id}/replay/");
    watch.follow(route, Some(admin.id), "replay", ("workflow_execution", call)).await;
    let path = format!("/api/users/webhook-outbox/{message}/replay/");
    admin.post_bare(&path).await.expect(202);
    let route = (Method::POST, "/api/users/webhook-outbox/{id}/replay/");
    watch.follow(route, Some(admin.id), "replay", ("webhook_message", message)).await;
    watch.refused(admin.post_bare(&path).await, 409).await;
}

/// What moves gold, and what is earned with it.
async fn drive_gold(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let (ann, who) = (app.student().await, Some(admin.id));
    let (accounts, transactions) = ("/api/social/social-gold/", "/api/social/transactions/");
    let account = sqlx::query_scalar!("select id from gold_accounts where student_id = $1", ann.id.0);
    let account = account.fetch_one(&app.db).await.unwrap();
    let entered = |details: &Value, amount: i64| {
        assert_eq!(details["changes"]["amount"], json!({ "before": null, "after": amount }));
        assert_eq!(details["changes"]["student"], json!({ "before": null, "after": ann.id }));
    };
    for (verb, amount) in [("award", 5), ("deduct", -5)] {
        let (path, route) = (format!("{accounts}{account}/{verb}/"), format!("{accounts}{{id}}/{verb}/"));
        let body = json!({ "amount": 5, "reason": "Fair" });
        watch.refused(ann.post(&path, &body).await, 403).await;
        let made = Id(admin.post(&path, &body).await.expect(200)["transaction_id"].as_i64().unwrap());
        entered(&watch.follow((Method::POST, &route), who, verb, ("gold_transaction", made)).await, amount);
    }
    watch
        .refused(admin.post(&format!("{accounts}{account}/deduct/"), &json!({ "amount": 1, "reason": "x" })).await, 409)
        .await;
    let path = format!("{transactions}award/");
    let made = admin.post(&path, &json!({ "student_id": ann.id, "amount": 7, "reason": "Fair" })).await;
    let made = Id(made.expect(201)["transaction_id"].as_i64().unwrap());
    entered(&watch.follow((Method::POST, &path), who, "award", ("gold_transaction", made)).await, 7);
    let path = format!("{transactions}import-csv/");
    let file = |amount: i64| Upload::of("file", "a.csv", format!("student,amount,reason\n{},{amount},Fair", ann.id));
    watch.refused(admin.upload(&path, file(0)).await, 400).await;
    admin.upload(&format!("{path}?dry_run=true"), file(8)).await.expect(200);
    assert!(watch.new_entries().await.is_empty(), "to ask is not to do");
    let made = admin.upload(&path, file(8)).await;
    let made = Id(made.expect(201)["transactions"][0]["transaction_id"].as_i64().unwrap());
    entered(&watch.follow((Method::POST, &path), who, "award", ("gold_transaction", made)).await, 8);

    // One who has the points gets it at once, which is a row of its own.
    let achievements = "/api/social/achievements/";
    let made = admin.post(achievements, &json!({ "name": "First", "points_required": 10 })).await;
    let achievement = made.expect(201)["id"].as_i64().unwrap();
    let entries = watch.new_entries().await;
    let found: Vec<_> = entries.iter().map(|entry| (entry.action.as_str(), entry.resource_type.as_str())).collect();
    assert_eq!(found, [("grant", "student_achievement"), ("create", "achievement")]);
    let (path, route) =
        (format!("{achievements}{achievement}/badge_image/"), format!("{achievements}{{id}}/badge_image/"));
    watch.refused(admin.upload(&path, Upload::of("file", "a.png", "words")).await, 400).await;
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\0\0\0\0IEND\xaeB`\x82";
    admin.upload(&path, Upload::of("file", "a.png", &png[..])).await.expect(200);
    watch.follow((Method::POST, &route), who, "set_badge_image", ("achievement", Id(achievement))).await;

    let earned = Id(entries[0].resource_id.unwrap());
    let (base, of) = ("/api/social/student-achievements/", ("student_achievement", earned));
    watch.refused(ann.delete(&format!("{base}{earned}/")).await, 403).await;
    admin.delete(&format!("{base}{earned}/")).await.expect(204);
    watch.follow((Method::DELETE, &format!("{base}{{id}}/")), who, "delete", of).await;
    admin.post_bare(&format!("{base}{earned}/restore/")).await.expect(200);
    watch.follow((Method::POST, &format!("{base}{{id}}/restore/")), who, "restore", of).await;
}

/// Somebody is anonymised: the row names the rows that were erased, and nothing of the person.
async fn drive_anonymising(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let (path, ann, other) = ("/api/users/users/{id}/anonymise/", app.student().await, app.staff().await);
    let of = ("user", ann.id);
    ann.patch("/api/users/users/update_profile/", &json!({ "bio": "Climbs" })).await.expect(200);
    let own = "/api/users/users/update_profile/";
    watch.follow((Method::PATCH, own), Some(ann.id), "update", of).await;
    let one = path.replace("{id}", &ann.id.to_string());
    watch.refused(other.post_bare(&one).await, 403).await;
    admin.post_bare(&one).await.expect(200);
    let details = watch.follow((Method::POST, path), Some(admin.id), "anonymise", of).await;
    let last = sqlx::query_scalar!(r#"select max(id) as "id!" from audit_log where user_id = $1"#, ann.id.0);
    let last = json!([last.fetch_one(&app.db).await.unwrap()]);
    assert_eq!(details, json!({ "erased_details": last, "erased_origins": last }));
    watch.refused(admin.post_bare(&one).await, 409).await;
}

/// Grants to guardians: given, revoked, and ended by what becomes of the guardian.
async fn drive_guardians(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let base = "/api/users/guardians/";
    let (ann, parent, other) = (app.student().await, app.parent().await, app.parent().await);
    let made = admin.post(base, &json!({ "user": parent.id, "students": [ann.id] })).await;
    let guardian = Id(made.expect(201)["id"].as_i64().unwrap());
    watch.follow((Method::POST, base), Some(admin.id), "create", ("guardian", guardian)).await;
    let (grants, path) = (format!("{base}{guardian}/grants/"), format!("{base}{{id}}/grants/"));
    let give = async |watch: &mut Watch<'_>| {
        let made = ann.post(&grants, &json!({ "student": ann.id, "scopes": ["gold"] })).await;
        let grant = Id(made.expect(201)["id"].as_i64().unwrap());
        let details = watch.follow((Method::POST, &path), Some(ann.id), "create", ("guardian_grant", grant)).await;
        assert_eq!(details["changes"]["scopes"], json!({ "before": null, "after": ["gold"] }));
        grant
    };
    watch.refused(ann.post(&grants, &json!({ "student": ann.id })).await, 400).await;
    watch.refused(parent.post(&grants, &json!({ "student": ann.id, "scopes": ["gold"] })).await, 403).await;
    let grant = give(watch).await;
    let one = format!("{grants}{grant}/");
    watch.refused(admin.delete(&one).await, 403).await;
    ann.delete(&one).await.expect(204);
    let route = format!("{path}{{grant}}/");
    watch.follow((Method::DELETE, &route), Some(ann.id), "revoke", ("guardian_grant", grant)).await;
    watch.refused(ann.delete(&one).await, 404).await;

    // Each grant that ends with something else has its row beside that of the cause.
    let own = format!("{base}{guardian}/");
    for (what, action, cause) in
        [("user", "revoke", "update"), ("delete", "revoke", "delete"), ("students", "delete", "update")]
    {
        let grant = give(watch).await;
        match what {
            "user" => admin.patch(&own, &json!({ "user": other.id })).await.expect(200),
            "students" => admin.patch(&own, &json!({ "students": [] })).await.expect(200),
            _ => admin.delete(&own).await.expect(204),
        };
        let entries = watch.new_entries().await;
        let is_its =
            |entry: &&Entry| (entry.resource_type.as_str(), entry.resource_id) == ("guardian_grant", Some(grant.0));
        let of_grant: Vec<_> = entries.iter().filter(is_its).collect();
        assert_eq!((of_grant.len(), of_grant[0].action.as_str()), (1, action), "{what}: {entries:?}");
        let last = entries.last().unwrap();
        assert_eq!((last.action.as_str(), last.resource_id), (cause, Some(guardian.0)), "{what}");
        if what == "delete" {
            admin.post_bare(&format!("{own}restore/")).await.expect(200);
            watch.new_entries().await;
        }
    }
}

/// Applications for scholarships.
async fn drive_applications(watch: &mut Watch<'_>, app: &TestApp, admin: &Person) {
    let (scholarships, base) = ("/api/users/scholarships/", "/api/users/scholarship-applications/");
    let ann = app.student().await;
    let scholarship =
        Id(admin.post(scholarships, &json!({ "name": "Travel" })).await.expect(201)["id"].as_i64().unwrap());
    watch.follow((Method::POST, scholarships), Some(admin.id), "create", ("scholarship", scholarship)).await;
    watch.refused(ann.post(base, &json!({})).await, 400).await;
    let made = ann.upload(base, Upload::of("file", "a.txt", "text").and("scholarship", scholarship)).await;
    let of = ("scholarship_application", Id(made.expect(201)["id"].as_i64().unwrap()));
    let details = watch.follow((Method::POST, base), Some(ann.id), "create", of).await;
    assert_eq!(details, json!({ "changes": { "scholarship": { "before": null, "after": scholarship } } }));
    let (one, path) = (format!("{base}{}/", of.1), |rest: &str| format!("{base}{{id}}/{rest}"));
    ann.upload(&format!("{one}documents/"), Upload::of("file", "b.txt", "text")).await.expect(201);
    let details = watch.follow((Method::POST, &path("documents/")), Some(ann.id), "add_document", of).await;
    assert_eq!(details["changes"]["name"], json!({ "before": null, "after": "b.txt" }));
    watch.refused(ann.upload(&format!("{one}documents/"), Upload::of("file", "a.svg", "<svg/>")).await, 400).await;
    ann.delete(&one).await.expect(204);
    watch.follow((Method::DELETE, &path("")), Some(ann.id), "delete", of).await;
    admin.post_bare(&format!("{one}restore/")).await.expect(200);
    watch.follow((Method::POST, &path("restore/")), Some(admin.id), "restore", of).await;
    let review = format!("{one}review/");
    admin.post(&review, &json!({ "status": "approved" })).await.expect(200);
    let details = watch.follow((Method::POST, &path("review/")), Some(admin.id), "review", of).await;
    assert_eq!(details, json!({ "changes": { "status": { "before": "pending", "after": "approved" } } }));
    watch.refused(admin.post(&review, &json!({ "status": "waitlisted" })).await, 409).await;
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

    let waits = sqlx::query!(
        "insert into email_changes (user_id, email, token_hash, expires_at)
         values ($1, 'moved@example.org', $2, rule_now() + interval '1 hour')",
        ann.id.0,
        swincms::access::tokens::hash(secret)
    );
    waits.execute(&app.db).await.unwrap();
    let confirm = "/api/users/email/confirm/";
    watch.refused(app.anonymous().post(confirm, &json!({ "token": "another" })).await, 400).await;
    app.anonymous().post(confirm, &json!({ "token": secret })).await.expect(204);
    let details = watch.follow((Method::POST, confirm), Some(ann.id), "confirm_email", own).await;
    assert_eq!(details, json!({ "changes": { "email": { "before": ann.email, "after": "moved@example.org" } } }));

    // What is secret stands nowhere in the log.
    let whole = sqlx::query_scalar!(r#"select string_agg(a::text, ' ') as "text!" from audit_log a"#);
    let whole = whole.fetch_one(&app.db).await.unwrap();
    let hashes = sqlx::query_scalar!("select password_hash from users where password_hash like '$%'");
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
    let staff = app.staff().await.with("User-Agent", b"test/1 caf\xe9");
    let reply = staff.post("/api/academic/courses/", &json!({ "code": "C", "name": "C" })).await;
    reply.expect(201);
    let row = sqlx::query!(
        r#"select host(ip_address) as "ip!", user_agent, request_id, created_at > now() - interval '1 hour' as "now!",
                  details_digest = sha256(salt || convert_to(details::text, 'UTF8')) as "digest!"
             from audit_log"#
    );
    let row = row.fetch_one(&app.db).await.unwrap();
    assert_eq!(
        (row.ip.as_str(), row.user_agent.as_str(), row.request_id.as_str()),
        ("127.0.0.1", "test/1 caf\u{fffd}", reply.header("x-request-id").unwrap())
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
        "update audit_log set details = '{}'",
        "update audit_log set details = '{}', salt = '', ip_address = null",
        "update audit_log set ip_address = null, user_agent = ''",
        "update audit_log set origin_salt = '\\x01'",
        "update audit_log set origin_digest = sha256('')",
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

    // The changes that are allowed: what was said of a person is erased, and from where they came; the digests stay.
    sqlx::raw_sql("update audit_log set details = '{}', salt = ''").execute(&app.db).await.unwrap();
    sqlx::raw_sql("update audit_log set ip_address = null, user_agent = '', origin_salt = ''")
        .execute(&app.db)
        .await
        .unwrap();
    let erased =
        sqlx::query_scalar!(r#"select to_jsonb(a) as "row!" from audit_log a"#).fetch_one(&app.db).await.unwrap();
    assert_eq!(erased["details_digest"], before[0]["details_digest"]);
    assert_eq!(erased["origin_digest"], before[0]["origin_digest"]);
    assert_eq!((&erased["details"], &erased["ip_address"]), (&json!({}), &json!(null)));
}
