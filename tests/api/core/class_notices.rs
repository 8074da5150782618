//! What a whole class is told at once.

use serde_json::{Value, json};
use swincms::ids::Id;

use super::SESSIONS;
use crate::academic::{faulty, run};
use crate::support::TestApp;

const NOTIFICATIONS: &str = "/api/core/notifications/";

/// All that people were told: recipient, actor, verb, description, kind of target, target.
async fn told(app: &TestApp) -> Value {
    let rows = sqlx::query!(
        "select recipient_id, actor_id, verb, description, target_content_type as kind, target_object_id as target
           from notifications
          order by id"
    );
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.iter()
        .map(|row| json!([row.recipient_id, row.actor_id, row.verb, row.description, row.kind, row.target]))
        .collect()
}

#[tokio::test]
async fn who_sits_in_a_class_is_told_by_those_who_teach_it_and_by_staff() {
    let app = TestApp::start().await;
    let (staff, convenor, tutor) = (app.staff().await, app.convenor().await, app.student().await);
    let offering = app.offering_of(app.unit_of(convenor.id).await, 0).await;
    let class = json!({ "offering": offering, "date": "2026-03-09", "start_time": "09:00", "instructor": tutor.id });
    staff.post(SESSIONS, &class).await.expect(201);
    let mut students: Vec<Id> = vec![];
    for status in ["ENROLLED", "ENROLLED", "PENDING", "COMPLETED", "FAILED", "WITHDRAWN"] {
        let student = app.student().await;
        app.enrollment(student.id, offering, status).await;
        if status == "ENROLLED" {
            students.push(student.id);
        }
    }
    let gone = app.student().await;
    app.enrollment(gone.id, offering, "ENROLLED").await;
    run(&app.db, format!("update users set is_active = false where id = {}", gone.id)).await;

    let message = json!({ "offering": offering, "verb": "Bring a calculator", "description": "To the test." });
    let mut wanted = vec![];
    for teacher in [&staff, &convenor, &tutor, &app.admin().await] {
        let sent = teacher.post(NOTIFICATIONS, &message).await;
        let answer = json!({
            "offering": offering, "verb": "Bring a calculator", "description": "To the test.", "told_count": 2,
        });
        assert_eq!(sent.expect(201), &answer);
        for student in &students {
            wanted.push(json!([student, teacher.id, "Bring a calculator", "To the test.", "offering", offering]));
        }
        assert_eq!(told(&app).await, json!(wanted), "{}", teacher.user_type);
    }
    // Once for its key, and nobody is told of their own message.
    let keyed = tutor.with("Idempotency-Key", "k");
    app.enrollment(tutor.id, offering, "ENROLLED").await;
    for _ in 0..2 {
        assert_eq!(keyed.post(NOTIFICATIONS, &message).await.expect(201)["told_count"], json!(2));
    }
    assert_eq!(told(&app).await.as_array().unwrap().len(), wanted.len() + 2);
}

#[tokio::test]
async fn a_class_is_not_told_by_others_and_what_is_wrong_is_named() {
    let app = TestApp::start().await;
    let (staff, student) = (app.staff().await, app.student().await);
    let offering = app.offering(0).await;
    app.enrollment(student.id, offering, "ENROLLED").await;
    let message = json!({ "offering": offering, "verb": "Party" });
    for stranger in [&student, &app.convenor().await, &app.parent().await, &app.auditor().await] {
        let refused = stranger.post(NOTIFICATIONS, &message).await;
        assert_eq!(refused.refusal(), (403, "permission_denied"), "{}", stranger.user_type);
    }
    let deleted = app.offering(0).await;
    run(&app.db, format!("update offerings set deleted_at = rule_now() where id = {deleted}")).await;
    for (body, field) in [
        (json!({ "offering": offering }), "verb"),
        (json!({ "offering": offering, "verb": "x", "recipient": student.id }), "recipient"),
        (json!({ "offering": offering, "verb": "x", "target_object_id": 7 }), "target_content_type"),
        (json!({ "offering": 987_654, "verb": "x" }), "offering"),
        (json!({ "offering": deleted, "verb": "x" }), "offering"),
        (json!({ "offering": offering, "verb": "x", "description": "y".repeat(20_001) }), "description"),
        (json!({ "verb": "x" }), "recipient"),
    ] {
        let refused = staff.post(NOTIFICATIONS, &body).await;
        assert_eq!((refused.status.as_u16(), faulty(&refused)), (400, [field.to_owned()].into()), "{field}");
    }
    assert_eq!(told(&app).await, json!([]));
}

#[tokio::test]
async fn classes_are_told_ten_times_at_once_and_then_once_a_minute() {
    let app = TestApp::start().await;
    let (staff, colleague) = (app.staff().await, app.staff().await);
    let offering = app.offering(0).await;
    app.enrollment(app.student().await.id, offering, "ENROLLED").await;
    let message = json!({ "offering": offering, "verb": "Ping" });
    // What is refused is not counted.
    staff.post(NOTIFICATIONS, &json!({ "offering": offering })).await.expect(400);
    for _ in 0..10 {
        staff.post(NOTIFICATIONS, &message).await.expect(201);
    }
    let refused = staff.post(NOTIFICATIONS, &message).await;
    assert_eq!((refused.refusal(), refused.header("retry-after")), ((429, "throttled"), Some("60")));
    assert_eq!(told(&app).await.as_array().unwrap().len(), 10);
    colleague.post(NOTIFICATIONS, &message).await.expect(201);
    // One person is another matter.
    staff.post(NOTIFICATIONS, &json!({ "recipient": colleague.id, "verb": "Ping" })).await.expect(201);
    app.set_time("2026-03-02T02:01:00Z").await;
    staff.post(NOTIFICATIONS, &message).await.expect(201);
    staff.post(NOTIFICATIONS, &message).await.expect(429);
}
