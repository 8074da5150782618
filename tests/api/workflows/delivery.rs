//! The queue: what arrives, how often, in which order, and what becomes of what does not.

use aws_lc_rs::hmac;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{LOGS, OPEN, OUTBOX, WORKFLOWS, calls, listener, message, state, text, until_state};
use crate::support::TestApp;
use crate::support::receiver::{Receiver, Sent};

/// What a receiver computes after the Standard Webhooks specification.
pub(super) fn signatures(secrets: &[&str], sent: &Sent) -> String {
    let signed =
        [sent.header("webhook-id").as_bytes(), b".", sent.header("webhook-timestamp").as_bytes(), b".", &sent.body];
    let each = secrets.iter().map(|secret| {
        let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, &signed.concat())))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_confirmed_enrolment_is_told_signed() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, workflow, secret) = listener(&app).await;
    let (student, offering) = (app.student().await, app.offering(0).await);
    let enrolled = student.post("/api/enrollment/enrollments/", &json!({ "offering": offering })).await;
    let enrollment = enrolled.expect(201)["id"].clone();
    app.staff().await.post_bare(&format!("/api/enrollment/enrollments/{enrollment}/approve/")).await.expect(200);

    let sent = &receiver.until_called(1).await[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/hook"));
    assert_eq!(sent.header("content-type"), "application/json");
    let unit = sqlx::query!("select code, name from units").fetch_one(&app.db).await.unwrap();
    let payload = json!({
        "enrollment_id": enrollment, "student_id": student.id, "student_email": student.email,
        "student_name": format!("{} {}", student.first_name, student.last_name),
        "unit_code": unit.code, "unit_name": unit.name, "semester": "S1", "year": 2026,
    });
    let body =
        json!({ "event_id": enrollment.to_string(), "timestamp": "2026-03-02T02:00:00.000000Z", "payload": payload });
    assert_eq!(sent.json, body);
    let id = sqlx::query_scalar!("select id from webhook_outbox").fetch_one(&app.db).await.unwrap();
    assert_eq!(sent.header("webhook-id"), format!("msg_{id}"));
    assert_eq!(sent.header("webhook-timestamp"), "1772416800");
    assert_eq!(sent.header("webhook-signature"), signatures(&[&secret], sent));
    assert!(sent.headers.get("authorization").is_none() && sent.headers.get("x-n8n-api-key").is_none());

    until_state(&app, swincms::ids::Id(id), "delivered", 1).await;
    app.check_invariants().await;
    let shown = app.staff().await.get(&format!("{WORKFLOWS}{workflow}/")).await;
    assert_eq!(
        (&shown.body["last_run"], &shown.body["error_count"]),
        (&json!("2026-03-02T02:00:00.000000Z"), &json!(0))
    );
}

#[tokio::test]
async fn a_present_student_is_told() {
    let app = TestApp::with_background(&[OPEN]).await;
    let receiver = Receiver::start().await;
    super::workflow(&app.admin().await, "attendance.marked", &receiver.url("/")).await;
    let (student, offering) = (app.student().await, app.offering(0).await);
    app.enrollment(student.id, offering, "ENROLLED").await;
    let staff = app.staff().await;
    let class = json!({ "offering": offering, "date": "2026-03-02", "start_time": "09:00" });
    let class = staff.post("/api/core/sessions/", &class).await.expect(201)["id"].clone();
    let record = json!({ "session": class, "student": student.id, "status": "present" });
    let record = staff.post("/api/core/attendance/", &record).await.expect(201)["id"].clone();
    let sent = &receiver.until_called(1).await[0].json;
    assert_eq!(sent["event_id"], record.to_string());
    let unit = sqlx::query!("select code, name from units").fetch_one(&app.db).await.unwrap();
    let payload = json!({
        "student_id": student.id, "student_email": student.email,
        "student_name": format!("{} {}", student.first_name, student.last_name), "attendance_status": "present",
        "session_id": class, "offering_id": offering, "unit_code": unit.code, "unit_name": unit.name,
        "event_date": "2026-03-02",
    });
    assert_eq!(sent["payload"], payload);
}

#[tokio::test]
async fn a_failure_is_tried_again_under_the_same_id() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    receiver.answers(500, json!({ "message": "out of memory" }));
    let sent = message(&app, workflow, "enrollment:1").await;
    until_state(&app, sent, "pending", 1).await;
    let wait = sqlx::query_scalar!(
        r#"select next_at >= rule_now() and next_at <= rule_now() + interval '1 second' as "w!" from webhook_outbox"#
    );
    assert!(wait.fetch_one(&app.db).await.unwrap());

    app.set_time("2026-03-02T02:00:02Z").await;
    let heard = receiver.until_called(2).await;
    until_state(&app, sent, "delivered", 2).await;
    assert_eq!(heard[0].header("webhook-id"), heard[1].header("webhook-id"));
    assert_eq!(heard[0].body, heard[1].body);
    assert_ne!(heard[0].header("webhook-timestamp"), heard[1].header("webhook-timestamp"));
    assert_eq!(calls(&app, sent).await, ["failed", "completed"]);

    let staff = app.staff().await;
    let logs = staff.get(&format!("{LOGS}?message={sent}&status=failed")).await;
    let log = &logs.expect(200)[0];
    assert_eq!(text(log, "error_details"), "The workflow answered 500.");
    assert_eq!(log["output_data"], json!({ "message": "out of memory" }));
    assert_eq!(log["input_data"], json!({ "n": 1 }));
    assert_eq!((&log["workflow"], text(log, "workflow_name")), (&json!(workflow), "enrollment.confirmed"));
    assert_eq!(log["triggered_by_email"], Value::Null);
    let shown = staff.get(&format!("{WORKFLOWS}{workflow}/")).await;
    assert_eq!(shown.body["error_count"], 1);
    app.check_invariants().await;
}

#[tokio::test]
async fn messages_about_one_object_arrive_in_order_and_others_do_not_wait_for_them() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    receiver.always(|sent: &Sent| {
        let status = if sent.json["event_id"] == "1" { 503 } else { 200 };
        StatusCode::from_u16(status).unwrap().into_response()
    });
    let first = message(&app, workflow, "enrollment:1").await;
    until_state(&app, first, "pending", 1).await;
    let second = message(&app, workflow, "enrollment:1").await;
    let other = message(&app, workflow, "enrollment:2").await;
    until_state(&app, other, "delivered", 1).await;
    assert_eq!(state(&app, second).await, ("pending".to_owned(), 0));

    receiver.always(|_| StatusCode::OK.into_response());
    app.set_time("2026-03-02T02:00:02Z").await;
    until_state(&app, second, "delivered", 1).await;
    let of_one: Vec<String> = receiver
        .sent()
        .iter()
        .filter(|sent| sent.json["event_id"] == "1")
        .map(|sent| sent.header("webhook-id").to_owned())
        .collect();
    assert_eq!(of_one, [format!("msg_{first}"), format!("msg_{first}"), format!("msg_{second}")]);
    app.check_invariants().await;
}

#[tokio::test]
async fn what_a_worker_that_died_had_leased_is_sent_again() {
    let app = TestApp::with(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    let lost = message(&app, workflow, "enrollment:1").await;
    sqlx::query!(
        "update webhook_outbox
            set attempts = 1, leased_until = rule_now() + interval '30 seconds', next_at = rule_now() + interval '30 seconds'"
    )
    .execute(&app.db)
    .await
    .unwrap();
    sqlx::query!(
        "insert into workflow_executions (workflow_id, message_id, trigger_event) values ($1, $2, 'enrollment.confirmed')",
        workflow.0,
        lost.0
    )
    .execute(&app.db)
    .await
    .unwrap();
    let beside = message(&app, workflow, "enrollment:2").await;
    let _worker = app.another_server().with_background().start().await;
    until_state(&app, beside, "delivered", 1).await;
    assert_eq!(state(&app, lost).await, ("pending".to_owned(), 1));

    app.set_time("2026-03-02T02:00:31Z").await;
    until_state(&app, lost, "delivered", 2).await;
    assert_eq!(calls(&app, lost).await, ["failed", "completed"]);
    assert_eq!(receiver.sent().len(), 2);
}

#[tokio::test]
async fn a_worker_whose_lease_ran_out_changes_nothing_any_more() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    receiver.hold();
    let slow = message(&app, workflow, "enrollment:1").await;
    receiver.until_called(1).await;
    // The lease is over before the answer is there, and the next worker has begun.
    sqlx::query!("update webhook_outbox set attempts = 2").execute(&app.db).await.unwrap();
    receiver.release();
    app.until("the first call has ended", async || calls(&app, slow).await == ["completed"]).await;
    assert_eq!(state(&app, slow).await, ("pending".to_owned(), 2));
}

#[tokio::test]
async fn two_processes_send_each_message_once() {
    let app = TestApp::with_background(&[OPEN]).await;
    let _second = app.another_server().with_background().start().await;
    let (receiver, workflow, _) = listener(&app).await;
    sqlx::query!(
        "insert into webhook_outbox (trigger_event, workflow_id, object_key)
         select 'test.ping', $1, 'enrollment:' || n from generate_series(1, 100) n",
        workflow.0
    )
    .execute(&app.db)
    .await
    .unwrap();
    let left = || async {
        let sql = sqlx::query_scalar!(r#"select count(*) as "n!" from webhook_outbox where state = 'pending'"#);
        sql.fetch_one(&app.db).await.unwrap()
    };
    app.until("all were sent", async || left().await == 0).await;
    let mut ids: Vec<String> = receiver.sent().iter().map(|sent| sent.header("webhook-id").to_owned()).collect();
    assert_eq!(ids.len(), 100);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 100);
    app.check_invariants().await;
}

#[tokio::test]
async fn a_message_is_given_up_after_48_hours_and_sent_again_when_that_is_asked() {
    let app = TestApp::with_background(&[OPEN, ("WEBHOOK_SPEED", "1000")]).await;
    let (receiver, workflow, _) = listener(&app).await;
    receiver.answers(500, json!({}));
    let lost = message(&app, workflow, "enrollment:1").await;
    until_state(&app, lost, "pending", 1).await;
    receiver.close().await;
    app.set_time("2026-03-04T02:00:01Z").await;
    app.until("it was given up", async || state(&app, lost).await.0 == "dead").await;

    let admin = app.admin().await;
    let dead = admin.get(&format!("{OUTBOX}?state=dead")).await;
    assert_eq!(dead.ids(), [lost]);
    assert!(!text(&dead.body[0], "last_error").is_empty());

    let receiver = Receiver::start().await;
    let url = json!({ "configuration": { "webhook_url": receiver.url("/") } });
    admin.patch(&format!("{WORKFLOWS}{workflow}/"), &url).await.expect(200);
    let replay = format!("{OUTBOX}{lost}/replay/");
    assert_eq!(app.staff().await.post_bare(&replay).await.status, 403);
    let again = admin.post_bare(&replay).await;
    assert_eq!((&again.expect(202)["state"], &again.body["attempts"]), (&json!("pending"), &json!(0)));
    assert_eq!(receiver.until_called(1).await[0].header("webhook-id"), format!("msg_{lost}"));
    until_state(&app, lost, "delivered", 1).await;
    app.check_invariants().await;
}

#[tokio::test]
async fn only_what_went_out_or_was_given_up_is_sent_again() {
    let app = TestApp::with(&[OPEN]).await;
    let (_receiver, workflow, _) = listener(&app).await;
    let admin = app.admin().await;
    let waiting = message(&app, workflow, "enrollment:1").await;
    let replay = |id| format!("{OUTBOX}{id}/replay/");
    assert_eq!(admin.post_bare(&replay(waiting)).await.refusal(), (409, "already_pending"));
    sqlx::query!("update webhook_outbox set state = 'skipped', workflow_id = null").execute(&app.db).await.unwrap();
    assert_eq!(admin.post_bare(&replay(waiting)).await.refusal(), (409, "nobody_listened"));
    sqlx::query!("update webhook_outbox set state = 'dead', workflow_id = $1", workflow.0)
        .execute(&app.db)
        .await
        .unwrap();
    admin.delete(&format!("{WORKFLOWS}{workflow}/")).await.expect(204);
    assert_eq!(admin.post_bare(&replay(waiting)).await.refusal(), (409, "workflow_deleted"));
    assert_eq!(admin.post_bare(&replay(swincms::ids::Id(999))).await.status, 404);
}

#[tokio::test]
async fn messages_of_a_deleted_workflow_are_given_up() {
    let app = TestApp::with(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    let lost = message(&app, workflow, "enrollment:1").await;
    app.admin().await.delete(&format!("{WORKFLOWS}{workflow}/")).await.expect(204);
    let _worker = app.another_server().with_background().start().await;
    until_state(&app, lost, "dead", 0).await;
    assert!(receiver.sent().is_empty());
}

#[tokio::test]
async fn a_call_of_the_log_is_sent_again_through_the_queue() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    let first = message(&app, workflow, "enrollment:1").await;
    until_state(&app, first, "delivered", 1).await;
    let admin = app.admin().await;
    let log = admin.get(LOGS).await.ids()[0];
    let path = format!("{LOGS}{log}/replay/");
    assert_eq!(app.staff().await.post_bare(&path).await.status, 403);
    let again = admin.post_bare(&path).await;
    assert_eq!(again.expect(202)["object_key"], "enrollment:1");
    let sent = receiver.until_called(2).await;
    assert_eq!(sent[1].json["payload"], json!({ "n": 1 }));
    assert_ne!(sent[0].header("webhook-id"), sent[1].header("webhook-id"));

    sqlx::query!(
        "update workflow_executions set message_id = null, trigger_event = 'student.ask' where id = $1",
        log.0
    )
    .execute(&app.db)
    .await
    .unwrap();
    assert_eq!(admin.post_bare(&path).await.refusal(), (409, "nobody_waits"));
}

#[tokio::test]
async fn a_host_that_fails_ten_times_in_a_row_is_left_alone() {
    let app = TestApp::with_background(&[("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1,localhost")]).await;
    let (broken, workflow, _) = listener(&app).await;
    broken.always(|_| StatusCode::BAD_GATEWAY.into_response());
    // The same machine under another name is another host.
    let works = Receiver::start().await;
    let url = works.url("/hook").replace("127.0.0.1", "localhost");
    let (of_works, _) = super::workflow(&app.admin().await, "enrollment.confirmed", &url).await;
    // Those about one object go one after the other, so that the queue is looked at again after each.
    sqlx::query!(
        "insert into webhook_outbox (trigger_event, workflow_id, object_key)
         select 'test.ping', $1::bigint, 'enrollment:' || n
           from generate_series(1, 60) n
          union all
         select 'test.ping', $2::bigint, 'enrollment:0'
           from generate_series(1, 20)",
        workflow.0,
        of_works.0
    )
    .execute(&app.db)
    .await
    .unwrap();
    works.until_called(20).await;
    let calls = broken.sent().len();
    // What was under way when it opened still came in: seven more at most.
    assert!((10..=17).contains(&calls), "{calls} calls");
}
