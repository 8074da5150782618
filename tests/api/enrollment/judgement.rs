//! What a registrar expects of enrolments that are out of the ordinary: who may still enter and leave, whose classes count, what is due.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::ENROLLMENTS;
use crate::academic::{OFFERINGS, UNITS, at, run};
use crate::support::{Person, TestApp};

const DASHBOARD: &str = "/api/enrollment/enrollments/dashboard/";
const TEACHING: &str = "/api/enrollment/enrollments/teaching/";
const SUMMARY: &str = "/api/core/attendance/summary/";

/// A class of an offering that begins at `2026-03-02 09:00`, say, and takes two hours.
async fn class(app: &TestApp, offering: Id, begins: &str) -> Id {
    let made = sqlx::query_scalar!(
        "insert into class_sessions (offering_id, date, start_time, end_time)
         select $1, begins::date, begins::time, begins::time + interval '2 hours'
           from cast($2::text as timestamp) begins
         returning id",
        offering.0,
        begins
    );
    Id(made.fetch_one(&app.db).await.unwrap())
}

async fn mark(staff: &Person, session: Id, student: Id, status: &str) {
    let sent = json!({ "session": session, "student": student, "status": status });
    staff.post("/api/core/attendance/", &sent).await.expect(201);
}

/// An offering that needs no approval.
async fn free_offering(app: &TestApp, staff: &Person) -> Id {
    let offering = app.offering(0).await;
    staff.patch(&at(OFFERINGS, offering), &json!({ "requires_approval": false })).await.expect(200);
    offering
}

fn card(dashboard: &Value, offering: Id) -> &Value {
    let cards = dashboard["offering_cards"].as_array().unwrap();
    cards.iter().find(|card| card["offering"]["id"] == json!(offering)).expect("a card of the offering")
}

#[tokio::test]
async fn who_is_suspended_or_has_graduated_enrols_by_staff_alone() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    for (status, refused) in [("good", false), ("probation", false), ("suspended", true), ("graduated", true)] {
        let student = app.student().await;
        let offering = app.offering(0).await;
        let set = format!("update student_profiles set academic_status = '{status}' where user_id = {}", student.id);
        run(&app.db, set).await;
        let reply = student.post(ENROLLMENTS, &json!({ "offering": offering })).await;
        if !refused {
            reply.expect(201);
            continue;
        }
        assert_eq!(reply.refusal(), (400, "standing"), "{status}");
        assert_eq!(reply.body["reasons"][0]["facts"], json!({ "academic_status": status }));
        assert_eq!(student.get(DASHBOARD).await.expect(200)["available_units"], json!([]), "{status}");
        staff.post(ENROLLMENTS, &json!({ "offering": offering, "student": student.id })).await.expect(201);
    }
}

#[tokio::test]
async fn a_request_of_whoever_is_suspended_meanwhile_is_approved_against_the_rules_alone() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let enrollment = app.enrollment(student.id, app.offering(0).await, "PENDING").await;
    run(&app.db, "update student_profiles set academic_status = 'suspended'").await;
    let approve = format!("{}approve/", at(ENROLLMENTS, enrollment));
    assert_eq!(staff.post(&approve, &json!({})).await.refusal(), (409, "standing"));
    staff.post(&approve, &json!({ "override": true, "notes": "appeal upheld" })).await.expect(200);
}

#[tokio::test]
async fn nobody_enters_or_leaves_a_class_that_is_over_by_themselves() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let (held, running, bare, last_year) = (
        free_offering(&app, &staff).await,
        free_offering(&app, &staff).await,
        free_offering(&app, &staff).await,
        free_offering(&app, &staff).await,
    );
    // It is nine o'clock on the second of March: the last class of the first has just ended.
    class(&app, held, "2026-02-23 07:00").await;
    class(&app, held, "2026-03-02 07:00").await;
    class(&app, running, "2026-03-02 07:00").await;
    class(&app, running, "2026-03-02 07:01").await;
    run(&app.db, format!("update offerings set year = 2025 where id = {last_year}")).await;

    for (offering, code) in [(held, "offering_over"), (last_year, "offering_over"), (running, ""), (bare, "")] {
        let reply = student.post(ENROLLMENTS, &json!({ "offering": offering })).await;
        if code.is_empty() {
            reply.expect(201);
        } else {
            assert_eq!(reply.refusal(), (400, code));
            staff.post(ENROLLMENTS, &json!({ "offering": offering, "student": student.id })).await.expect(201);
        }
    }
    let rows = student.get(ENROLLMENTS).await;
    for row in rows.expect(200).as_array().unwrap() {
        let withdraw = format!("{ENROLLMENTS}{}/withdraw/", row["id"]);
        let offering = Id(row["offering"]["id"].as_i64().unwrap());
        if [held, last_year].contains(&offering) {
            assert_eq!(student.post(&withdraw, &json!({})).await.refusal(), (409, "withdrawal_closed"));
            staff.post(&withdraw, &json!({ "reason": "special circumstances" })).await.expect(200);
        } else {
            student.post(&withdraw, &json!({})).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_unit_that_is_discontinued_takes_nobody_new() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let unit = app.unit().await;
    let (offering, other) = (app.offering_of(unit, 0).await, app.student().await);
    let sits = app.enrollment(other.id, offering, "ENROLLED").await;
    let closed = staff.patch(&at(UNITS, unit), &json!({ "is_active": false })).await;
    let says = "1 offering is still open for enrolment: nobody new can enrol there. Who sits in a class stays.";
    assert_eq!(closed.expect(200)["remarks"], json!([says]));
    let read = staff.get(&at(UNITS, unit)).await;
    assert_eq!((read.expect(200).get("remarks"), &read.headers["etag"]), (None, &closed.headers["etag"]));
    let renamed = staff.patch(&at(UNITS, unit), &json!({ "name": "Closed", "is_active": false })).await;
    assert_eq!(renamed.expect(200).get("remarks"), None);
    let reply = student.post(ENROLLMENTS, &json!({ "offering": offering })).await;
    assert_eq!(reply.refusal(), (400, "unit_inactive"));
    let by_staff = staff.post(ENROLLMENTS, &json!({ "offering": offering, "student": student.id })).await;
    assert_eq!(by_staff.refusal(), (400, "unit_inactive"));
    // Who sits in it may finish.
    staff.patch(&at(ENROLLMENTS, sits), &json!({ "grade": "P" })).await.expect(200);
}

#[tokio::test]
async fn whoever_closes_a_course_is_told_how_many_are_in_it() {
    let app = TestApp::start().await;
    let (staff, admin, student) = (app.staff().await, app.admin().await, app.student().await);
    let course = json!({ "code": "BA-X", "name": "X", "duration_years": "3", "credit_points": "300" });
    let course = staff.post("/api/academic/courses/", &course).await.expect(201)["id"].clone();
    let profile = staff.get(&format!("/api/users/student-profiles/?user={}", student.id)).await.ids()[0];
    let path = format!("/api/users/student-profiles/{profile}/");
    admin.patch(&path, &json!({ "course": course })).await.expect(200);
    let closed = staff.patch(&format!("/api/academic/courses/{course}/"), &json!({ "is_active": false })).await;
    let says = "1 student is in this course and may go on; nobody new can be put into it.";
    assert_eq!(closed.expect(200)["remarks"], json!([says]));
}

#[tokio::test]
async fn results_that_are_due_are_found_and_counted() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let (over, running) = (
        app.offering_of(app.unit_of(convenor.id).await, 0).await,
        app.offering_of(app.unit_of(convenor.id).await, 0).await,
    );
    class(&app, over, "2026-02-23 09:00").await;
    class(&app, running, "2026-03-23 09:00").await;
    let mut due = vec![];
    for (offering, status, is_due) in [
        (over, "ENROLLED", true),
        (over, "COMPLETED", false),
        (over, "PENDING", false),
        (over, "ENROLLED", true),
        (running, "ENROLLED", false),
    ] {
        let made = app.enrollment(app.student().await.id, offering, status).await;
        due.extend(is_due.then_some(made));
    }
    due.reverse();
    assert_eq!(staff.get(&format!("{ENROLLMENTS}?results_due=true")).await.ids(), due);
    assert_eq!(staff.get(&format!("{ENROLLMENTS}?results_due=false")).await.ids().len(), 3);
    let teaching = convenor.get(TEACHING).await;
    assert_eq!(teaching.expect(200)["summary"]["results_due"], json!(2));
    let by_class = |offering: Id| {
        let classes = teaching.body["classes"].as_array().unwrap().iter();
        let mut of = classes.filter(|class| class["offering"]["id"] == json!(offering));
        of.next().unwrap()["results_due"].clone()
    };
    assert_eq!((by_class(over), by_class(running)), (json!(2), json!(0)));
    assert_eq!(teaching.body["summary"]["total_classes"], json!(1), "the other is over");
}

#[tokio::test]
async fn the_rate_of_attendance_is_the_same_wherever_it_is_told() {
    let app = TestApp::start().await;
    let (staff, convenor, ann) = (app.staff().await, app.convenor().await, app.student().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    app.enrollment(ann.id, offering, "ENROLLED").await;
    for day in 16..=26 {
        let held = class(&app, offering, &format!("2026-02-{day} 09:00")).await;
        if day <= 20 {
            mark(&staff, held, ann.id, "present").await;
        }
    }
    class(&app, offering, "2026-03-09 09:00").await;
    let rate = json!(45.5);
    let dashboard = ann.get(DASHBOARD).await.expect(200).clone();
    assert_eq!(card(&dashboard, offering)["attendance_summary"]["attendance_rate"], rate);
    let summary = ann.get(SUMMARY).await.expect(200).clone();
    assert_eq!((&summary["attendance_rate"], &summary["offerings"][0]["attendance_rate"]), (&rate, &rate));
    assert_eq!(summary["offerings"][0]["marked_sessions"], json!(5));
    let teaching = convenor.get(TEACHING).await.expect(200).clone();
    assert_eq!(teaching["summary"]["average_attendance"], rate);
    let attendance = &teaching["classes"][0]["attendance"];
    assert_eq!(attendance["attendance_rate"], rate);
    let why = (&attendance["held_sessions"], &attendance["marked_sessions"]);
    assert_eq!(why, (&json!(11), &json!(5)), "who has not marked sees why it is low");
    let of_class = convenor.get(&format!("{SUMMARY}?offering={offering}")).await.expect(200).clone();
    assert_eq!(of_class["students"][0]["attendance_rate"], rate);
}

#[tokio::test]
async fn classes_count_from_when_the_seat_was_granted() {
    let app = TestApp::start().await;
    let (staff, direct, asks) = (app.staff().await, app.student().await, app.student().await);
    let (free, decided) = (free_offering(&app, &staff).await, app.offering(0).await);
    for offering in [free, decided] {
        class(&app, offering, "2026-02-16 09:00").await;
        class(&app, offering, "2026-02-23 09:00").await;
        class(&app, offering, "2026-03-02 08:59").await;
        class(&app, offering, "2026-03-02 09:00").await;
        class(&app, offering, "2026-03-09 09:00").await;
    }
    direct.post(ENROLLMENTS, &json!({ "offering": free })).await.expect(201);
    let asked = asks.post(ENROLLMENTS, &json!({ "offering": decided })).await;
    let approve = format!("{ENROLLMENTS}{}/approve/", asked.expect(201)["id"]);
    staff.post(&approve, &json!({})).await.expect(200);
    for student in [&direct, &asks] {
        let summary = student.get(SUMMARY).await.expect(200).clone();
        let of = &summary["offerings"][0];
        assert_eq!((&of["total_sessions"], &of["since"]), (&json!(1), &json!("2026-03-02T02:00:00.000000Z")));
    }
    // Who was there before counts for it.
    let early = sqlx::query_scalar!("select min(id) as \"id!\" from class_sessions where offering_id = $1", free.0);
    mark(&staff, Id(early.fetch_one(&app.db).await.unwrap()), direct.id, "present").await;
    let summary = direct.get(SUMMARY).await.expect(200).clone();
    let shown = (&summary["total_sessions"], &summary["attended_sessions"], &summary["attendance_rate"]);
    assert_eq!(shown, (&json!(2), &json!(1), &json!(50.0)));
}

#[tokio::test]
async fn a_class_is_summed_up_student_by_student_the_lowest_rate_first() {
    let app = TestApp::start().await;
    let (staff, convenor, instructor) = (app.staff().await, app.convenor().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let (low, high, none) = (app.student().await, app.student().await, app.student().await);
    for student in [&high, &low, &none] {
        app.enrollment(student.id, offering, "ENROLLED").await;
    }
    app.enrollment(app.student().await.id, offering, "PENDING").await;
    for (day, others) in [("02", "present"), ("09", "late"), ("16", "excused"), ("23", "present")] {
        let held = class(&app, offering, &format!("2026-02-{day} 09:00")).await;
        mark(&staff, held, high.id, others).await;
        mark(&staff, held, low.id, if day == "02" { "present" } else { "absent" }).await;
    }
    run(&app.db, format!("update class_sessions set instructor_id = {}", instructor.id)).await;

    let url = format!("{SUMMARY}?offering={offering}");
    for reader in [&staff, &convenor, &instructor, &app.auditor().await] {
        let class = reader.get(&url).await.expect(200).clone();
        let rates: Vec<(Value, Value)> = class["students"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["student"]["id"].clone(), row["attendance_rate"].clone()))
            .collect();
        let wanted = [(none.id, 0.0), (low.id, 25.0), (high.id, 100.0)].map(|(id, rate)| (json!(id), json!(rate)));
        assert_eq!(rates, wanted, "{}", reader.user_type);
        assert_eq!((&class["held_sessions"], &class["marked_sessions"]), (&json!(4), &json!(4)));
    }
    let below = |rate: &str| format!("{url}&below={rate}");
    for (rate, count) in [("80", 2), ("25", 1), ("25,1", 2), ("0", 0), ("100", 2)] {
        let class = staff.get(&below(rate)).await.expect(200).clone();
        assert_eq!(class["students"].as_array().unwrap().len(), count, "{rate}");
    }
    for wrong in ["-1", "101", "x", "NaN"] {
        assert_eq!(staff.get(&below(wrong)).await.errors("below"), ["A number from 0 to 100 is expected."], "{wrong}");
    }
    assert_eq!(staff.get(&format!("{url}&student={}", low.id)).await.status, 400);
    assert_eq!(staff.get(&format!("{SUMMARY}?student={}&below=80", low.id)).await.status, 400);
    for stranger in [&low, &app.convenor().await, &app.parent().await] {
        assert_eq!(stranger.get(&url).await.refusal(), (403, "permission_denied"), "{}", stranger.user_type);
    }
    assert_eq!(staff.get(&format!("{SUMMARY}?offering=999")).await.refusal(), (404, "not_found"));
}

#[tokio::test]
async fn a_card_says_why_it_cannot_be_taken_and_counts_units_that_can() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let (taken, beside) = (app.unit().await, app.unit().await);
    app.enrollment(student.id, app.offering_of(taken, 0).await, "ENROLLED").await;
    staff.patch(&at(UNITS, beside), &json!({ "anti_requisites": [taken] })).await.expect(200);
    let excluded = app.offering_of(beside, 0).await;
    let full = app.offering(1).await;
    app.enrollment(app.student().await.id, full, "ENROLLED").await;
    class(&app, full, "2026-03-11 09:00").await;
    let twice = app.unit().await;
    let first = app.offering_of(twice, 0).await;
    run(&app.db, format!("update offerings set semester = 'S2' where id = {first}")).await;
    let second = app.offering_of(twice, 0).await;

    let dashboard = student.get(DASHBOARD).await.expect(200).clone();
    let code = staff.get(&at(UNITS, taken)).await.expect(200)["code"].as_str().unwrap().to_owned();
    for (offering, says, can) in [
        (excluded, format!("cannot be taken beside {code}"), false),
        (full, "Wed 09:00-11:00 · full".to_owned(), false),
        (first, String::new(), true),
        (second, String::new(), true),
    ] {
        let card = card(&dashboard, offering);
        assert_eq!((&card["schedule_summary"], &card["can_enroll"]), (&json!(says), &json!(can)));
    }
    assert_eq!(dashboard["statistics"]["available_count"], json!(1), "two offerings of one unit");
}

#[tokio::test]
async fn a_result_stays_with_the_course_in_which_it_was_obtained() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let (old, new) = (app.course().await, app.course().await);
    let profile = staff.get(&format!("/api/users/student-profiles/?user={}", student.id)).await.ids()[0];
    let profile = format!("/api/users/student-profiles/{profile}/");
    staff.patch(&profile, &json!({ "course": old })).await.expect(200);
    let code_of = async |course: Id| -> String {
        sqlx::query_scalar!("select code from courses where id = $1", course.0).fetch_one(&app.db).await.unwrap()
    };
    let (before, after) = (app.enrollment(student.id, app.offering(0).await, "ENROLLED").await, app.offering(0).await);
    staff.patch(&at(ENROLLMENTS, before), &json!({ "grade": "D" })).await.expect(200);
    // A result from before courses were kept.
    run(&app.db, "update transcripts set course_code = null, course_name = null").await;
    staff.patch(&profile, &json!({ "course": new })).await.expect(200);
    let after = app.enrollment(student.id, after, "ENROLLED").await;
    staff.patch(&at(ENROLLMENTS, after), &json!({ "grade": "C" })).await.expect(200);
    let export = student.get("/api/enrollment/transcripts/export/").await.expect(200).clone();
    let of = |row: usize| export["rows"][row]["course_code"].clone();
    assert_eq!((of(0), of(1)), (json!(code_of(old).await), json!(code_of(new).await)));
    assert_eq!(export["course_code"], json!(code_of(new).await), "the head says the present one");
    // A correction is of the same study.
    staff.patch(&at(ENROLLMENTS, before), &json!({ "grade": "HD", "reason": "added up wrongly" })).await.expect(200);
    let export = student.get("/api/enrollment/transcripts/export/").await.expect(200).clone();
    assert_eq!(export["rows"][0]["course_code"], json!(code_of(old).await));
}

#[tokio::test]
async fn offerings_are_found_by_their_seats() {
    let app = TestApp::start().await;
    let (full, some, any) = (app.offering(1).await, app.offering(3).await, app.offering(0).await);
    app.enrollment(app.student().await.id, full, "ENROLLED").await;
    for _ in 0..2 {
        app.enrollment(app.student().await.id, some, "ENROLLED").await;
    }
    let found = async |query: &str| app.anonymous().get(&format!("{OFFERINGS}?{query}")).await.ids();
    assert_eq!(found("has_seats=true&ordering=-current_enrollment").await, [some, any]);
    assert_eq!(found("has_seats=false").await, [full]);
    assert_eq!(found("ordering=-current_enrollment").await, [some, full, any]);
}
