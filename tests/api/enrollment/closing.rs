//! Closing an offering: everybody leaves it at once, its classes are cancelled, and each person is told once.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::{ENROLLMENTS, everything, step, taken};
use crate::academic::{OFFERINGS, at, faulty, run};
use crate::core::SESSIONS;
use crate::support::TestApp;

fn close(offering: Id) -> String {
    format!("{OFFERINGS}{offering}/close/")
}

async fn class(app: &TestApp, offering: Id, date: &str, start: &str, instructor: Option<Id>) -> i64 {
    let body = json!({ "offering": offering, "date": date, "start_time": start, "instructor": instructor });
    app.staff().await.post(SESSIONS, &body).await.expect(201)["id"].as_i64().unwrap()
}

/// All that people were told: recipient, verb, description.
async fn told(app: &TestApp) -> Value {
    let rows = sqlx::query!("select recipient_id, verb, description from notifications order by recipient_id, id");
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.iter().map(|row| json!([row.recipient_id, row.verb, row.description])).collect()
}

#[tokio::test]
async fn closing_an_offering_withdraws_cancels_and_tells_each_person_once() {
    let app = TestApp::start().await;
    let (staff, convenor, tutor) = (app.staff().await, app.convenor().await, app.convenor().await);
    let unit = app.unit_of(convenor.id).await;
    let (offering, other) = (app.offering_of(unit, 5).await, app.offering(5).await);
    let mut students = vec![];
    let mut seats = vec![];
    for status in ["PENDING", "ENROLLED", "COMPLETED", "FAILED", "WITHDRAWN"] {
        let student = app.student().await;
        seats.push(app.enrollment(student.id, offering, status).await);
        students.push(student);
    }
    let elsewhere = app.enrollment(students[1].id, other, "ENROLLED").await;
    // It is 9 o'clock of 2 March in Ho Chi Minh City: one has begun, and two are to come.
    class(&app, offering, "2026-03-02", "08:30", None).await;
    class(&app, offering, "2026-03-02", "09:30", Some(tutor.id)).await;
    class(&app, offering, "2026-03-09", "09:30", Some(convenor.id)).await;
    let stays = class(&app, other, "2026-03-09", "09:30", None).await;

    let body = json!({ "reason": "Too few students" });
    let before = everything(&app).await;
    let asked = staff.post(&format!("{}?dry_run=true", close(offering)), &body).await;
    assert_eq!(everything(&app).await, before, "to ask is not to do");
    let closed = staff.with("Idempotency-Key", "k").post(&close(offering), &body).await;
    let wanted = json!({ "offering": offering, "withdrawn_count": 2, "cancelled_count": 2, "told_count": 4 });
    assert_eq!(closed.expect(200), &wanted);
    assert_eq!(asked.expect(200), &json!({ "ok": true, "status": 200, "reasons": [], "answer": wanted }));

    let status = async |id: Id| staff.get(&at(ENROLLMENTS, id)).await.expect(200)["status"].clone();
    let mut now = vec![];
    for seat in &seats {
        now.push(status(*seat).await);
    }
    assert_eq!(json!(now), json!(["WITHDRAWN", "WITHDRAWN", "COMPLETED", "FAILED", "WITHDRAWN"]));
    assert_eq!((status(elsewhere).await, taken(&app, other).await), (json!("ENROLLED"), 1));
    assert_eq!(taken(&app, offering).await, 2);
    let history = staff.get(&step(seats[1], "history")).await;
    assert_eq!(history.expect(200)[1]["reason"], json!("Too few students"), "{}", history.body);
    let classes = staff.get(&format!("{SESSIONS}?offering={offering}")).await;
    let classes: Vec<&Value> = classes.expect(200).as_array().unwrap().iter().map(|class| &class["status"]).collect();
    assert_eq!(classes, ["scheduled", "cancelled", "cancelled"]);
    assert_eq!(staff.get(&format!("{SESSIONS}{stays}/")).await.expect(200)["status"], "scheduled");
    assert_eq!(staff.get(&at(OFFERINGS, offering)).await.expect(200)["is_active"], json!(false));
    // Nobody gets in, staff included.
    let enrol = json!({ "offering": offering, "student": app.student().await.id });
    assert_eq!(staff.post(ENROLLMENTS, &enrol).await.body["code"], "offering_inactive");

    let unit = staff.get(&at(OFFERINGS, offering)).await.body["unit"].clone();
    let (code, name) = (unit["code"].as_str().unwrap(), unit["name"].as_str().unwrap());
    let (student_says, teacher_says) = (
        format!("Your enrolment in {code} {name}, S1 2026 was withdrawn. Note: Too few students"),
        format!("{code} 2026 S1: Too few students (withdrawn: 2, classes cancelled: 2)"),
    );
    let wanted = json!([
        [convenor.id, "Class closed", teacher_says],
        [tutor.id, "Class closed", teacher_says],
        [students[0].id, "Enrolment withdrawn", student_says],
        [students[1].id, "Enrolment withdrawn", student_says],
    ]);
    assert_eq!(told(&app).await, wanted);

    let again = staff.with("Idempotency-Key", "k").post(&close(offering), &body).await;
    assert_eq!(again.expect(200), &closed.body, "a key closes once");
    let before = everything(&app).await;
    assert_eq!(staff.post(&close(offering), &body).await.refusal(), (409, "already_closed"));
    let asked = staff.post(&format!("{}?dry_run=true", close(offering)), &body).await;
    assert_eq!((&asked.expect(200)["ok"], &asked.body["status"]), (&json!(false), &json!(409)));
    assert_eq!(asked.body["reasons"][0]["code"], "already_closed");
    assert_eq!(everything(&app).await, before);
    app.check_invariants().await;
}

#[tokio::test]
async fn an_offering_that_is_merely_inactive_can_still_be_closed() {
    let app = TestApp::start().await;
    let staff = app.staff().await;
    let offering = app.offering(5).await;
    let seat = app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    staff.patch(&at(OFFERINGS, offering), &json!({ "is_active": false })).await.expect(200);
    assert_eq!(staff.get(&at(ENROLLMENTS, seat)).await.expect(200)["status"], "ENROLLED", "as it was");
    let closed = staff.post(&close(offering), &json!({ "reason": "Too few" })).await;
    assert_eq!(closed.expect(200)["withdrawn_count"], json!(1));
}

#[tokio::test]
async fn only_staff_close_an_offering_and_say_why() {
    let app = TestApp::start().await;
    let (staff, convenor) = (app.staff().await, app.convenor().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 5).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let before = everything(&app).await;
    let body = json!({ "reason": "Too few" });
    for stranger in [&convenor, &app.student().await, &app.auditor().await, &app.parent().await] {
        assert_eq!(stranger.post(&close(offering), &body).await.refusal(), (403, "permission_denied"));
    }
    for wrong in [json!({}), json!({ "reason": " " }), json!({ "reason": "x".repeat(2001) })] {
        for query in ["", "?dry_run=true"] {
            let refused = staff.post(&format!("{}{query}", close(offering)), &wrong).await;
            assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, ["reason".to_owned()].into()));
        }
    }
    assert_eq!(staff.post(&close(Id(987_654)), &body).await.refusal(), (404, "not_found"));
    assert_eq!(everything(&app).await, before);
}

/// Somebody is about to take a seat when the offering is closed: they hold theirs, or find it closed, and are in it in no case.
#[tokio::test]
async fn who_gets_in_while_an_offering_is_closed_leaves_with_the_others() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let offering = app.offering(5).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    // The seat is taken, and not committed.
    let mut halfway = app.transaction().await;
    run(&mut *halfway, format!("select id from users where id = {} for no key update", student.id)).await;
    run(
        &mut *halfway,
        format!("update offerings set current_enrollment = current_enrollment + 1 where id = {offering}"),
    )
    .await;
    run(
        &mut *halfway,
        format!(
            "with made as (insert into enrollments (student_id, offering_id, status) values ({}, {offering}, 'PENDING')
                           returning id)
             insert into enrollment_history (enrollment_id, from_status, to_status) select id, '', 'PENDING' from made",
            student.id
        ),
    )
    .await;
    let (path, body) = (close(offering), json!({ "reason": "Too few" }));
    let (closed, ()) = tokio::join!(staff.post(&path, &body), async {
        app.until_someone_waits().await;
        halfway.commit().await.unwrap();
    });
    assert_eq!(closed.expect(200)["withdrawn_count"], json!(2));
    assert_eq!(taken(&app, offering).await, 0);
    let open = sqlx::query_scalar!(r#"select count(*) as "n!" from enrollments where status <> 'WITHDRAWN'"#);
    assert_eq!(open.fetch_one(&app.db).await.unwrap(), 0);
    app.check_invariants().await;
}
