//! Requests that nobody decided on in time.

use serde_json::json;
use swincms::ids::Id;

use super::{ENROLLMENTS, step, taken, told};
use crate::academic::{at, id_of, run};
use crate::support::{Person, TestApp};

#[tokio::test]
async fn a_request_that_nobody_decided_on_is_withdrawn_with_notice() {
    let app = TestApp::with(&[("PENDING_DAYS", "3")]).await;
    let student = app.student().await;
    let (old, new) = (app.offering(0).await, app.offering(0).await);
    let early = id_of(&student.post(ENROLLMENTS, &json!({ "offering": old })).await);
    // Asked again a day later: the wait counts from there.
    let again = id_of(&student.post(ENROLLMENTS, &json!({ "offering": new })).await);
    student.post_bare(&step(again, "withdraw")).await.expect(200);
    app.set_time("2026-03-03T02:00:00Z").await;
    let student = student.new_session(&app).await;
    student.post(ENROLLMENTS, &json!({ "offering": new })).await.expect(201);
    let decided = app.enrollment(student.id, app.offering(0).await, "ENROLLED").await;
    sqlx::query!("delete from notifications").execute(&app.db).await.unwrap();

    app.set_time("2026-03-05T02:00:00Z").await;
    let _beside = app.another_server().with_background().start().await;
    app.until("the job has run", async || taken(&app, old).await == 0).await;
    let staff = app.staff().await;
    let status = async |id| staff.get(&at(ENROLLMENTS, id)).await.expect(200)["status"].clone();
    assert_eq!(status(early).await, json!("WITHDRAWN"));
    assert_eq!((status(again).await, status(decided).await), (json!("PENDING"), json!("ENROLLED")));
    let notices = told(&app).await;
    assert_eq!(notices.as_array().unwrap().len(), 1);
    assert_eq!(notices[0][0], json!(student.id));
    assert_eq!((&notices[0][1], &notices[0][2]), (&json!(null), &json!("Enrolment withdrawn")));
    assert!(notices[0][3].as_str().unwrap().ends_with("Nobody decided on it within 3 days."));
    let audited = sqlx::query!("select user_id, resource_id from audit_log where action = 'expire'");
    let audited = audited.fetch_one(&app.db).await.unwrap();
    assert_eq!((audited.user_id, audited.resource_id), (None, Some(early.0)));
    app.check_invariants().await;
}

/// A digest's rows that are there: recipient, description, whether it is unread.
async fn digest(app: &TestApp) -> Vec<(i64, String, bool)> {
    let rows = sqlx::query!(
        "select recipient_id, description, unread
           from notifications
          where digest = 'enrollment.expiring'
            and deleted_at is null
          order by recipient_id"
    );
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.into_iter().map(|row| (row.recipient_id, row.description, row.unread)).collect()
}

async fn offering_by(app: &TestApp, convenor: &Person) -> Id {
    app.offering_of(app.unit_of(convenor.id).await, 0).await
}

#[tokio::test]
async fn convenors_are_reminded_before_requests_are_withdrawn() {
    let app = TestApp::start().await;
    let (ann, ben, away) = (app.convenor().await, app.convenor().await, app.convenor().await);
    let (of_ann, of_ben) = (offering_by(&app, &ann).await, offering_by(&app, &ben).await);
    let of_away = offering_by(&app, &away).await;
    run(&app.db, format!("update users set is_active = false where id = {}", away.id)).await;
    let mut requests = vec![];
    for (offering, asked) in [
        (of_ann, "2026-02-20T02:00:00Z"),
        (of_ann, "2026-02-20T03:00:00Z"),
        (of_ann, "2026-02-27T02:00:00Z"),
        (of_ben, "2026-02-21T02:00:00Z"),
        (of_away, "2026-02-20T02:00:00Z"),
    ] {
        let id = app.enrollment(app.student().await.id, offering, "PENDING").await;
        run(&app.db, format!("update enrollments set requested_at = '{asked}' where id = {id}")).await;
        requests.push(id);
    }
    // After 14 days they are withdrawn, and three days before that is the reminder.
    for (now, wanted) in [
        ("2026-03-03T01:59:59Z", vec![]),
        (
            "2026-03-03T02:00:00Z",
            vec![(
                ann.id,
                "1 request for a seat in your units will be withdrawn unless you decide on it by 2026-03-06 09:00.",
            )],
        ),
        (
            "2026-03-04T02:00:00Z",
            vec![
                (
                    ann.id,
                    "2 requests for seats in your units will be withdrawn unless you decide on them, the first at 2026-03-06 09:00.",
                ),
                (
                    ben.id,
                    "1 request for a seat in your units will be withdrawn unless you decide on it by 2026-03-07 09:00.",
                ),
            ],
        ),
    ] {
        app.set_time(now).await;
        swincms::enrollment::pending::run(&app.state).await.unwrap();
        let wanted: Vec<_> = wanted.into_iter().map(|(who, says): (_, &str)| (who.0, says.to_owned(), true)).collect();
        assert_eq!(digest(&app).await, wanted, "{now}");
    }
    // Read, it stays read until there is more of it; and it goes with what it was about.
    run(&app.db, "update notifications set unread = false").await;
    let admin = app.admin().await;
    admin.post_bare(&step(requests[0], "reject")).await.expect(200);
    swincms::enrollment::pending::run(&app.state).await.unwrap();
    let now = digest(&app).await;
    let says = "1 request for a seat in your units will be withdrawn unless you decide on it by 2026-03-06 10:00.";
    assert_eq!(now[0], (ann.id.0, says.to_owned(), false), "fewer are no news");
    app.set_time("2026-03-07T02:00:00Z").await;
    swincms::enrollment::pending::run(&app.state).await.unwrap();
    assert_eq!(digest(&app).await, []);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_convenor_is_told_of_students_who_leave_by_themselves() {
    let app = TestApp::start().await;
    let (convenor, staff) = (app.convenor().await, app.staff().await);
    let offering = offering_by(&app, &convenor).await;
    let (ann, ben, cho) = (app.student().await, app.student().await, app.student().await);
    let (sits, waits) =
        (app.enrollment(ann.id, offering, "ENROLLED").await, app.enrollment(ben.id, offering, "PENDING").await);
    let by_staff = app.enrollment(cho.id, offering, "ENROLLED").await;
    ann.post(&step(sits, "withdraw"), &json!({ "reason": "I am ill" })).await.expect(200);
    ben.post_bare(&step(waits, "withdraw")).await.expect(200);
    staff.post_bare(&step(by_staff, "withdraw")).await.expect(200);
    let nobodys = app.enrollment(ann.id, app.offering(0).await, "ENROLLED").await;
    ann.post_bare(&step(nobodys, "withdraw")).await.expect(200);

    let notices = told(&app).await;
    let of_convenor: Vec<_> =
        notices.as_array().unwrap().iter().filter(|notice| notice[0] == json!(convenor.id)).collect();
    let code = sqlx::query_scalar!(
        "select u.code from offerings o join units u on u.id = o.unit_id where o.id = $1",
        offering.0
    );
    let code = code.fetch_one(&app.db).await.unwrap();
    let name = |of: &Person| format!("{} {}", of.first_name, of.last_name);
    let left = format!("{} has left {code} 2026 S1.", name(&ann));
    let asks_no_more = format!("{} no longer asks for a seat in {code} 2026 S1.", name(&ben));
    assert_eq!(
        json!(of_convenor),
        json!([
            [convenor.id, ann.id, "Student withdrew", left, sits],
            [convenor.id, ben.id, "Student withdrew", asks_no_more, waits],
        ])
    );
}
