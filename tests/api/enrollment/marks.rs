//! Marks against grades, the days from which things hold, and people by the names that they have.

use serde_json::json;

use super::{ENROLLMENTS, step};
use crate::academic::{at, run};
use crate::support::TestApp;

const BOUNDARIES: &str = "HD=80,D=70,C=60,P=50,N=0";
const BULK: &str = "/api/enrollment/enrollments/bulk-grade/";

#[tokio::test]
async fn marks_that_contradict_the_grade_need_a_reason() {
    let app = TestApp::with(&[("GRADE_BOUNDARIES", BOUNDARIES)]).await;
    let staff = app.staff().await;
    let offering = app.offering(0).await;
    for (grade, marks, other) in [
        ("HD", "40", Some("N")),
        ("P", "95", Some("HD")),
        ("HD", "79.99", Some("D")),
        ("HD", "80", None),
        ("N", "49.99", None),
        ("N", "50", Some("P")),
        // Not of the boundaries.
        ("A-", "12", None),
        ("F", "99", None),
    ] {
        let id = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
        let row = json!({ "id": id, "grade": grade, "marks": marks });
        let sent = json!({ "grade": grade, "marks": marks });
        let Some(other) = other else {
            staff.patch(&at(ENROLLMENTS, id), &sent).await.expect(200);
            continue;
        };
        let says = format!("{marks} marks are {other}, not {grade}: correct one of the two, or give a `reason`.");
        let tried = staff.post(&format!("{BULK}?dry_run=true"), &json!({ "rows": [row] })).await;
        assert_eq!(tried.expect(200)["reasons"][0]["facts"]["errors"]["marks"], json!([says]), "{grade} {marks}");
        let report = staff.post(BULK, &json!({ "rows": [row] })).await;
        assert_eq!(report.expect(200)["results"][0]["errors"]["marks"], json!([says]));
        let refused = staff.patch(&at(ENROLLMENTS, id), &sent).await;
        assert_eq!((refused.status.as_u16(), refused.errors("marks")), (400, vec![says.as_str()]));
        let because = json!({ "grade": grade, "marks": marks, "reason": "conceded by the board" });
        staff.patch(&at(ENROLLMENTS, id), &because).await.expect(200);
    }
}

#[tokio::test]
async fn marks_without_a_grade_say_which_it_is_where_a_result_is_given() {
    let app = TestApp::with(&[("GRADE_BOUNDARIES", BOUNDARIES)]).await;
    let staff = app.staff().await;
    let id = app.enrollment(app.student().await.id, app.offering(0).await, "ENROLLED").await;
    let path = at(ENROLLMENTS, id);
    // Marks alone are no result, with boundaries or without.
    let marked = staff.patch(&path, &json!({ "marks": "71" })).await;
    assert_eq!((&marked.expect(200)["status"], &marked.body["grade"]), (&json!("ENROLLED"), &json!("")));
    let refused = staff.patch(&path, &json!({ "status": "COMPLETED", "marks": "31" })).await;
    assert_eq!(refused.errors("grade"), ["COMPLETED needs a pass grade."]);
    let done = staff.patch(&path, &json!({ "status": "COMPLETED", "marks": "72.5" })).await;
    assert_eq!((&done.expect(200)["status"], &done.body["grade"]), (&json!("COMPLETED"), &json!("D")));
    let corrected = staff.patch(&path, &json!({ "marks": "30", "reason": "added up wrongly" })).await;
    assert_eq!((&corrected.expect(200)["status"], &corrected.body["grade"]), (&json!("FAILED"), &json!("N")));
}

#[tokio::test]
async fn without_boundaries_nothing_is_checked() {
    let app = TestApp::start().await;
    let id = app.enrollment(app.student().await.id, app.offering(0).await, "ENROLLED").await;
    let sent = json!({ "grade": "HD", "marks": "40" });
    app.staff().await.patch(&at(ENROLLMENTS, id), &sent).await.expect(200);
}

#[tokio::test]
async fn staff_say_from_which_day_a_withdrawal_or_a_result_holds() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let enrolled = async || app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let (left, gone, passed) = (enrolled().await, enrolled().await, enrolled().await);

    let form = json!({ "status": "WITHDRAWN", "withdrawn_date": "2026-02-15", "reason": "form received 15 February" });
    let shown = staff.patch(&at(ENROLLMENTS, left), &form).await;
    assert_eq!(shown.expect(200)["withdrawn_date"], json!("2026-02-15"));
    let history = staff.get(&format!("{}history/", at(ENROLLMENTS, left))).await;
    let last = history.expect(200).as_array().unwrap().iter().max_by_key(|step| step["id"].as_i64()).unwrap();
    assert_eq!(last["created_at"], json!("2026-03-02T02:00:00.000000Z"), "the day of recording stays beside it");
    assert_eq!(last["reason"], json!("form received 15 February"));
    // The day alone is corrected too.
    let day = json!({ "withdrawn_date": "2026-02-14", "reason": "postmark" });
    assert_eq!(staff.patch(&at(ENROLLMENTS, left), &day).await.expect(200)["withdrawn_date"], json!("2026-02-14"));

    let leave = json!({ "reason": "form 3", "withdrawn_date": "2026-02-20" });
    staff.post(&step(gone, "withdraw"), &leave).await.expect(200);
    assert_eq!(staff.get(&at(ENROLLMENTS, gone)).await.expect(200)["withdrawn_date"], json!("2026-02-20"));

    let result = json!({ "id": passed, "grade": "C", "completion_date": "2026-01-31", "reason": "board of January" });
    let report = staff.post(BULK, &json!({ "rows": [result] })).await;
    assert_eq!(report.expect(200)["done_count"], json!(1));
    let transcript = staff.get(&format!("/api/enrollment/transcripts/?enrollment={passed}")).await;
    assert_eq!(transcript.expect(200)[0]["completion_date"], json!("2026-01-31"));
}

#[tokio::test]
async fn a_day_that_cannot_be_or_is_not_the_callers_to_say_is_refused() {
    let app = TestApp::start().await;
    let (staff, convenor, student) = (app.staff().await, app.convenor().await, app.student().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let id = app.enrollment(student.id, offering, "ENROLLED").await;
    let path = at(ENROLLMENTS, id);
    for (sent, field) in [
        (json!({ "status": "WITHDRAWN", "withdrawn_date": "2026-03-03", "reason": "x" }), "withdrawn_date"),
        (json!({ "status": "WITHDRAWN", "withdrawn_date": "2026-02-01" }), "reason"),
        (json!({ "status": "WITHDRAWN", "completion_date": "2026-02-01", "reason": "x" }), "completion_date"),
        (json!({ "grade": "P", "withdrawn_date": "2026-02-01", "reason": "x" }), "withdrawn_date"),
        (json!({ "grade": "P", "completion_date": "1026-02-01", "reason": "x" }), "completion_date"),
        (json!({ "grade": "P", "completion_date": "soon", "reason": "x" }), "completion_date"),
    ] {
        let refused = staff.patch(&path, &sent).await;
        assert_eq!((refused.status.as_u16(), refused.errors(field).len()), (400, 1), "{sent}: {}", refused.body);
    }
    let by_convenor = json!({ "grade": "P", "completion_date": "2026-02-01", "reason": "x" });
    assert_eq!(convenor.patch(&path, &by_convenor).await.errors("completion_date").len(), 1);
    let by_student = json!({ "withdrawn_date": "2026-02-01", "reason": "x" });
    assert_eq!(student.post(&step(id, "withdraw"), &by_student).await.errors("withdrawn_date").len(), 1);
    // Today is anybody's.
    student.post(&step(id, "withdraw"), &json!({ "withdrawn_date": "2026-03-02" })).await.expect(200);
}

#[tokio::test]
async fn why_somebody_is_enrolled_is_kept() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let sent = json!({ "offering": app.offering(0).await, "student": student.id, "reason": "late add form 18" });
    let made = staff.post(ENROLLMENTS, &sent).await;
    let history = staff.get(&format!("{ENROLLMENTS}{}/history/", made.expect(201)["id"])).await;
    assert_eq!(history.expect(200)[0]["reason"], json!("late add form 18"));
    let long = json!({ "offering": app.offering(0).await, "student": student.id, "reason": "x".repeat(2001) });
    assert_eq!(staff.post(ENROLLMENTS, &long).await.errors("reason").len(), 1);
}

#[tokio::test]
async fn staff_name_a_student_by_id_number_or_address() {
    let app = TestApp::start().await;
    let (staff, ann, bob) = (app.staff().await, app.student().await, app.student().await);
    run(&app.db, format!("update student_profiles set student_id = 'S-0042' where user_id = {}", ann.id)).await;
    // The number of one is the id of another.
    run(&app.db, format!("update student_profiles set student_id = '{}' where user_id = {}", ann.id, bob.id)).await;
    for named in [json!(ann.id), json!("S-0042"), json!(ann.email.to_uppercase()), json!(" S-0042 ")] {
        let sent = json!({ "offering": app.offering(0).await, "student": named });
        let made = staff.post(ENROLLMENTS, &sent).await;
        assert_eq!(made.expect(201)["student"]["id"], json!(ann.id), "{named}");
    }
    for (named, says) in [
        ("S-9999", "There is no student with the number or mail address `S-9999`.".to_owned()),
        (
            &ann.id.to_string(),
            format!("`{}` is the number of one student and the id of another; use the mail address.", ann.id),
        ),
    ] {
        let refused = staff.post(ENROLLMENTS, &json!({ "offering": app.offering(0).await, "student": named })).await;
        assert_eq!((refused.status.as_u16(), refused.errors("student")), (400, vec![says.as_str()]));
    }
    for path in [ENROLLMENTS, "/api/enrollment/approvals/"] {
        assert_eq!(staff.get(&format!("{path}?student=S-0042")).await.ids().len(), 4, "{path}");
        assert_eq!(staff.get(&format!("{path}?student=S-9999")).await.ids().len(), 0, "{path}");
    }
    for path in ["/api/enrollment/transcripts/summary/", "/api/core/attendance/summary/"] {
        staff.get(&format!("{path}?student={}", ann.email)).await.expect(200);
        // Others must not find out by it who there is.
        for named in [&ann.email, "nobody@example.edu"] {
            let refused = bob.get(&format!("{path}?student={named}")).await;
            assert_eq!((refused.status.as_u16(), refused.errors("student").len()), (400, 1), "{path} {named}");
        }
    }
}

#[tokio::test]
async fn results_are_given_by_offering_and_student() {
    let app = TestApp::start().await;
    let (convenor, ann, bob) = (app.convenor().await, app.student().await, app.student().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let foreign = app.offering(0).await;
    let id = app.enrollment(ann.id, offering, "ENROLLED").await;
    app.enrollment(ann.id, foreign, "ENROLLED").await;
    run(&app.db, format!("update student_profiles set student_id = 'S-0042' where user_id = {}", ann.id)).await;
    let rows = json!([
        { "offering": offering, "student": "S-0042", "grade": "P" },
        { "offering": offering, "student": bob.email, "grade": "P" },
        { "offering": offering, "student": "S-9999", "grade": "P" },
        { "offering": foreign, "student": "S-0042", "grade": "P" },
        { "id": id, "marks": "50" , "reason": "x" },
    ]);
    let report = convenor.post(BULK, &json!({ "rows": rows })).await;
    let told: Vec<_> = report.expect(200)["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["ok"].as_bool().unwrap(), row["code"].as_str().unwrap().to_owned(), row["id"].is_null()))
        .collect();
    let refused = |is_unknown| (false, "not_found".to_owned(), is_unknown);
    let twice = (false, "named_twice".to_owned(), false);
    assert_eq!(told, [(true, String::new(), false), refused(true), refused(true), refused(false), twice]);
    for (row, field) in [
        (json!({ "grade": "P" }), "rows[0].id"),
        (json!({ "offering": offering, "grade": "P" }), "rows[0].student"),
        (json!({ "student": ann.id, "grade": "P" }), "rows[0].offering"),
        (json!({ "id": id, "student": ann.id, "grade": "P" }), "rows[0].id"),
    ] {
        assert_eq!(convenor.post(BULK, &json!({ "rows": [row] })).await.errors(field).len(), 1, "{field}");
    }
}

#[tokio::test]
async fn students_are_found_by_course_and_by_where_they_are_not_enrolled() {
    let app = TestApp::start().await;
    let (staff, ann, bob, eve) = (app.staff().await, app.student().await, app.student().await, app.student().await);
    let course = app.course().await;
    for student in [&ann, &bob] {
        run(&app.db, format!("update student_profiles set course_id = {course} where user_id = {}", student.id)).await;
    }
    let offering = app.offering(0).await;
    app.enrollment(ann.id, offering, "ENROLLED").await;
    app.enrollment(eve.id, offering, "WITHDRAWN").await;
    let found = async |query: &str| staff.get(&format!("/api/users/students/?{query}")).await.ids();
    assert_eq!(found(&format!("course={course}")).await, [ann.id, bob.id]);
    assert_eq!(found("not_enrolled_in=2026-S1").await, [bob.id, eve.id]);
    assert_eq!(found("not_enrolled_in=2026-s2").await, [ann.id, bob.id, eve.id]);
    assert_eq!(found(&format!("course={course}&not_enrolled_in=2026-S1")).await, [bob.id]);
    for wrong in ["2026", "S1-2026", "2026-T3"] {
        let refused = staff.get(&format!("/api/users/students/?not_enrolled_in={wrong}")).await;
        assert_eq!(refused.errors("not_enrolled_in"), ["A semester such as `2026-S2` is expected."]);
    }
    let convenor = app.convenor().await;
    for query in [format!("course={course}"), "not_enrolled_in=2026-S1".to_owned()] {
        let refused = convenor.get(&format!("/api/users/students/?{query}")).await;
        assert_eq!(refused.refusal(), (403, "permission_denied"), "{query}");
    }
    convenor.get("/api/users/students/?is_active=true").await.expect(200);
}
