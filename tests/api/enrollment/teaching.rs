//! The overview of one's own classes.

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::academic::{OFFERINGS, at, id_of, run};
use crate::support::TestApp;

const TEACHING: &str = "/api/enrollment/enrollments/teaching/";

/// A class of an offering that ends at eleven at night.
async fn session(app: &TestApp, offering: Id, date: &str, time: &str, instructor: Option<Id>) -> Id {
    let made = sqlx::query_scalar!(
        "insert into class_sessions (offering_id, date, start_time, end_time, location, instructor_id)
         values ($1, $2::text::date, $3::text::time, '23:00', 'Room of ' || $2::text || ' ' || $3::text, $4)
         returning id",
        offering.0,
        date,
        time,
        instructor.map(|id| id.0)
    );
    Id(made.fetch_one(&app.db).await.unwrap())
}

async fn attended(app: &TestApp, session: Id, student: Id, status: &str) {
    let sql = format!(
        "insert into attendance_records (session_id, student_id, status) values ({session}, {student}, '{status}')"
    );
    run(&app.db, sql).await;
}

fn offerings(teaching: &Value) -> Vec<Id> {
    let classes = teaching["classes"].as_array().unwrap().iter();
    classes.map(|class| Id(class["offering"]["id"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn a_convenor_sees_the_classes_with_students_attendance_and_what_comes_next() {
    // At `NOW` it is one o'clock on a Monday there.
    let app = TestApp::with(&[("TIME_ZONE", "Australia/Melbourne")]).await;
    let convenor = app.convenor().await;
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let empty = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    app.enrollment(app.student().await.id, app.offering(0).await, "ENROLLED").await;
    let mut students = vec![];
    for status in ["PENDING", "PENDING", "ENROLLED", "WITHDRAWN", "COMPLETED", "COMPLETED", "FAILED"] {
        let student = app.student().await;
        app.enrollment(student.id, offering, status).await;
        students.push(student);
    }
    let gone = app.enrollment(app.student().await.id, offering, "WITHDRAWN").await;
    run(&app.db, format!("update enrollments set deleted_at = rule_now() where id = {gone}")).await;

    let last_week = session(&app, offering, "2026-02-23", "09:00", None).await;
    let this_morning = session(&app, offering, "2026-03-02", "13:00", None).await;
    let cancelled = session(&app, offering, "2026-03-02", "14:00", None).await;
    let deleted = session(&app, offering, "2026-03-03", "14:00", None).await;
    session(&app, offering, "2026-03-09", "09:00", None).await;
    session(&app, offering, "2026-03-04", "16:00", None).await;
    for (class, change) in [(cancelled, "status = 'cancelled'"), (deleted, "deleted_at = rule_now()")] {
        attended(&app, class, students[0].id, "present").await;
        run(&app.db, format!("update class_sessions set {change} where id = {class}")).await;
    }
    for (student, status) in students.iter().zip(["present", "present", "late", "absent", "excused"]) {
        attended(&app, last_week, student.id, status).await;
    }
    attended(&app, this_morning, students[0].id, "absent").await;
    attended(&app, this_morning, students[1].id, "present").await;
    let undone = format!(
        "update attendance_records set deleted_at = rule_now() where session_id = {this_morning} and student_id = {}",
        students[1].id
    );
    run(&app.db, undone).await;

    let shown = async |id: Id| convenor.get(&at(OFFERINGS, id)).await.expect(200).clone();
    let wanted = json!({
        "summary": {
            "total_classes": 2, "total_students": 3, "pending_approvals": 2, "results_due": 0, "average_attendance": 25.0,
        },
        "classes": [
            {
                "offering": shown(offering).await,
                "students_total": 6,
                "status_breakdown": { "PENDING": 2, "ENROLLED": 1, "WITHDRAWN": 1, "COMPLETED": 2, "FAILED": 1 },
                // Four hold a granted seat; of the two classes held, one was marked.
                "attendance": {
                    "present": 0, "late": 1, "absent": 0, "excused": 1, "held_sessions": 2, "marked_sessions": 1,
                    "attendance_rate": 25.0,
                },
                "results_due": 0,
                "upcoming_session": {
                    "date": "2026-03-04", "start_time": "16:00:00", "end_time": "23:00:00",
                    "location": "Room of 2026-03-04 16:00",
                },
            },
            {
                "offering": shown(empty).await,
                "students_total": 0,
                "status_breakdown": {},
                "attendance": {
                    "present": 0, "late": 0, "absent": 0, "excused": 0, "held_sessions": 0, "marked_sessions": 0,
                    "attendance_rate": null,
                },
                "results_due": 0,
                "upcoming_session": null,
            },
        ],
    });
    assert_eq!(convenor.get(TEACHING).await.expect(200), &wanted);
}

#[tokio::test]
async fn classes_are_of_units_convened_and_of_sessions_instructed_the_latest_first() {
    let app = TestApp::start().await;
    let (convenor, staff, other) = (app.convenor().await, app.staff().await, app.convenor().await);
    let (first, second) = (app.unit_of(convenor.id).await, app.unit_of(convenor.id).await);
    let offer = async |unit: Id, year: i32, semester: &str, is_active: bool| {
        let sent = json!({
            "unit": unit, "year": year, "semester": semester, "is_active": is_active,
            "enrollment_start": format!("{year}-01-12T00:00:00Z"), "enrollment_end": format!("{year}-03-13T00:00:00Z"),
        });
        id_of(&staff.post(OFFERINGS, &sent).await)
    };
    let b26 = offer(second, 2026, "S1", true).await;
    let a26 = offer(first, 2026, "S1", true).await;
    let a25 = offer(first, 2025, "S1", true).await;
    let later = offer(first, 2026, "S2", true).await;
    let _given_up = offer(second, 2025, "S2", false).await;
    let over = offer(second, 2024, "S2", false).await;
    app.enrollment(app.student().await.id, over, "COMPLETED").await;
    let deleted = offer(second, 2024, "S1", true).await;
    staff.delete(&at(OFFERINGS, deleted)).await.expect(204);

    let instructed = offer(app.unit_of(other.id).await, 2026, "S1", true).await;
    session(&app, instructed, "2026-03-04", "10:00", Some(convenor.id)).await;
    session(&app, instructed, "2026-03-11", "10:00", Some(convenor.id)).await;
    session(&app, a26, "2026-03-12", "10:00", Some(convenor.id)).await;
    let off = offer(app.unit_of(other.id).await, 2026, "S1", true).await;
    let off = session(&app, off, "2026-03-05", "10:00", Some(convenor.id)).await;
    run(&app.db, format!("update class_sessions set deleted_at = rule_now() where id = {off}")).await;

    let reply = convenor.get(TEACHING).await;
    let wanted = [a26, b26, instructed, later, a25, over];
    assert_eq!(offerings(reply.expect(200)), wanted);
    assert_eq!(reply.body["summary"]["total_classes"], json!(4), "those that are not over");
}

#[tokio::test]
async fn only_those_who_may_teach_are_shown_an_overview() {
    let app = TestApp::start().await;
    assert_eq!(app.anonymous().get(TEACHING).await.refusal(), (401, "not_authenticated"));
    let nothing = json!({
        "summary": {
            "total_classes": 0, "total_students": 0, "pending_approvals": 0, "results_due": 0, "average_attendance": null,
        },
        "classes": [],
    });
    app.enrollment(app.student().await.id, app.offering(0).await, "ENROLLED").await;
    for person in ["staff", "unit_convenor", "auditor", "admin"] {
        assert_eq!(app.person(person).await.get(TEACHING).await.expect(200), &nothing, "{person}");
    }
    for person in ["student", "parent"] {
        assert_eq!(app.person(person).await.get(TEACHING).await.refusal(), (403, "permission_denied"), "{person}");
    }
}
