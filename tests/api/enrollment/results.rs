//! Results: the state machine, grades and marks, corrections, and the transcript that follows.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ENROLLMENTS, everything, step, taken};
use crate::academic::{at, run};
use crate::support::TestApp;

const STATES: [&str; 5] = ["PENDING", "ENROLLED", "WITHDRAWN", "COMPLETED", "FAILED"];

/// A change to this state that wants for nothing.
fn to(state: &str) -> Value {
    match state {
        "COMPLETED" => json!({ "status": state, "grade": "D", "marks": "71.25", "reason": "Marked anew" }),
        "FAILED" => json!({ "status": state, "grade": "N", "marks": 31, "reason": "Marked anew" }),
        _ => json!({ "status": state, "reason": "Taken back" }),
    }
}

#[tokio::test]
async fn each_illegal_step_is_a_conflict_and_changes_nothing() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let legal = [
        ("PENDING", "ENROLLED"),
        ("PENDING", "WITHDRAWN"),
        ("ENROLLED", "COMPLETED"),
        ("ENROLLED", "FAILED"),
        ("ENROLLED", "WITHDRAWN"),
        ("COMPLETED", "FAILED"),
        ("FAILED", "COMPLETED"),
        // Taken back.
        ("COMPLETED", "ENROLLED"),
        ("COMPLETED", "WITHDRAWN"),
        ("FAILED", "ENROLLED"),
        ("FAILED", "WITHDRAWN"),
    ];
    for from in STATES {
        for next in STATES.iter().filter(|next| **next != from) {
            for put in [false, true] {
                let offering = app.offering(1).await;
                let id = app.enrollment(student.id, offering, from).await;
                let path = at(ENROLLMENTS, id);
                let before = everything(&app).await;
                let change = to(next);
                let reply = if put { staff.put(&path, &change).await } else { staff.patch(&path, &change).await };
                if legal.contains(&(from, next)) {
                    assert_eq!(reply.expect(200)["status"], json!(next), "{from} → {next}");
                    assert_eq!(taken(&app, offering).await, i32::from(*next != "WITHDRAWN"));
                } else {
                    assert_eq!(reply.refusal(), (409, "illegal_step"), "{from} → {next}");
                    assert_eq!(reply.body["current_status"], json!(from));
                    assert_eq!(everything(&app).await, before, "{from} → {next}");
                }
            }
        }
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn a_change_to_what_is_already_so_writes_nothing() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    for state in STATES {
        let id = app.enrollment(student.id, app.offering(0).await, state).await;
        let before = everything(&app).await;
        staff.patch(&at(ENROLLMENTS, id), &json!({ "status": state })).await.expect(200);
        staff.patch(&at(ENROLLMENTS, id), &json!({})).await.expect(200);
        assert_eq!(everything(&app).await, before, "{state}");
    }
}

#[tokio::test]
async fn steps_by_their_own_calls_are_legal_from_the_same_states_only() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    for (verb, from) in
        [("withdraw", &["PENDING", "ENROLLED"][..]), ("approve", &["PENDING"][..]), ("reject", &["PENDING"][..])]
    {
        for state in STATES {
            let id = app.enrollment(student.id, app.offering(0).await, state).await;
            let before = everything(&app).await;
            let reply = staff.post_bare(&step(id, verb)).await;
            if from.contains(&state) {
                reply.expect(200);
            } else {
                assert_eq!(
                    (reply.status.as_u16(), &reply.body["current_status"]),
                    (409, &json!(state)),
                    "{verb} {state}"
                );
                assert_eq!(everything(&app).await, before);
            }
        }
    }
    app.check_invariants().await;
}

/// The transcript of an enrolment, as text.
async fn transcript(app: &TestApp, enrollment: Id) -> Option<Value> {
    let row = sqlx::query!(
        "select status, grade, marks::text, grade_point::text, completion_date::text, unit_code, credit_points::text
           from transcripts
          where enrollment_id = $1
            and deleted_at is null",
        enrollment.0
    );
    let row = row.fetch_optional(&app.db).await.unwrap()?;
    Some(json!([
        row.status,
        row.grade,
        row.marks,
        row.grade_point,
        row.completion_date,
        row.unit_code,
        row.credit_points
    ]))
}

#[tokio::test]
async fn a_result_writes_the_transcript_and_a_correction_needs_a_reason() {
    let app = TestApp::start().await;
    let (convenor, student) = (app.convenor().await, app.student().await);
    let unit = app.unit_of(convenor.id).await;
    let id = app.enrollment(student.id, app.offering_of(unit, 0).await, "ENROLLED").await;
    let code = sqlx::query_scalar!("select code from units where id = $1", unit.0).fetch_one(&app.db).await.unwrap();
    let path = at(ENROLLMENTS, id);

    let marked = convenor.patch(&path, &json!({ "marks": "78.5" })).await;
    assert_eq!((&marked.expect(200)["marks"], &marked.body["status"]), (&json!("78.50"), &json!("ENROLLED")));
    assert_eq!(transcript(&app, id).await, None, "marks alone are no result");
    let done = convenor.patch(&path, &json!({ "status": "COMPLETED", "grade": "D" })).await;
    assert_eq!(done.expect(200)["completion_date"], json!("2026-03-02"));
    let row = |status: &str, grade: &str, marks: &str, point: &str| {
        Some(json!([status, grade, marks, point, "2026-03-02", code, "12.5"]))
    };
    assert_eq!(transcript(&app, id).await, row("COMPLETED", "D", "78.50", "3.0"));

    // The unit is renamed later, and the day goes on; the transcript keeps what it said.
    run(&app.db, format!("update units set code = 'RENAMED' where id = {unit}")).await;
    app.set_time("2026-03-02T03:00:00Z").await;
    let before = everything(&app).await;
    for change in [json!({ "grade": "HD" }), json!({ "marks": 80 }), json!({ "status": "FAILED", "grade": "N" })] {
        let refused = convenor.patch(&path, &change).await;
        assert_eq!((refused.status.as_u16(), refused.errors("reason").len()), (400, 1), "{change}");
    }
    assert_eq!(everything(&app).await, before);
    convenor.patch(&path, &json!({ "grade": "HD", "marks": 90, "reason": "Sums were wrong" })).await.expect(200);
    assert_eq!(transcript(&app, id).await, row("COMPLETED", "HD", "90.00", "4.0"));
    convenor
        .put(&path, &json!({ "status": "FAILED", "grade": "F", "marks": 10, "reason": "Copied" }))
        .await
        .expect(200);
    assert_eq!(transcript(&app, id).await, row("FAILED", "F", "10.00", "0.0"));
    let reasons =
        sqlx::query_scalar!("select reason from enrollment_history where enrollment_id = $1 order by id", id.0);
    assert_eq!(reasons.fetch_all(&app.db).await.unwrap(), ["", "", "", "Sums were wrong", "Copied"]);
    app.check_invariants().await;
}

#[tokio::test]
async fn every_grade_has_its_points() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let scale = [
        ("HD", "4.0"),
        ("D", "3.0"),
        ("C", "2.0"),
        ("P", "1.0"),
        ("N", "0.0"),
        ("F", "0.0"),
        ("A+", "4.0"),
        ("A", "4.0"),
        ("A-", "3.7"),
        ("B+", "3.3"),
        ("B", "3.0"),
        ("B-", "2.7"),
        ("C+", "2.3"),
        ("C-", "1.7"),
        ("D+", "1.3"),
    ];
    for (grade, point) in scale {
        let id = app.enrollment(student.id, app.offering(0).await, "ENROLLED").await;
        let (status, other) = if point == "0.0" { ("FAILED", "COMPLETED") } else { ("COMPLETED", "FAILED") };
        let wrong = staff.patch(&at(ENROLLMENTS, id), &json!({ "status": other, "grade": grade })).await;
        assert_eq!((wrong.status.as_u16(), wrong.errors("grade").len()), (400, 1), "{grade} {other}");
        staff.patch(&at(ENROLLMENTS, id), &json!({ "status": status, "grade": grade })).await.expect(200);
        assert_eq!(transcript(&app, id).await.unwrap()[3], json!(point), "{grade}");
    }
    app.check_invariants().await;
}

#[tokio::test]
async fn a_result_that_cannot_be_is_refused_by_field() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let id = app.enrollment(student.id, app.offering(0).await, "ENROLLED").await;
    let before = everything(&app).await;
    for (field, change) in [
        ("grade", json!({ "status": "COMPLETED" })),
        ("grade", json!({ "status": "FAILED" })),
        ("grade", json!({ "grade": "E" })),
        ("grade", json!({ "grade": null })),
        ("grade", json!({ "grade": 4 })),
        ("marks", json!({ "marks": "100.01" })),
        ("marks", json!({ "marks": -1 })),
        ("marks", json!({ "marks": "50.125" })),
        ("marks", json!({ "marks": "many" })),
        ("status", json!({ "status": "DONE" })),
        ("status", json!({ "status": null })),
        ("reason", json!({ "marks": 1, "reason": "x".repeat(2001) })),
    ] {
        let refused = staff.patch(&at(ENROLLMENTS, id), &change).await;
        assert_eq!((refused.status.as_u16(), refused.errors(field).len()), (400, 1), "{change}: {}", refused.body);
    }
    assert_eq!(staff.put(&at(ENROLLMENTS, id), &json!({ "grade": "P" })).await.errors("status").len(), 1);
    let all = json!({ "status": "COMPLETED", "grade": "N", "marks": 101, "reason": "x".repeat(2001) });
    let refused = staff.patch(&at(ENROLLMENTS, id), &all).await;
    for field in ["grade", "marks", "reason"] {
        assert_eq!(refused.errors(field).len(), 1, "{field}");
    }
    assert_eq!(everything(&app).await, before);
}

#[tokio::test]
async fn who_has_no_class_has_no_result() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    for state in ["PENDING", "WITHDRAWN"] {
        let id = app.enrollment(student.id, app.offering(0).await, state).await;
        let before = everything(&app).await;
        for change in [json!({ "grade": "P" }), json!({ "marks": 50 })] {
            let refused = staff.patch(&at(ENROLLMENTS, id), &change).await;
            assert_eq!(refused.refusal(), (409, "no_result_yet"), "{state} {change}");
        }
        assert_eq!(everything(&app).await, before);
    }
}

#[tokio::test]
async fn results_are_given_by_staff_and_the_units_convenor_alone() {
    let app = TestApp::start().await;
    let (student, convenor) = (app.student().await, app.convenor().await);
    let id = app.enrollment(student.id, app.offering_of(app.unit_of(convenor.id).await, 0).await, "ENROLLED").await;
    let path = at(ENROLLMENTS, id);
    let (grade, before) = (to("COMPLETED"), everything(&app).await);
    for (who, status) in [
        (student.clone(), 403),
        (app.student().await, 403),
        (app.convenor().await, 404),
        (app.auditor().await, 403),
        (app.parent().await, 403),
    ] {
        assert_eq!(who.patch(&path, &grade).await.status.as_u16(), status, "{}", who.user_type);
        assert_eq!(who.put(&path, &grade).await.status.as_u16(), status, "{}", who.user_type);
        let rows = json!({ "rows": [{ "id": id, "grade": "HD" }] });
        let bulk = who.post(&format!("{ENROLLMENTS}bulk-grade/"), &rows).await;
        match status {
            403 => assert_eq!(bulk.status.as_u16(), 403, "{}", who.user_type),
            _ => assert_eq!(bulk.expect(200)["results"][0]["code"], json!("not_found")),
        }
    }
    assert_eq!(everything(&app).await, before);
    convenor.patch(&path, &grade).await.expect(200);
}

#[tokio::test]
async fn what_has_changed_since_it_was_read_is_not_overwritten() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let id = app.enrollment(student.id, app.offering(0).await, "ENROLLED").await;
    let path = at(ENROLLMENTS, id);
    let read = staff.get(&path).await;
    let tag = read.header("etag").unwrap();
    let changed = staff.with("If-Match", tag).patch(&path, &json!({ "marks": 50 })).await;
    changed.expect(200);
    let stale = staff.with("If-Match", tag).patch(&path, &json!({ "marks": 60 })).await;
    assert_eq!(stale.refusal(), (412, "stale"));
    let new_tag = changed.header("etag").unwrap();
    staff.with("If-Match", new_tag).put(&path, &json!({ "status": "ENROLLED", "marks": 60 })).await.expect(200);
    assert_eq!(staff.get(&path).await.body["marks"], json!("60.00"));
}

#[tokio::test]
async fn a_corrected_failure_does_not_stand_beside_what_excludes_it() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let (one, other) = (app.unit().await, app.unit().await);
    run(&app.db, format!("insert into unit_anti_requisites values ({one}, {other})")).await;
    let id = app.enrollment(student.id, app.offering_of(one, 0).await, "FAILED").await;
    let beside = app.enrollment(student.id, app.offering_of(other, 0).await, "ENROLLED").await;
    let before = everything(&app).await;
    let refused = staff.patch(&at(ENROLLMENTS, id), &to("COMPLETED")).await;
    assert_eq!(refused.refusal(), (409, "anti_requisite"));
    assert_eq!(everything(&app).await, before);
    staff.post_bare(&step(beside, "withdraw")).await.expect(200);
    staff.patch(&at(ENROLLMENTS, id), &to("COMPLETED")).await.expect(200);
    app.check_invariants().await;
}

#[tokio::test]
async fn an_approval_by_a_change_of_status_is_kept_as_a_decision() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let id = app.enrollment(student.id, app.offering(0).await, "PENDING").await;
    staff.patch(&at(ENROLLMENTS, id), &json!({ "status": "ENROLLED", "reason": "By phone" })).await.expect(200);
    let kept = sqlx::query!("select decision, decided_by_id, notes from enrollment_decisions");
    let kept = kept.fetch_one(&app.db).await.unwrap();
    assert_eq!((kept.decision.as_str(), kept.decided_by_id, kept.notes.as_str()), ("approved", staff.id.0, "By phone"));
    app.check_invariants().await;
}

#[tokio::test]
async fn to_grade_is_not_to_approve() {
    let app = TestApp::start().await;
    let (marker, student) = (app.parent().await, app.student().await);
    run(
        &app.db,
        format!(
            "with r as (insert into roles (name, permissions)
                        values ('Marker', array['enrollments.grade', 'enrollments.read']) returning id)
             insert into user_roles (user_id, role_id) select {}, id from r",
            marker.id
        ),
    )
    .await;
    let pending = app.enrollment(student.id, app.offering(0).await, "PENDING").await;
    let enrolled = app.enrollment(student.id, app.offering(0).await, "ENROLLED").await;
    for state in ["ENROLLED", "WITHDRAWN"] {
        let refused = marker.patch(&at(ENROLLMENTS, pending), &json!({ "status": state })).await;
        assert_eq!(refused.status.as_u16(), 403);
    }
    marker.patch(&at(ENROLLMENTS, enrolled), &to("FAILED")).await.expect(200);
}
