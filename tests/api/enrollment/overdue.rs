//! Requests that nobody decided on in time.

use serde_json::json;

use super::{ENROLLMENTS, step, taken, told};
use crate::academic::{at, id_of};
use crate::support::TestApp;

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
    assert_eq!((&notices[0][1], &notices[0][2]), (&json!(null), &json!("Enrollment withdrawn")));
    assert!(notices[0][3].as_str().unwrap().ends_with("Nobody decided on it within 3 days."));
    let audited = sqlx::query!("select user_id, resource_id from audit_log where action = 'expire'");
    let audited = audited.fetch_one(&app.db).await.unwrap();
    assert_eq!((audited.user_id, audited.resource_id), (None, Some(early.0)));
    app.check_invariants().await;
}
