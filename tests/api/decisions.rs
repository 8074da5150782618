//! Nobody decides on themselves, and nobody writes the facts that decide on them.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use swincms::access::Permission;
use swincms::app::routes;
use swincms::ids::Id;

use crate::support::{Person, Reply, TestApp, Upload};

const EVENTS: &str = "/api/core/events/";
const ENROLLMENTS: &str = "/api/enrollment/enrollments/";

/// A tutor: a student who works for the university. Has a seat that waits, one that is taken, an account of gold, a record
/// of attendance and an application.
struct Tutor {
    person: Person,
    pending: Id,
    enrolled: Id,
    offering: Id,
    session: Id,
    record: Id,
    gold: Id,
    profile: Id,
    application: Id,
    achievement: Id,
}

async fn number(app: &TestApp, sql: &str) -> Id {
    let row = sqlx::Executor::fetch_one(&app.db, sqlx::AssertSqlSafe(sql.to_owned())).await.unwrap();
    Id(sqlx::Row::get(&row, 0))
}

async fn tutor(app: &TestApp) -> Tutor {
    let person = app.student().await;
    let id = person.id;
    number(app, &format!("update users set is_staff = true where id = {id} returning id")).await;
    let (waiting, offering) = (app.offering(10).await, app.offering(10).await);
    let pending = app.enrollment(id, waiting, "PENDING").await;
    let enrolled = app.enrollment(id, offering, "ENROLLED").await;
    let staff = app.staff().await;
    let class = json!({ "offering": offering, "date": "2026-03-01", "start_time": "09:00", "end_time": "10:00" });
    let session = Id(staff.post("/api/core/sessions/", &class).await.expect(201)["id"].as_i64().unwrap());
    let mark = json!({ "session": session, "student": id, "status": "absent" });
    let record = Id(staff.post("/api/core/attendance/", &mark).await.expect(201)["id"].as_i64().unwrap());
    let gold = number(app, &format!("select id from gold_accounts where student_id = {id}")).await;
    let profile = number(app, &format!("select id from student_profiles where user_id = {id}")).await;
    let scholarship = number(app, "insert into scholarships (name) values ('Aid') returning id").await;
    let application = number(
        app,
        &format!(
            "insert into scholarship_applications (student_id, scholarship_id) values ({id}, {scholarship}) returning id"
        ),
    )
    .await;
    let badge = number(app, "insert into achievements (name, points_required) values ('First', 1) returning id").await;
    let achievement = number(
        app,
        &format!(
            "insert into student_achievements (student_id, achievement_id, points_at_earning) values ({id}, {badge}, 1) returning id"
        ),
    )
    .await;
    Tutor { person, pending, enrolled, offering, session, record, gold, profile, application, achievement }
}

/// The code of a refusal, or of the one row of a report.
fn code(reply: &Reply) -> String {
    let row = &reply.body["results"][0]["code"];
    row.as_str().or(reply.body["code"].as_str()).unwrap_or_default().to_owned()
}

/// Each route by which somebody decides, what its permission is for, and how a tutor would use it on themselves.
async fn own_cases(t: &Tutor) -> Vec<(&'static str, &'static str, Reply)> {
    let me = &t.person;
    let one = |base: &str, id: Id| format!("{base}{id}/");
    let pending = |what: &str| format!("{ENROLLMENTS}{}/{what}/", t.pending);
    let graded = json!({ "status": "COMPLETED", "grade": "HD", "marks": "100" });
    let award = json!({ "amount": 100_000, "reason": "Well done" });
    let (attendance, profiles) = ("/api/core/attendance/", "/api/users/student-profiles/");
    let mark = json!({ "session": t.session, "student": me.id, "status": "present" });
    let standing = json!({ "user": me.id, "student_id": "S-1", "academic_status": "graduated" });
    let gold = |what: &str| format!("/api/social/social-gold/{}/{what}/", t.gold);
    let roll = json!({ "records": [{ "student": me.id, "status": "present" }] });
    vec![
        ("POST", "/api/enrollment/enrollments/{id}/approve/", me.post_bare(&pending("approve")).await),
        ("POST", "/api/enrollment/enrollments/{id}/reject/", me.post_bare(&pending("reject")).await),
        (
            "POST",
            "/api/enrollment/enrollments/bulk-approve/",
            me.post(&format!("{ENROLLMENTS}bulk-approve/"), &json!({ "ids": [t.pending] })).await,
        ),
        (
            "POST",
            "/api/enrollment/enrollments/bulk-grade/",
            me.post(&format!("{ENROLLMENTS}bulk-grade/"), &json!({ "rows": [{ "id": t.enrolled, "grade": "HD" }] }))
                .await,
        ),
        ("PATCH", "/api/enrollment/enrollments/{id}/", me.patch(&one(ENROLLMENTS, t.enrolled), &graded).await),
        ("PUT", "/api/enrollment/enrollments/{id}/", me.put(&one(ENROLLMENTS, t.enrolled), &graded).await),
        ("POST", "/api/core/attendance/", me.post(attendance, &mark).await),
        (
            "PATCH",
            "/api/core/attendance/{id}/",
            me.patch(&one(attendance, t.record), &json!({ "status": "present" })).await,
        ),
        ("PUT", "/api/core/attendance/{id}/", me.put(&one(attendance, t.record), &mark).await),
        ("DELETE", "/api/core/attendance/{id}/", me.delete(&one(attendance, t.record)).await),
        (
            "POST",
            "/api/core/sessions/{id}/attendance/",
            me.post(&format!("/api/core/sessions/{}/attendance/", t.session), &roll).await,
        ),
        ("POST", "/api/social/social-gold/{id}/award/", me.post(&gold("award"), &award).await),
        ("POST", "/api/social/social-gold/{id}/deduct/", me.post(&gold("deduct"), &award).await),
        (
            "POST",
            "/api/social/transactions/award/",
            me.post(
                "/api/social/transactions/award/",
                &json!({ "student_id": me.id, "amount": 100_000, "reason": "Well done" }),
            )
            .await,
        ),
        ("POST", "/api/users/student-profiles/", me.post(profiles, &standing).await),
        (
            "PATCH",
            "/api/users/student-profiles/{id}/",
            me.patch(&one(profiles, t.profile), &json!({ "academic_status": "graduated" })).await,
        ),
        ("PUT", "/api/users/student-profiles/{id}/", me.put(&one(profiles, t.profile), &standing).await),
        ("DELETE", "/api/users/student-profiles/{id}/", me.delete(&one(profiles, t.profile)).await),
        (
            "POST",
            "/api/users/scholarship-applications/{id}/review/",
            me.post(
                &format!("/api/users/scholarship-applications/{}/review/", t.application),
                &json!({ "status": "approved" }),
            )
            .await,
        ),
        (
            "DELETE",
            "/api/social/student-achievements/{id}/",
            me.delete(&one("/api/social/student-achievements/", t.achievement)).await,
        ),
    ]
}

/// Those that decide on nobody in particular: what achievements there are.
const ON_NOBODY: &[&str] =
    &["/api/social/achievements/", "/api/social/achievements/{id}/", "/api/social/achievements/{id}/badge_image/"];

#[tokio::test]
async fn nobody_decides_on_themselves() {
    let app = TestApp::start().await;
    let tutor = tutor(&app).await;
    let mut seen = BTreeSet::new();
    for (method, path, reply) in own_cases(&tutor).await {
        assert_eq!(code(&reply), "own_case", "{method} {path}: {} {}", reply.status, reply.body);
        assert!(reply.status == 403 || reply.status == 200, "{method} {path}: {}", reply.status);
        seen.insert((method.to_owned(), path.to_owned()));
    }
    // By a file the own row is refused, and with it all.
    let file = format!("student,amount,reason\n{},50,Well done\n", tutor.person.email);
    let reply = tutor.person.upload("/api/social/transactions/import-csv/", Upload::of("file", "a.csv", file)).await;
    assert_eq!(reply.expect(400)["row_errors"][0]["error"], "You cannot award gold to yourself; ask a colleague.");
    seen.insert(("POST".to_owned(), "/api/social/transactions/import-csv/".to_owned()));

    // Nothing of it was done.
    let held = sqlx::query!(
        "select status, grade from enrollments where id in ($1, $2) order by id",
        tutor.pending.0,
        tutor.enrolled.0
    );
    let held: Vec<(String, String)> =
        held.fetch_all(&app.db).await.unwrap().into_iter().map(|row| (row.status, row.grade)).collect();
    assert_eq!(held, [("PENDING".into(), String::new()), ("ENROLLED".into(), String::new())]);
    let balance = sqlx::query_scalar!("select current_balance from gold_accounts where id = $1", tutor.gold.0);
    assert_eq!(balance.fetch_one(&app.db).await.unwrap(), 0);

    // Every route that asks for such a permission is one of these, or decides on nobody.
    let deciding: BTreeSet<&str> = Permission::DECIDING.iter().map(|permission| permission.code()).collect();
    for route in routes().lines().iter().filter(|route| deciding.contains(route.access) && route.method != Method::GET)
    {
        let is_seen = seen.contains(&(route.method.to_string(), route.path.clone()));
        assert!(is_seen || ON_NOBODY.contains(&route.path.as_str()), "{} {}: add it here", route.method, route.path);
    }
    // A colleague may.
    let colleague = app.staff().await;
    colleague.post_bare(&format!("{ENROLLMENTS}{}/approve/", tutor.pending)).await.expect(200);
}

#[tokio::test]
async fn for_themselves_staff_are_students_like_others() {
    let app = TestApp::start().await;
    let tutor = tutor(&app).await;
    // Before the window opens: staff enrol others, and nobody themselves.
    let (offering, other) = (app.offering(10).await, app.student().await);
    number(&app, &format!("update offerings set enrollment_start = '2026-05-01', enrollment_end = '2026-06-01' where id = {offering} returning id")).await;
    let wanted = |student: Id| json!({ "offering": offering, "student": student });
    let reply = tutor.person.post(ENROLLMENTS, &wanted(tutor.person.id)).await;
    assert_eq!((reply.status.as_u16(), reply.body["code"].as_str()), (400, Some("window_not_open")), "{}", reply.body);
    tutor.person.post(ENROLLMENTS, &wanted(other.id)).await.expect(201);
    // After the deadline: staff withdraw others, and nobody themselves.
    number(
        &app,
        &format!("update offerings set withdraw_until = '2026-01-01' where id = {} returning id", tutor.offering),
    )
    .await;
    let seat = app.enrollment(other.id, tutor.offering, "ENROLLED").await;
    let own = tutor.person.post_bare(&format!("{ENROLLMENTS}{}/withdraw/", tutor.enrolled)).await;
    assert_eq!(own.status, 409, "{}", own.body);
    tutor.person.post_bare(&format!("{ENROLLMENTS}{seat}/withdraw/")).await.expect(200);
}

#[tokio::test]
async fn a_birth_date_on_record_is_not_ones_own_to_change() {
    let app = TestApp::start().await;
    let (student, admin) = (app.student().await, app.admin().await);
    let own = "/api/users/users/update_profile/";
    let path = format!("/api/users/users/{}/", student.id);
    student.patch(own, &json!({ "date_of_birth": "2011-05-05" })).await.expect(200);
    for (method, path) in [(Method::PATCH, own), (Method::PUT, own), (Method::PATCH, &path), (Method::PUT, &path)] {
        for day in [json!("1998-01-01"), json!(null)] {
            let body = json!({ "date_of_birth": day, "bio": "x" }).to_string();
            let reply = student.send(method.clone(), path, "application/json", body).await;
            assert_eq!(reply.status, 400, "{method} {path} {day}: {}", reply.body);
            assert!(reply.errors("date_of_birth")[0].contains("student office"), "{}", reply.body);
        }
    }
    // The app sends the whole profile back as it was, and whoever leaves the day out does not mean it.
    student.patch(own, &json!({ "date_of_birth": "2011-05-05", "bio": "Hi" })).await.expect(200);
    student.put(&path, &json!({ "first_name": "Ann" })).await.expect(200);
    assert_eq!(student.get("/api/users/users/me/").await.body["date_of_birth"], "2011-05-05");
    // A minor cannot get round what an administrator has granted.
    let parent = app.parent().await;
    let link = json!({ "user": parent.id, "students": [student.id], "relationship": "Mother" });
    let link = admin.post("/api/users/guardians/", &link).await.expect(201)["id"].clone();
    let grants = format!("/api/users/guardians/{link}/grants/");
    let grant = json!({ "student": student.id, "scopes": ["attendance"] });
    let grant = admin.post(&grants, &grant).await.expect(201)["id"].clone();
    assert_eq!(student.delete(&format!("{grants}{grant}/")).await.status, 403);
    // Whoever manages accounts corrects it.
    admin.patch(&path, &json!({ "date_of_birth": "2010-05-05" })).await.expect(200);
    assert_eq!(student.get("/api/users/users/me/").await.body["date_of_birth"], "2010-05-05");
}

#[tokio::test]
async fn documents_have_the_official_name_whatever_people_call_themselves() {
    let app = TestApp::start().await;
    let (student, admin) = (app.student().await, app.admin().await);
    let official = format!("{} {}", student.first_name, student.last_name);
    let own = json!({ "first_name": "Donald", "last_name": "Duck" });
    student.patch("/api/users/users/update_profile/", &own).await.expect(200);
    let me = student.get("/api/users/users/me/").await;
    assert_eq!(
        (&me.body["first_name"], &me.body["official_first_name"]),
        (&json!("Donald"), &json!(student.first_name))
    );
    let export = "/api/enrollment/transcripts/export/?format=json";
    let name = async || student.get(export).await.body.to_string();
    assert!(name().await.contains(&official) && !name().await.contains("Duck"), "{}", name().await);
    // A correction by whoever manages accounts is one of the official name.
    let path = format!("/api/users/users/{}/", student.id);
    admin.patch(&path, &json!({ "first_name": "Minh Anh", "last_name": "Nguyễn" })).await.expect(200);
    assert!(name().await.contains("Minh Anh Nguyễn"), "{}", name().await);
}

#[tokio::test]
async fn who_an_event_is_shown_to_is_decided_by_those_who_may_delete_it() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let event = json!({ "title": "For staff", "start": "2026-04-01T09:00:00Z", "visibility": "staff" });
    let id = staff.post(EVENTS, &event).await.expect(201)["id"].clone();
    let path = format!("{EVENTS}{id}/");
    convenor.patch(&path, &json!({ "description": "With tea" })).await.expect(200);
    for change in [
        json!({ "visibility": "public" }),
        json!({ "visibility": "unit" }),
        json!({ "related_unit": unit }),
        json!({ "related_unit": unit, "visibility": "public" }),
        json!({ "target_all_students": true }),
        json!({ "target_students": [app.student().await.id] }),
    ] {
        let reply = convenor.patch(&path, &change).await;
        assert_eq!(reply.refusal(), (403, "permission_denied"), "{change}: {}", reply.body);
    }
    let whole = json!({ "title": "For all", "start": "2026-04-01T09:00:00Z" });
    assert_eq!(convenor.put(&path, &whole).await.status, 403);
    let content = json!({ "generated_content": { "social_post": "Come" } });
    convenor.put(&format!("{path}update-content/"), &content).await.expect(200);
    let confirm = convenor.post(&format!("{path}confirm-content/"), &json!({ "visibility": "public" })).await;
    assert_eq!(confirm.refusal(), (403, "permission_denied"), "{}", confirm.body);
    assert_eq!(convenor.delete(&path).await.status, 403);
    let anonymous = app.anonymous().get(&path).await;
    assert_eq!(anonymous.status, 404);

    // Own events, and those of own units, as before.
    let mine = convenor.post(EVENTS, &event).await.expect(201)["id"].clone();
    convenor.patch(&format!("{EVENTS}{mine}/"), &json!({ "visibility": "public" })).await.expect(200);
    staff.patch(&path, &json!({ "related_unit": unit })).await.expect(200);
    convenor.patch(&path, &json!({ "visibility": "unit" })).await.expect(200);
    // But not away from them into a state that they could not have made.
    let other = app.unit().await;
    assert_eq!(convenor.patch(&path, &json!({ "related_unit": other })).await.status, 403);
}

#[tokio::test]
async fn list_summary_and_export_of_a_transcript_have_the_same_rows_for_everybody() {
    let app = TestApp::start().await;
    let (student, staff) = (app.student().await, app.staff().await);
    let (convenor, waiting) = (app.convenor().await, app.convenor().await);
    let (own, another) = (app.unit_of(convenor.id).await, app.unit().await);
    for (unit, grade, marks) in [(own, "HD", "90"), (another, "P", "55")] {
        let offering = app.offering_of(unit, 10).await;
        let seat = app.enrollment(student.id, offering, "ENROLLED").await;
        let result = json!({ "status": "COMPLETED", "grade": grade, "marks": marks });
        staff.patch(&format!("{ENROLLMENTS}{seat}/"), &result).await.expect(200);
    }
    // Who merely asks for a seat opens nothing.
    let asked_for = app.offering_of(app.unit_of(waiting.id).await, 10).await;
    app.enrollment(student.id, asked_for, "PENDING").await;

    let base = "/api/enrollment/transcripts/";
    let grades = |rows: &Value| -> Vec<String> {
        let mut found: Vec<String> =
            rows.as_array().unwrap().iter().map(|row| row["grade"].as_str().unwrap().to_owned()).collect();
        found.sort();
        found
    };
    for (person, rows, gpa) in [
        (&student, vec!["HD", "P"], json!(2.5)),
        (&staff, vec!["HD", "P"], json!(2.5)),
        (&app.auditor().await, vec!["HD", "P"], json!(2.5)),
        (&convenor, vec!["HD"], json!(4.0)),
    ] {
        let ask = async |what: &str| {
            let mark = if what.contains('?') { '&' } else { '?' };
            person.get(&format!("{base}{what}{mark}student={}", student.id)).await
        };
        let who = &person.user_type;
        assert_eq!(grades(ask("").await.expect(200)), rows, "the list of {who}");
        let summary = ask("summary/?explain=true").await;
        assert_eq!(grades(&summary.expect(200)["rows"]), rows, "the summary of {who}");
        assert_eq!(summary.body["gpa"], gpa, "{who}");
        let export = ask("export/?format=json").await;
        let text = export.expect(200).to_string();
        for (grade, code) in [("HD", "\"HD\""), ("P", "\"P\"")] {
            assert_eq!(text.contains(code), rows.contains(&grade), "the export of {who}: {text}");
        }
    }
    for what in ["summary/", "export/"] {
        assert_eq!(waiting.get(&format!("{base}{what}?student={}", student.id)).await.status, 404, "{what}");
    }
}
