//! Records that must not be wrong: what gives credit, what is fixed, what is looked at again, and what can be taken back.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ENROLLMENTS, everything, step, taken, told};
use crate::academic::{at, run};
use crate::support::{Person, TestApp};

async fn summary(by: &Person, student: Id) -> Value {
    by.get(&format!("/api/enrollment/transcripts/summary/?student={student}")).await.expect(200).clone()
}

/// Another offering of the same unit.
async fn again(app: &TestApp, unit: Id, year: i32) -> Id {
    let offering = app.offering_of(unit, 0).await;
    run(&app.db, format!("update offerings set year = {year} where id = {offering}")).await;
    offering
}

#[tokio::test]
async fn a_unit_gives_credit_once_whatever_its_repeats() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let (unit, other) = (app.unit().await, app.unit().await);
    let first = app.enrollment(ann.id, again(&app, unit, 2024).await, "ENROLLED").await;
    let second = app.enrollment(ann.id, again(&app, unit, 2025).await, "ENROLLED").await;
    let beside = app.enrollment(ann.id, again(&app, other, 2025).await, "ENROLLED").await;
    for (id, grade) in [(first, "N"), (second, "HD"), (beside, "P")] {
        staff.patch(&at(ENROLLMENTS, id), &json!({ "grade": grade })).await.expect(200);
    }
    let before = summary(&staff, ann.id).await;
    assert_eq!((&before["total_units_completed"], &before["total_credit_points"]), (&json!(2), &json!(25.0)));
    // The appeal against the failure is upheld.
    let upheld = json!({ "status": "COMPLETED", "grade": "P", "marks": "50", "reason": "appeal upheld" });
    staff.patch(&at(ENROLLMENTS, first), &upheld).await.expect(200);
    let after = summary(&staff, ann.id).await;
    assert_eq!((&after["total_units_completed"], &after["total_credit_points"]), (&json!(2), &json!(25.0)));
    assert_ne!(after["gpa"], before["gpa"], "each attempt counts for the average");
    app.check_invariants().await;
}

#[tokio::test]
async fn an_upheld_appeal_names_the_repeat_that_is_open() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    let unit = app.unit().await;
    let failed = app.enrollment(ann.id, again(&app, unit, 2024).await, "ENROLLED").await;
    let path = at(ENROLLMENTS, failed);
    let first = staff.patch(&path, &json!({ "grade": "N" })).await;
    assert_eq!(first.expect(200).get("open_repeats"), None, "nothing is completed");
    let offering = again(&app, unit, 2025).await;
    let repeat = app.enrollment(ann.id, offering, "ENROLLED").await;

    let upheld = staff.patch(&path, &json!({ "grade": "P", "reason": "appeal upheld" })).await;
    let named = upheld.expect(200)["open_repeats"].clone();
    assert_eq!(named.as_array().map(Vec::len), Some(1), "{named}");
    for (member, value) in [
        ("enrollment", json!(repeat)),
        ("offering", json!(offering)),
        ("year", json!(2025)),
        ("status", json!("ENROLLED")),
    ] {
        assert_eq!(named[0][member], value, "{named}");
    }
    let read = staff.get(&path).await;
    assert_eq!(read.expect(200).get("open_repeats"), None, "of the change alone");
    assert_eq!(upheld.headers["etag"], read.headers["etag"], "the tag is that of the enrolment");

    let rows = json!({ "rows": [{ "id": failed, "grade": "C", "reason": "and again" }] });
    let many = staff.post(&format!("{ENROLLMENTS}bulk-grade/"), &rows).await;
    assert_eq!(many.expect(200)["results"][0]["open_repeats"][0]["enrollment"], json!(repeat));

    staff.post_bare(&step(repeat, "withdraw")).await.expect(200);
    let rows = json!({ "rows": [{ "id": failed, "grade": "D", "reason": "the last time" }] });
    let many = staff.post(&format!("{ENROLLMENTS}bulk-grade/"), &rows).await;
    assert_eq!(many.expect(200)["results"][0].get("open_repeats"), None);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_result_that_was_deleted_is_not_replaced_without_a_reason() {
    let app = TestApp::start().await;
    let (admin, ann) = (app.admin().await, app.student().await);
    let enrol = async |offering: Id| {
        run(&app.db, format!("update offerings set requires_approval = false where id = {offering}")).await;
        let reply = admin.post(ENROLLMENTS, &json!({ "offering": offering, "student": ann.id })).await;
        at(ENROLLMENTS, reply.expect(201)["id"].to_string().parse::<i64>().map(Id).expect("an id"))
    };
    let offering = app.offering(0).await;
    let path = enrol(offering).await;
    admin.patch(&path, &json!({ "grade": "N" })).await.expect(200);
    admin.delete(&path).await.expect(204);
    assert_eq!(enrol(offering).await, path, "the same row");
    for by_many in [false, true] {
        let reason = if by_many {
            let rows = json!({ "rows": [{ "offering": offering, "student": ann.id, "grade": "HD" }] });
            let reply = admin.post(&format!("{ENROLLMENTS}bulk-grade/"), &rows).await;
            reply.expect(200)["results"][0]["errors"]["reason"][0].clone()
        } else {
            let reply = admin.patch(&path, &json!({ "grade": "HD" })).await;
            json!(reply.errors("reason")[0])
        };
        assert_eq!(reason, json!("This enrolment had a result when it was deleted: say why it gets another."));
    }
    admin.patch(&path, &json!({ "grade": "HD", "reason": "the file of another class" })).await.expect(200);

    // Whoever takes a result back has said why.
    let offering = app.offering(0).await;
    let path = enrol(offering).await;
    admin.patch(&path, &json!({ "grade": "N" })).await.expect(200);
    admin.patch(&path, &json!({ "status": "ENROLLED", "grade": "", "reason": "wrong row" })).await.expect(200);
    admin.delete(&path).await.expect(204);
    enrol(offering).await;
    admin.patch(&path, &json!({ "grade": "HD" })).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn an_intake_that_a_typing_error_made_goes_with_it() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let intakes = "/api/academic/intakes/";
    let listed = async || staff.get(&format!("{intakes}?year=2062")).await.ids();
    let offering = app.offering(0).await;
    let path = format!("/api/academic/offerings/{offering}/");
    staff.patch(&path, &json!({ "year": 2062 })).await.expect(200);
    let made = listed().await;
    assert_eq!(made.len(), 1);
    staff.patch(&path, &json!({ "year": 2026 })).await.expect(200);
    assert_eq!(listed().await, Vec::<Id>::new());
    let audited = sqlx::query_scalar!(
        r#"select count(*) as "count!" from audit_log
            where resource_type = 'intake' and action = 'delete' and user_id = $1"#,
        staff.id.0
    );
    assert_eq!(audited.fetch_one(&app.db).await.unwrap(), 1);

    // One that somebody made for itself stays, and one in which another offering is.
    let own = staff.post(intakes, &json!({ "year": 2062, "semester": "S2" })).await.expect(201)["id"].clone();
    staff.patch(&path, &json!({ "year": 2062, "semester": "S2" })).await.expect(200);
    staff.patch(&path, &json!({ "year": 2026, "semester": "S1" })).await.expect(200);
    assert_eq!(json!(listed().await), json!([own]));
    let other = format!("/api/academic/offerings/{}/", app.offering(0).await);
    for path in [&path, &other] {
        staff.patch(path, &json!({ "year": 2062, "semester": "SS" })).await.expect(200);
    }
    staff.patch(&path, &json!({ "year": 2026, "semester": "S1" })).await.expect(200);
    assert_eq!(listed().await.len(), 2);
    staff.delete(&other).await.expect(204);
    assert_eq!(listed().await.len(), 2, "an offering that is deleted may come back to it");
    app.check_invariants().await;
}

#[tokio::test]
async fn an_offering_that_is_in_use_stays_in_its_term() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    for (status, with_class) in
        [("ENROLLED", false), ("COMPLETED", false), ("WITHDRAWN", false), ("PENDING", false), ("", true)]
    {
        let offering = app.offering(0).await;
        let path = format!("/api/academic/offerings/{offering}/");
        staff.patch(&path, &json!({ "year": 2027 })).await.expect(200);
        if with_class {
            let class = json!({ "offering": offering, "date": "2027-03-02", "start_time": "09:00" });
            staff.post("/api/core/sessions/", &class).await.expect(201);
        } else {
            app.enrollment(ann.id, offering, status).await;
        }
        for (field, value) in [("year", json!(2031)), ("semester", json!("SS"))] {
            let reply = staff.patch(&path, &json!({ field: value })).await;
            assert_eq!(reply.refusal(), (409, "offering_has_students"), "{status} {field}");
            assert_eq!(reply.errors(field).len(), 1, "{}", reply.body);
        }
        staff.patch(&path, &json!({ "year": 2027, "semester": "S1", "capacity": 50 })).await.expect(200);
    }
    let intakes = sqlx::query_scalar!(r#"select count(*) as "n!" from intakes where year = 2031"#);
    assert_eq!(intakes.fetch_one(&app.db).await.unwrap(), 0, "a refusal makes no intake");
}

#[tokio::test]
async fn who_is_approved_still_has_to_fit() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let convenor = app.convenor().await;
    let (unit, required) = (app.unit_of(convenor.id).await, app.unit().await);
    let ask = async || {
        let student = app.student().await;
        let passed = app.offering_of(required, 0).await;
        run(&app.db, format!("update offerings set year = 2000 + id where id = {passed}")).await;
        let passed = app.enrollment(student.id, passed, "COMPLETED").await;
        let offering = app.offering_of(unit, 0).await;
        run(&app.db, format!("update offerings set year = 2000 + id where id = {offering}")).await;
        let id = app.enrollment(student.id, offering, "PENDING").await;
        (student, passed, offering, id)
    };
    run(&app.db, format!("insert into unit_prerequisites (unit_id, prerequisite_id) values ({unit}, {required})"))
        .await;
    let prerequisite = "prerequisite_missing";
    for (spoil, code) in [("result", prerequisite), ("offering", "offering_inactive"), ("account", "not_a_student")] {
        let (student, passed, offering, id) = ask().await;
        let sql = match spoil {
            "result" => format!("update enrollments set status = 'FAILED', grade = 'N' where id = {passed}"),
            "offering" => format!("update offerings set is_active = false where id = {offering}"),
            _ => format!("update users set is_active = false where id = {}", student.id),
        };
        run(&app.db, sql).await;
        let before = everything(&app).await;
        for reply in [
            staff.post(&step(id, "approve"), &json!({ "notes": "ok" })).await,
            staff.patch(&at(ENROLLMENTS, id), &json!({ "status": "ENROLLED" })).await,
        ] {
            assert_eq!(reply.refusal(), (409, code), "{spoil}");
            assert_eq!(reply.body["reasons"][0]["code"], code, "{}", reply.body);
        }
        let many = staff.post(&format!("{ENROLLMENTS}bulk-approve/"), &json!({ "ids": [id] })).await;
        assert_eq!(
            (&many.expect(200)["results"][0]["ok"], &many.body["results"][0]["code"]),
            (&json!(false), &json!(code))
        );
        assert_eq!(everything(&app).await, before, "{spoil}");

        // Against the rules, and with a word why; but nobody is enrolled whose account is not in use.
        let silent = staff.post(&step(id, "approve"), &json!({ "override": true })).await;
        assert_eq!((silent.status.as_u16(), silent.errors("notes").len()), (400, 1));
        let theirs = convenor.post(&step(id, "approve"), &json!({ "override": true, "notes": "mine" })).await;
        assert_eq!(theirs.refusal(), (403, "permission_denied"));
        let reply = staff.post(&step(id, "approve"), &json!({ "override": true, "notes": "The dean agreed" })).await;
        assert_eq!(reply.status.as_u16(), if spoil == "account" { 409 } else { 200 }, "{spoil}: {}", reply.body);
    }
    let (.., id) = ask().await;
    convenor.post_bare(&step(id, "approve")).await.expect(200);
}

#[tokio::test]
async fn requests_end_with_the_account_and_free_their_seats() {
    let app = TestApp::start().await;
    let (admin, offering) = (app.admin().await, app.offering(5).await);
    for way in ["delete", "patch", "erase"] {
        let student = app.student().await;
        let pending = app.enrollment(student.id, offering, "PENDING").await;
        let sits = app.enrollment(student.id, app.offering(5).await, "ENROLLED").await;
        let seats = taken(&app, offering).await;
        let path = format!("/api/users/users/{}/", student.id);
        match way {
            "delete" => admin.delete(&path).await.expect(204).clone(),
            "erase" => admin.post_bare(&format!("{path}anonymise/")).await.expect(200).clone(),
            _ => admin.patch(&path, &json!({ "is_active": false })).await.expect(200).clone(),
        };
        let shown = async |id: Id| admin.get(&at(ENROLLMENTS, id)).await.body["status"].clone();
        assert_eq!((shown(pending).await, shown(sits).await), (json!("WITHDRAWN"), json!("ENROLLED")), "{way}");
        assert_eq!(taken(&app, offering).await, seats - 1);
        let history = admin.get(&step(pending, "history")).await.expect(200).clone();
        let says_why = history.to_string().contains("The account was deactivated.");
        assert_eq!(says_why, way != "erase", "{history}");
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn granted_seats_of_a_deactivated_account_go_with_it_or_staff_are_told_of_them() {
    let app = TestApp::start().await;
    let (admin, staff) = (app.admin().await, app.staff().await);
    let (unit, other) = (app.unit().await, app.offering(5).await);
    let offering = app.offering_of(unit, 5).await;
    let code =
        staff.get(&format!("/api/academic/units/{unit}/")).await.expect(200)["code"].as_str().unwrap().to_owned();
    let (stays, goes) = (app.student().await, app.student().await);
    for student in [&stays, &goes] {
        app.enrollment(student.id, offering, "ENROLLED").await;
        app.enrollment(student.id, other, "COMPLETED").await;
        run(&app.db, format!("update student_profiles set student_id = 'N{0}' where user_id = {0}", student.id)).await;
    }
    admin.delete(&format!("/api/users/users/{}/", stays.id)).await.expect(204);
    let told = staff.get("/api/core/notifications/").await.expect(200)[0].clone();
    let says =
        format!("The account of student N{} was deactivated, and its seats stay taken: {code} 2026 S1.", stays.id);
    assert_eq!((&told["verb"], &told["description"]), (&json!("Seats of a deactivated account"), &json!(says)));
    assert_eq!(taken(&app, offering).await, 2);
    let list = staff.get(&format!("/api/academic/offerings/{offering}/students/")).await;
    let active: Vec<_> = list.expect(200).as_array().unwrap().iter().map(|row| row["is_active"].clone()).collect();
    assert_eq!(active.iter().filter(|is| **is == json!(false)).count(), 1);

    let wrong = admin.delete(&format!("/api/users/users/{}/?withdraw=perhaps", goes.id)).await;
    assert_eq!(wrong.errors("withdraw"), ["`true` or `false` is expected."]);
    admin.delete(&format!("/api/users/users/{}/?withdraw=true", goes.id)).await.expect(204);
    assert_eq!((taken(&app, offering).await, taken(&app, other).await), (1, 2), "results stay");
    assert_eq!(
        staff.get("/api/core/notifications/").await.expect(200).as_array().unwrap().len(),
        1,
        "nothing to decide"
    );
    app.check_invariants().await;
}

#[tokio::test]
async fn staff_take_results_back_with_a_reason_one_and_many() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let (unit, students) = (app.unit_of(convenor.id).await, [app.student().await, app.student().await]);
    let offering = again(&app, unit, 2025).await;
    let mut ids = Vec::new();
    for student in &students {
        ids.push(app.enrollment(student.id, offering, "ENROLLED").await);
    }
    let graded = || ids.iter().map(|id| json!({ "id": id, "grade": "HD", "marks": "91" })).collect::<Vec<_>>();
    let bulk = format!("{ENROLLMENTS}bulk-grade/");
    let before = summary(&staff, students[0].id).await;
    assert_eq!(staff.post(&bulk, &json!({ "rows": graded() })).await.expect(200)["refused_count"], 0);
    let recorded = told(&app).await;
    assert_eq!(recorded.as_array().unwrap().iter().filter(|row| row[2] == "Result recorded").count(), 2, "{recorded}");
    assert!(!recorded.to_string().contains("HD"), "a notice does not say the grade");

    let path = at(ENROLLMENTS, ids[0]);
    let silent = staff.patch(&path, &json!({ "status": "ENROLLED" })).await;
    assert_eq!((silent.status.as_u16(), silent.errors("reason").len()), (400, 1));
    let back = json!({ "status": "ENROLLED", "grade": "", "marks": null, "reason": "wrong row" });
    assert_eq!(convenor.patch(&path, &back).await.refusal(), (409, "illegal_step"));
    let rows: Vec<Value> =
        ids.iter().map(|id| json!({ "id": id, "status": "ENROLLED", "reason": "from the wrong file" })).collect();
    assert_eq!(staff.post(&bulk, &json!({ "rows": rows })).await.expect(200)["refused_count"], 0);
    for (id, student) in ids.iter().zip(&students) {
        let shown = staff.get(&at(ENROLLMENTS, *id)).await.expect(200).clone();
        let found = (&shown["status"], &shown["grade"], &shown["marks"], &shown["completion_date"]);
        assert_eq!(found, (&json!("ENROLLED"), &json!(""), &Value::Null, &Value::Null));
        assert_eq!(summary(&staff, student.id).await, before);
        let history = staff.get(&step(*id, "history")).await.body.to_string();
        assert!(history.contains("from the wrong file") && history.contains("HD"), "{history}");
    }
    assert_eq!(taken(&app, offering).await, 2);

    // Of two rows in a unit only one is open at a time.
    staff.post(&bulk, &json!({ "rows": graded() })).await.expect(200);
    let repeat = app.offering_of(unit, 5).await;
    let open = app.enrollment(students[0].id, repeat, "ENROLLED").await;
    let reply = staff.patch(&path, &back).await;
    assert_eq!(reply.refusal(), (409, "already_in_unit"), "{}", reply.body);
    staff.post_bare(&step(open, "withdraw")).await.expect(200);

    // The student is let go without a result.
    let reply = staff.patch(&path, &json!({ "status": "WITHDRAWN", "reason": "Special circumstances" })).await;
    assert_eq!((&reply.expect(200)["status"], &reply.body["grade"]), (&json!("WITHDRAWN"), &json!("")));
    assert_eq!((taken(&app, offering).await, summary(&staff, students[0].id).await), (1, before));
    assert!(told(&app).await.to_string().contains("Result taken back"));
    app.check_invariants().await;
}

#[tokio::test]
async fn a_grade_is_a_result_whichever_call_brings_it() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    for (grade, status) in [("N", "FAILED"), ("C", "COMPLETED")] {
        let id = app.enrollment(ann.id, app.offering(0).await, "ENROLLED").await;
        let reply = staff.patch(&at(ENROLLMENTS, id), &json!({ "grade": grade, "marks": "31" })).await;
        assert_eq!(reply.expect(200)["status"], status);
        let rows = staff.get(&format!("/api/enrollment/transcripts/?enrollment={id}")).await;
        assert!(rows.status == 400 || !rows.body.as_array().unwrap().is_empty());
        assert_eq!(ann.post_bare(&step(id, "withdraw")).await.refusal().0, 409);
    }
    let id = app.enrollment(ann.id, app.offering(0).await, "ENROLLED").await;
    for body in
        [json!({ "status": "ENROLLED", "grade": "N" }), json!({ "status": "ENROLLED", "grade": "HD", "marks": 90 })]
    {
        for reply in [staff.patch(&at(ENROLLMENTS, id), &body).await, staff.put(&at(ENROLLMENTS, id), &body).await] {
            assert_eq!((reply.status.as_u16(), reply.errors("grade").len()), (400, 1), "{}", reply.body);
        }
    }
    // Grades that stand without a result are of earlier releases: their students do not withdraw from them.
    run(&app.db, format!("update enrollments set grade = 'N', marks = 31 where id = {id}")).await;
    assert_eq!(ann.post_bare(&step(id, "withdraw")).await.refusal(), (409, "result_given"));
    staff.post_bare(&step(id, "withdraw")).await.expect(200);
}

#[tokio::test]
async fn why_a_seat_was_given_back_is_kept_and_told() {
    let app = TestApp::start().await;
    let (staff, ann) = (app.staff().await, app.student().await);
    for member in ["reason", "notes"] {
        let id = app.enrollment(ann.id, app.offering(0).await, "ENROLLED").await;
        staff.post(&step(id, "withdraw"), &json!({ member: "medical" })).await.expect(200);
        let history = staff.get(&step(id, "history")).await.expect(200).clone();
        assert!(history.as_array().unwrap().iter().any(|row| row["reason"] == "medical"), "{history}");
        assert!(told(&app).await.to_string().contains(": medical"));
        let long = staff.post(&step(id, "withdraw"), &json!({ member: "x".repeat(2001) })).await;
        assert!(long.status.is_client_error());
    }
}

#[tokio::test]
async fn what_is_done_in_the_small_hours_is_of_that_day() {
    let app = TestApp::start().await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    // Ten to seven in the morning of New Year's Day, where the campus is.
    app.set_time("2026-12-31T23:50:00Z").await;
    let (admin, staff) = (admin.new_session(&app).await, staff.new_session(&app).await);
    let day = "2027-01-01";
    let ann = app.student().await;
    let passed = app.enrollment(ann.id, app.offering(0).await, "ENROLLED").await;
    let reply = staff.patch(&at(ENROLLMENTS, passed), &json!({ "grade": "P" })).await;
    assert_eq!(reply.expect(200)["completion_date"], day);
    let left = app.enrollment(ann.id, app.offering(0).await, "ENROLLED").await;
    staff.post_bare(&step(left, "withdraw")).await.expect(200);
    assert_eq!(staff.get(&at(ENROLLMENTS, left)).await.body["withdrawn_date"], day);
    let new = json!({
        "email": "n@example.edu", "username": "n", "password": "harbour-Quilt-77", "confirm_password": "harbour-Quilt-77",
    });
    let id = admin.post("/api/users/users/", &new).await.expect(201)["id"].clone();
    let profile = admin.get(&format!("/api/users/student-profiles/?user={id}")).await;
    assert_eq!(profile.expect(200)[0]["enrollment_date"], day);
    let scholarship = staff.post("/api/users/scholarships/", &json!({ "name": "Aid" })).await.expect(201)["id"].clone();
    let applies = ann
        .new_session(&app)
        .await
        .post("/api/users/scholarship-applications/", &json!({ "scholarship": scholarship }))
        .await;
    assert_eq!(applies.expect(201)["application_date"], day);
}

#[tokio::test]
async fn rows_of_one_call_do_not_go_round_the_rules_together() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    let (unit, other) = (app.unit().await, app.unit().await);
    let exclude = format!("insert into unit_anti_requisites (lower_unit_id, upper_unit_id) values ({unit}, {other})");
    run(&app.db, exclude).await;
    let first = again(&app, unit, 2024).await;
    let twice = [app.enrollment(ann.id, first, "FAILED").await, {
        let second = again(&app, unit, 2025).await;
        app.enrollment(ann.id, second, "FAILED").await
    }];
    let excluding = [app.enrollment(bob.id, first, "FAILED").await, {
        let second = again(&app, other, 2025).await;
        app.enrollment(bob.id, second, "FAILED").await
    }];
    for (ids, change) in [
        (twice, json!({ "status": "ENROLLED", "reason": "wrong file" })),
        (excluding, json!({ "grade": "P", "reason": "appeal" })),
    ] {
        let rows: Vec<Value> = ids
            .iter()
            .map(|id| {
                let mut row = change.clone();
                row["id"] = json!(id);
                row
            })
            .collect();
        let reply = staff.post(&format!("{ENROLLMENTS}bulk-grade/"), &json!({ "rows": rows })).await;
        let results = &reply.expect(200)["results"];
        assert_eq!((&results[0]["ok"], &results[1]["code"]), (&json!(true), &json!("one_at_a_time")), "{}", reply.body);
        // By itself it meets the rule that it would have gone round.
        let alone = staff.patch(&at(ENROLLMENTS, ids[1]), &change).await;
        assert_eq!(alone.status, 409, "{}", alone.body);
    }
    app.check_invariants().await;
}
