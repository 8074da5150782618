//! The academic catalogue. What holds for all of its resources alike is tested here, over [`samples`]; what is
//! particular to one in the module of its name.

mod course_units;
mod courses;
mod intakes;
mod offerings;
mod unit_resources;
mod units;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgExecutor};
use swincms::ids::Id;

use crate::support::{Person, Reply, TestApp};

pub(crate) const COURSES: &str = "/api/academic/courses/";
pub(crate) const COURSE_UNITS: &str = "/api/academic/course-units/";
pub(crate) const UNITS: &str = "/api/academic/units/";
pub(crate) const INTAKES: &str = "/api/academic/intakes/";
pub(crate) const OFFERINGS: &str = "/api/academic/offerings/";
pub(crate) const UNIT_RESOURCES: &str = "/api/academic/unit-resources/";

/// `support::NOW` as the API writes it.
pub(crate) const NOW: &str = "2026-03-02T02:00:00.000000Z";

/// `/api/academic/units/` and 7 make `/api/academic/units/7/`.
pub(crate) fn at(path: &str, id: impl std::fmt::Display) -> String {
    format!("{path}{id}/")
}

/// The id of what a `POST` made.
#[track_caller]
pub(crate) fn id_of(reply: &Reply) -> Id {
    Id(reply.expect(201)["id"].as_i64().unwrap())
}

/// The fields that a problem finds fault with.
pub(crate) fn faulty(reply: &Reply) -> BTreeSet<String> {
    reply.body["errors"].as_object().map(|errors| errors.keys().cloned().collect()).unwrap_or_default()
}

/// Does what no request can do.
pub(crate) async fn run(on: impl PgExecutor<'_>, sql: impl Into<String>) {
    on.execute(AssertSqlSafe(sql.into())).await.unwrap();
}

/// All of `there`, each once, whatever else has been found in between.
#[track_caller]
pub(crate) fn whole(found: &[Id], there: &[Id]) {
    let once: BTreeSet<&Id> = found.iter().collect();
    assert_eq!(once.len(), found.len(), "a row came twice");
    assert!(there.iter().all(|id| once.contains(id)), "a row was left out");
}

/// The ids of all pages, from the first on; `between` happens after each.
pub(crate) async fn all_pages(reader: &Person, first: &str, mut between: impl AsyncFnMut()) -> Vec<Id> {
    let mut reply = reader.get(first).await;
    let mut found = reply.ids();
    while let Some(next) = reply.next_page() {
        between().await;
        reply = reader.get(&next).await;
        found.extend(reply.ids());
    }
    found
}

/// An example of a resource.
struct Sample {
    path: &'static str,
    /// The resource type in the audit log.
    name: &'static str,
    /// The fields that a body must have.
    required: &'static [&'static str],
    /// A body with all fields.
    body: Value,
    /// What the fields that are not required become when a `PUT` leaves them out.
    defaults: Value,
    /// A `PATCH`.
    change: Value,
    /// What only staff write; the rest convenors write too, for units of theirs.
    staff_only: bool,
}

impl Sample {
    /// The body with nothing but what it must have.
    fn least(&self) -> Value {
        self.required.iter().map(|name| ((*name).to_owned(), self.body[*name].clone())).collect()
    }
}

/// One of each resource, none of which is in the database yet; their units are the convenor's.
async fn samples(app: &TestApp, convenor: &Person) -> Vec<Sample> {
    let unit = app.unit_of(convenor.id).await;
    vec![
        Sample {
            path: COURSES,
            name: "course",
            required: &["code", "name"],
            body: json!({
                "code": "BA-CS", "name": "Computer Science", "description": "All of it.", "duration_years": "4.5",
                "credit_points": "300.0", "department": "Computing", "is_active": false,
            }),
            defaults: json!({
                "description": "", "duration_years": "3.0", "credit_points": "0.0", "department": "",
                "is_active": true,
            }),
            change: json!({ "department": "Science" }),
            staff_only: true,
        },
        Sample {
            path: UNITS,
            name: "unit",
            // The code and name are what anyone must send; a convenor also sends whose unit it is.
            required: &["code", "name", "convenor"],
            body: json!({
                "code": "COS10009", "name": "Programming", "description": "Loops.", "credit_points": "25.0",
                "department": "Computing", "convenor": convenor.id, "prerequisites": [unit],
                "anti_requisites": [app.unit().await], "is_active": false,
            }),
            defaults: json!({
                "description": "", "credit_points": "12.5", "department": "", "prerequisites": [],
                "anti_requisites": [], "is_active": true,
            }),
            change: json!({ "description": "Loops and more loops." }),
            staff_only: false,
        },
        Sample {
            path: COURSE_UNITS,
            name: "course_unit",
            required: &["course", "unit"],
            body: json!({ "course": app.course().await, "unit": unit, "is_elective": true }),
            defaults: json!({ "is_elective": false }),
            change: json!({ "unit": app.unit().await }),
            staff_only: true,
        },
        Sample {
            path: INTAKES,
            name: "intake",
            required: &["semester", "year"],
            body: json!({ "semester": "WS", "year": 2031 }),
            defaults: json!({}),
            change: json!({ "semester": "SS" }),
            staff_only: true,
        },
        Sample {
            path: OFFERINGS,
            name: "offering",
            required: &["unit", "year", "semester", "enrollment_start", "enrollment_end"],
            body: json!({
                "unit": unit, "year": 2027, "semester": "S2", "enrollment_start": "2027-06-01T00:00:00Z",
                "enrollment_end": "2027-08-01T00:00:00Z", "withdraw_until": "2027-09-01T00:00:00Z", "capacity": 30,
                "requires_approval": false, "is_active": false, "notes": "Major: Software; Class 3h/week; Mon 09:00",
            }),
            defaults: json!({
                "withdraw_until": null, "capacity": 0, "requires_approval": true, "is_active": true, "notes": "",
            }),
            change: json!({ "capacity": 31 }),
            staff_only: false,
        },
        Sample {
            path: UNIT_RESOURCES,
            name: "unit_resource",
            required: &["unit", "title", "url"],
            body: json!({
                "unit": unit, "title": "The book", "resource_type": "TEXTBOOK", "description": "Read it.",
                "url": "https://example.org/book", "is_required": true,
            }),
            defaults: json!({ "resource_type": "OTHER", "description": "", "is_required": false }),
            change: json!({ "title": "Another book" }),
            staff_only: false,
        },
    ]
}

/// Whether the object has these values; a unit within it is compared by its id, a moment with microseconds.
fn has(object: &Value, wanted: &Value) -> bool {
    wanted.as_object().unwrap().iter().all(|(name, value)| {
        let found = if object[name].is_object() { &object[name]["id"] } else { &object[name] };
        let moment = value.as_str().filter(|text| text.ends_with(":00Z")).map(|text| text.replace('Z', ".000000Z"));
        *found == moment.map_or_else(|| value.clone(), Value::String)
    })
}

#[tokio::test]
async fn a_put_replaces_and_a_patch_merges() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    for sample in samples(&app, &convenor).await {
        let made = staff.post(sample.path, &sample.body).await;
        assert!(has(made.expect(201), &sample.body), "{}", made.body);
        let path = at(sample.path, id_of(&made));
        assert_eq!(staff.get(&path).await.expect(200), &made.body, "{path}");

        let changed = staff.patch(&path, &sample.change).await;
        assert!(has(changed.expect(200), &sample.change), "{}", changed.body);
        let mut kept = sample.body.clone();
        kept.as_object_mut().unwrap().retain(|name, _| sample.change.get(name).is_none());
        assert!(has(&changed.body, &kept), "{}", changed.body);

        let replaced = staff.put(&path, &sample.least()).await;
        assert!(has(replaced.expect(200), &sample.least()), "{}", replaced.body);
        assert!(has(&replaced.body, &sample.defaults), "{}", replaced.body);
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn everything_that_a_body_lacks_is_named_at_once() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    for sample in samples(&app, &convenor).await {
        let required: BTreeSet<String> =
            sample.required.iter().filter(|name| **name != "convenor").map(|name| (*name).to_owned()).collect();
        let refused = staff.post(sample.path, &json!({})).await;
        assert_eq!((refused.refusal(), faulty(&refused)), ((400, "invalid"), required.clone()), "{}", sample.path);

        let path = at(sample.path, id_of(&staff.post(sample.path, &sample.body).await));
        let refused = staff.put(&path, &json!({})).await;
        // A `PUT` has no file and need not send one: it is not a field.
        assert_eq!((refused.refusal(), faulty(&refused)), ((400, "invalid"), required), "{path}");
    }
}

#[tokio::test]
async fn what_is_unknown_or_read_only_in_a_body_is_ignored() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let read_only = json!({
        "id": 4711, "created_at": "1999-01-01T00:00:00Z", "updated_at": "1999-01-01T00:00:00Z", "created_by": 4711,
        "updated_by": 4711, "deleted_at": "1999-01-01T00:00:00Z", "is_deleted": true, "current_enrollment": 17,
        "file": "https://example.org/file", "is_superuser": true,
    });
    for sample in samples(&app, &convenor).await {
        let mut body = sample.body.clone();
        body.as_object_mut().unwrap().extend(read_only.as_object().unwrap().clone());
        let made = staff.post(sample.path, &body).await;
        assert!(has(made.expect(201), &sample.body), "{}", made.body);
        let path = at(sample.path, id_of(&made));
        for reply in [staff.patch(&path, &read_only).await, staff.put(&path, &body).await, staff.get(&path).await] {
            assert_eq!(reply.expect(200), &made.body, "{path}");
        }
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn an_etag_changes_with_the_object_and_guards_its_writes() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    for sample in samples(&app, &convenor).await {
        let path = at(sample.path, id_of(&staff.post(sample.path, &sample.body).await));
        let shown = staff.get(&path).await;
        let tag = shown.header("etag").expect("an ETag").to_owned();
        assert_eq!(staff.with("If-None-Match", &tag).get(&path).await.status.as_u16(), 304, "{path}");

        staff.with("If-Match", &tag).patch(&path, &sample.change).await.expect(200);
        let late = staff.with("If-Match", &tag);
        assert_eq!(late.patch(&path, &sample.change).await.refusal(), (412, "stale"), "{path}");
        assert_eq!(late.put(&path, &sample.body).await.refusal(), (412, "stale"), "{path}");
        assert_eq!(late.delete(&path).await.refusal(), (412, "stale"), "{path}");
        assert_eq!(staff.with("If-None-Match", &tag).get(&path).await.status.as_u16(), 200, "{path}");

        let tag = staff.get(&path).await.header("etag").expect("an ETag").to_owned();
        staff.with("If-Match", &tag).delete(&path).await.expect(204);
    }
}

#[tokio::test]
async fn what_is_deleted_disappears_until_an_administrator_restores_it() {
    let app = TestApp::start().await;
    let (staff, admin, convenor) = (app.staff().await, app.admin().await, app.convenor().await);
    for sample in samples(&app, &convenor).await {
        let made = staff.post(sample.path, &sample.body).await;
        let (id, path) = (id_of(&made), at(sample.path, id_of(&made)));
        let restore = format!("{path}restore/");
        assert_eq!(admin.post_bare(&restore).await.refusal(), (404, "not_found"), "it is not deleted: {path}");

        staff.delete(&path).await.expect(204);
        for gone in [
            staff.get(&path).await,
            staff.delete(&path).await,
            staff.patch(&path, &sample.change).await,
            staff.put(&path, &sample.body).await,
        ] {
            assert_eq!(gone.refusal(), (404, "not_found"), "{path}");
        }
        assert!(!staff.get(sample.path).await.ids().contains(&id), "{path}");
        let with_deleted = format!("{}?include_deleted=true", sample.path);
        assert_eq!(staff.get(&with_deleted).await.refusal(), (403, "permission_denied"), "{path}");
        assert!(admin.get(&with_deleted).await.ids().contains(&id), "{path}");

        assert_eq!(staff.post_bare(&restore).await.refusal(), (403, "permission_denied"), "{path}");
        let restored = admin.post_bare(&restore).await;
        assert!(has(restored.expect(200), &sample.body), "{}", restored.body);
        assert!(staff.get(sample.path).await.ids().contains(&id), "{path}");
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn who_has_no_permission_writes_nothing() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let strangers = [app.student().await, app.parent().await, app.auditor().await];
    for sample in samples(&app, &convenor).await {
        let path = at(sample.path, id_of(&staff.post(sample.path, &sample.body).await));
        let another = sample.least();
        let mut refused = vec![];
        for stranger in strangers.iter().chain(sample.staff_only.then_some(&convenor)) {
            refused.push(stranger.post(sample.path, &another).await);
            refused.push(stranger.put(&path, &sample.body).await);
            refused.push(stranger.patch(&path, &sample.change).await);
            refused.push(stranger.delete(&path).await);
            refused.push(stranger.post_bare(&format!("{path}restore/")).await);
        }
        for reply in refused {
            assert_eq!(reply.refusal(), (403, "permission_denied"), "{path}");
        }
        let nobody = app.anonymous();
        for reply in [
            nobody.post(sample.path, &another).await,
            nobody.put(&path, &sample.body).await,
            nobody.patch(&path, &sample.change).await,
            nobody.delete(&path).await,
        ] {
            assert_eq!(reply.refusal(), (401, "not_authenticated"), "{path}");
        }
        assert!(has(staff.get(&path).await.expect(200), &sample.body), "{path}");
    }
}

#[tokio::test]
async fn a_convenor_writes_what_belongs_to_units_of_theirs() {
    let app = TestApp::start().await;
    let (convenor, colleague) = (app.convenor().await, app.convenor().await);
    for sample in samples(&app, &convenor).await.into_iter().filter(|sample| !sample.staff_only) {
        assert_eq!(colleague.post(sample.path, &sample.body).await.refusal(), (403, "permission_denied"));
        let path = at(sample.path, id_of(&convenor.post(sample.path, &sample.body).await));
        for refused in [
            colleague.put(&path, &sample.body).await,
            colleague.patch(&path, &sample.change).await,
            colleague.delete(&path).await,
        ] {
            // What is not even visible to the colleague looks absent.
            let wanted = if sample.path == UNIT_RESOURCES { 404 } else { 403 };
            assert_eq!(refused.status.as_u16(), wanted, "{path}");
        }
        convenor.patch(&path, &sample.change).await.expect(200);
        convenor.put(&path, &sample.body).await.expect(200);
        convenor.delete(&path).await.expect(204);
    }
}

#[tokio::test]
async fn a_thing_of_ones_own_unit_cannot_be_moved_to_a_foreign_one() {
    let app = TestApp::start().await;
    let convenor = app.convenor().await;
    let foreign = app.unit().await;
    for sample in samples(&app, &convenor).await.into_iter().filter(|sample| sample.body.get("unit").is_some()) {
        if sample.staff_only {
            continue;
        }
        let path = at(sample.path, id_of(&convenor.post(sample.path, &sample.body).await));
        let moved = json!({ "unit": foreign });
        assert_eq!(convenor.patch(&path, &moved).await.refusal(), (403, "permission_denied"), "{path}");
        let mut body = sample.body.clone();
        body["unit"] = json!(foreign);
        assert_eq!(convenor.put(&path, &body).await.refusal(), (403, "permission_denied"), "{path}");
        assert_eq!(convenor.post(sample.path, &body).await.refusal(), (403, "permission_denied"), "{path}");
    }
}

#[tokio::test]
async fn units_and_courses_that_do_not_exist_are_invalid() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let gone = app.unit().await;
    staff.delete(&at(UNITS, gone)).await.expect(204);
    for sample in samples(&app, &convenor).await {
        for field in ["unit", "course"].into_iter().filter(|field| sample.body.get(field).is_some()) {
            let absent = [json!(if field == "unit" { gone } else { Id(987_654) }), json!(987_654), json!("987654")];
            for id in &absent {
                let mut body = sample.body.clone();
                body[field] = id.clone();
                let refused = staff.post(sample.path, &body).await;
                assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{body}");
            }
            // Empty text counts as null, what is no id is named.
            for (wrong, says) in [(json!(""), "required"), (json!(0), "id"), (json!("x"), "not an id")] {
                let mut body = sample.body.clone();
                body[field] = wrong;
                let refused = staff.post(sample.path, &body).await;
                assert!(refused.errors(field).concat().contains(says), "{}", refused.body);
            }
        }
    }
}

#[tokio::test]
async fn a_convenor_who_names_no_unit_hears_what_is_missing() {
    let app = TestApp::start().await;
    let convenor = app.convenor().await;
    for path in [OFFERINGS, UNIT_RESOURCES] {
        for body in [json!({}), json!({ "unit": 987_654 })] {
            let refused = convenor.post(path, &body).await;
            assert!(refused.status.as_u16() == 400 && !refused.errors("unit").is_empty(), "{path}: {}", refused.body);
        }
    }
}

#[tokio::test]
async fn a_list_refuses_what_it_does_not_know_by_name() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let course_units = format!("{}units/", at(COURSES, app.course().await));
    let paths: Vec<String> = samples(&app, &convenor).await.iter().map(|sample| sample.path.to_owned()).collect();
    for path in paths.iter().chain([&course_units]) {
        for (query, name) in [
            ("colour=red", "colour"),
            ("ordering=colour", "ordering"),
            ("page_size=0", "page_size"),
            ("page_size=1001", "page_size"),
            ("cursor=bm90IG9uZQ", "cursor"),
            ("count=perhaps", "count"),
            ("updated_since=yesterday", "updated_since"),
        ] {
            let refused = staff.get(&format!("{path}?{query}")).await;
            assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [name.to_owned()].into()), "{path} {query}");
        }
    }
}

#[tokio::test]
async fn what_changed_since_a_moment_can_be_asked_for() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let mut paths = vec![];
    for sample in samples(&app, &convenor).await {
        paths.push((sample.path, id_of(&staff.post(sample.path, &sample.body).await), sample.change));
    }
    app.set_time("2026-03-02T03:00:00Z").await;
    for (path, id, change) in paths {
        let since = format!("{path}?updated_since=2026-03-02T02:30:00Z");
        assert!(staff.get(&since).await.ids().is_empty(), "{path}");
        staff.patch(&at(path, id), &change).await.expect(200);
        assert_eq!(staff.get(&since).await.ids(), [id], "{path}");
    }
}

#[tokio::test]
async fn every_write_leaves_a_row_in_the_audit_log() {
    let app = TestApp::start().await;
    let (staff, admin, convenor) = (app.staff().await, app.admin().await, app.convenor().await);
    for sample in samples(&app, &convenor).await {
        let id = id_of(&staff.post(sample.path, &sample.body).await);
        let path = at(sample.path, id);
        staff.patch(&path, &sample.change).await.expect(200);
        staff.delete(&path).await.expect(204);
        admin.post_bare(&format!("{path}restore/")).await.expect(200);
        let rows = sqlx::query!(
            "select user_id, action, details
               from audit_log
              where resource_type = $1
                and resource_id = $2
              order by id",
            sample.name,
            id.0
        );
        let rows = rows.fetch_all(&app.db).await.unwrap();
        let written: Vec<_> = rows.iter().map(|row| (row.user_id.unwrap(), row.action.as_str())).collect();
        let (by_staff, by_admin) = (staff.id.0, admin.id.0);
        let wanted = [(by_staff, "create"), (by_staff, "update"), (by_staff, "delete"), (by_admin, "restore")].to_vec();
        assert_eq!(written, wanted, "{path}");
        let (field, after) = sample.change.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&rows[1].details["changes"][field]["after"], after, "{path}");
        assert_eq!(rows[1].details["changes"].as_object().unwrap().len(), 1, "only what changed: {path}");
    }
}

#[tokio::test]
async fn a_key_makes_a_thing_once() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    for sample in samples(&app, &convenor).await {
        let keyed = staff.with("Idempotency-Key", "once");
        let first = keyed.post(sample.path, &sample.body).await;
        assert_eq!(keyed.post(sample.path, &sample.body).await.expect(201), first.expect(201), "{}", sample.path);
        let other = keyed.post(sample.path, &sample.least()).await;
        // An intake has nothing but what is required.
        let wanted = if sample.path == INTAKES { 201 } else { 422 };
        assert_eq!(other.status.as_u16(), wanted, "{}", sample.path);
    }
}
