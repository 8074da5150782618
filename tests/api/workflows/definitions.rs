//! Writing workflows, and who may.

use serde_json::{Value, json};

use super::{OPEN, WORKFLOWS, listener, message, state, until_state, workflow};
use crate::support::TestApp;
use crate::support::receiver::Receiver;

fn body(url: &str) -> Value {
    json!({ "name": "Tell the mail list", "trigger_event": "enrollment.confirmed", "configuration": { "webhook_url": url } })
}

#[tokio::test]
async fn the_secret_is_shown_once() {
    let app = TestApp::start().await;
    let (admin, staff) = (app.admin().await, app.staff().await);
    let made = admin.post(WORKFLOWS, &body("https://n8n.example.edu/webhook/x")).await;
    let made = made.expect(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
    let path = format!("{WORKFLOWS}{}/", made["id"]);
    for reply in [admin.get(&path).await, staff.get(&path).await, staff.get(WORKFLOWS).await] {
        reply.expect(200);
        assert!(!String::from_utf8_lossy(&reply.bytes).contains("secret"), "{}", reply.body);
    }
    let shown = admin.get(&path).await;
    assert_eq!(shown.body["trigger_event"], "enrollment.confirmed");
    assert_eq!(shown.body["configuration"]["webhook_url"], "https://n8n.example.edu/webhook/x");
    assert_eq!((&shown.body["error_count"], &shown.body["last_run"]), (&json!(0), &Value::Null));
    let audit = sqlx::query_scalar!(r#"select string_agg(details::text, '') as "all!" from audit_log"#);
    assert!(!audit.fetch_one(&app.db).await.unwrap().contains(&secret[6..]));
}

#[tokio::test]
async fn a_repeated_creation_makes_one_workflow_and_does_not_tell_the_secret_again() {
    let app = TestApp::start().await;
    let admin = app.admin().await.with("Idempotency-Key", "one");
    let first = admin.post(WORKFLOWS, &body("https://n8n.example.edu/x")).await;
    let again = admin.post(WORKFLOWS, &body("https://n8n.example.edu/x")).await;
    assert!(first.expect(201)["secret"].is_string());
    assert_eq!((&again.expect(201)["id"], &again.body["secret"]), (&first.body["id"], &Value::Null));
    let kept = sqlx::query_scalar!(r#"select convert_from(body, 'UTF8') as "body!" from idempotency_keys"#);
    assert!(!kept.fetch_one(&app.db).await.unwrap().contains("whsec_"));
    assert_eq!(app.admin().await.get(WORKFLOWS).await.ids().len(), 1);
}

#[tokio::test]
async fn only_administrators_write_and_only_staff_read() {
    let app = TestApp::start().await;
    let (id, _) = workflow(&app.admin().await, "student.ask", "https://n8n.example.edu/x").await;
    let path = format!("{WORKFLOWS}{id}/");
    let staff = app.staff().await;
    staff.get(&path).await.expect(200);
    for refused in [
        staff.post(WORKFLOWS, &body("https://n8n.example.edu/x")).await,
        staff.patch(&path, &json!({ "name": "mine" })).await,
        staff.delete(&path).await,
        staff.post_bare(&format!("{path}rotate-secret/")).await,
    ] {
        assert_eq!(refused.refusal(), (403, "permission_denied"));
    }
    for person in [app.student().await, app.parent().await, app.convenor().await, app.auditor().await] {
        assert_eq!(person.get(WORKFLOWS).await.status, 403, "{}", person.user_type);
        assert_eq!(person.get("/api/users/n8n-logs/").await.status, 403, "{}", person.user_type);
        assert_eq!(person.get("/api/users/webhook-outbox/").await.status, 403, "{}", person.user_type);
    }
}

#[tokio::test]
async fn what_could_never_be_called_is_refused_when_it_is_written() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let url = "configuration.webhook_url";
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": "x", "trigger_event": "event.burn" }), "trigger_event"),
        (json!({ "name": "x", "trigger_event": "student.ask" }), url),
        (
            json!({ "name": "x", "trigger_event": "student.ask", "configuration": { "webhook_url": "http://h/", "use_test_url": true } }),
            "configuration.webhook_url_test",
        ),
        (body("ftp://n8n.example.edu/"), url),
        (body("n8n.example.edu"), url),
        (body("http://user:pass@n8n.example.edu/"), url),
        (body("http://127.0.0.1:5678/webhook"), url),
        (body("http://2130706433/"), url),
        (body("http://[::ffff:10.0.0.1]/"), url),
        (body("http://169.254.169.254/latest/meta-data/"), url),
        (
            json!({ "name": "x", "trigger_event": "student.ask", "configuration": { "webhook_url": "http://h/", "webhook_url_test": "http://[::1]/" } }),
            "configuration.webhook_url_test",
        ),
    ] {
        let reply = admin.post(WORKFLOWS, &body).await;
        assert!(reply.status == 400 && !reply.errors(field).is_empty(), "{body}: {}", reply.body);
    }
    let (id, _) = workflow(&admin, "student.ask", "https://n8n.example.edu/x").await;
    let path = format!("{WORKFLOWS}{id}/");
    let private = json!({ "configuration": { "webhook_url": "http://10.1.2.3/" } });
    assert!(!admin.patch(&path, &private).await.errors(url).is_empty());
    assert!(!admin.put(&path, &body("http://10.1.2.3/")).await.errors(url).is_empty());
    admin.patch(&path, &json!({ "is_active": false, "configuration": {} })).await.expect(200);
    assert_eq!(admin.get(WORKFLOWS).await.ids(), [id]);
}

#[tokio::test]
async fn an_allowed_host_may_be_private() {
    let app = TestApp::with(&[("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1,n8n")]).await;
    let admin = app.admin().await;
    workflow(&admin, "student.ask", "http://127.0.0.1:5678/webhook").await;
    workflow(&admin, "student.ask", "http://n8n:5678/webhook").await;
    assert_eq!(admin.post(WORKFLOWS, &body("http://127.0.0.2/")).await.status, 400);
}

#[tokio::test]
async fn after_a_new_secret_the_old_one_signs_beside_it_for_a_day() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, id, old) = listener(&app).await;
    let path = format!("{WORKFLOWS}{id}/rotate-secret/");
    let renewed = app.admin().await.post_bare(&path).await;
    let new = renewed.expect(200)["secret"].as_str().unwrap().to_owned();
    assert_eq!(renewed.body["previous_valid_until"], "2026-03-03T02:00:00.000000Z");
    assert_ne!(old, new);

    // What is under way is awaited: with the clock a lease would run out, and it would be sent again.
    let first = message(&app, id, "enrollment:1").await;
    until_state(&app, first, "delivered", 1).await;
    let sent = receiver.sent();
    let signed = super::delivery::signatures(&[&new, &old], &sent[0]);
    assert_eq!(sent[0].header("webhook-signature"), signed);

    app.set_time("2026-03-03T02:00:01Z").await;
    let second = message(&app, id, "enrollment:1").await;
    until_state(&app, second, "delivered", 1).await;
    let sent = receiver.sent();
    assert_eq!(sent[1].header("webhook-signature"), super::delivery::signatures(&[&new], &sent[1]));

    // A third one ends the first at once: two are valid.
    let admin = app.admin().await;
    let third = admin.post_bare(&path).await.expect(200)["secret"].as_str().unwrap().to_owned();
    message(&app, id, "enrollment:1").await;
    let sent = receiver.until_called(3).await;
    assert_eq!(sent[2].header("webhook-signature"), super::delivery::signatures(&[&third, &new], &sent[2]));
    app.check_invariants().await;
}

#[tokio::test]
async fn an_inactive_workflow_is_not_called_until_it_is_active_again() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, id, _) = listener(&app).await;
    let (other, of_other, _) = listener(&app).await;
    let (admin, path) = (app.admin().await, format!("{WORKFLOWS}{id}/"));
    admin.patch(&path, &json!({ "is_active": false })).await.expect(200);
    let waits = message(&app, id, "enrollment:1").await;
    message(&app, of_other, "enrollment:1").await;
    other.until_called(1).await;
    assert_eq!(state(&app, waits).await, ("pending".to_owned(), 0));
    admin.patch(&path, &json!({ "is_active": true })).await.expect(200);
    receiver.until_called(1).await;
    until_state(&app, waits, "delivered", 1).await;
}

#[tokio::test]
async fn a_test_url_is_called_instead_when_that_is_asked() {
    let app = TestApp::with_background(&[OPEN]).await;
    let receiver = Receiver::start().await;
    let configuration = json!({
        "webhook_url": receiver.url("/real"), "webhook_url_test": receiver.url("/test"), "use_test_url": true,
    });
    let body = json!({ "name": "x", "trigger_event": "enrollment.confirmed", "configuration": configuration });
    let made = app.admin().await.post(WORKFLOWS, &body).await;
    message(&app, swincms::ids::Id(made.expect(201)["id"].as_i64().unwrap()), "enrollment:1").await;
    assert_eq!(receiver.until_called(1).await[0].path, "/test");
}
