//! Where calls may go: nothing private, unless the operator says so.

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::{LOGS, OPEN, listener, message, text, until_state};
use crate::support::TestApp;
use crate::support::receiver::Receiver;

/// Puts the URL past the check of those who write workflows, as a name that changes its mind does.
async fn call(app: &TestApp, workflow: swincms::ids::Id, url: &str) -> swincms::ids::Id {
    sqlx::query!(
        "update workflows set configuration = jsonb_build_object('webhook_url', $2::text) where id = $1",
        workflow.0,
        url
    )
    .execute(&app.db)
    .await
    .unwrap();
    message(app, workflow, "enrollment:1").await
}

#[tokio::test]
async fn no_spelling_of_a_private_target_gets_a_byte() {
    let app = TestApp::start().await;
    let canary = Receiver::start().await;
    let port = canary.url("").rsplit(':').next().unwrap().to_owned();
    let made = json!({ "name": "x", "trigger_event": "enrollment.confirmed", "configuration": { "webhook_url": "http://h.example/" } });
    let made = app.admin().await.post(super::WORKFLOWS, &made).await;
    let workflow = swincms::ids::Id(made.expect(201)["id"].as_i64().unwrap());
    // A worker that is so fast that no circuit keeps it from the next spelling.
    let worker = app.another_server().with("WEBHOOK_SPEED", "1000").with_background().start().await;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.0.0.0x1",
        "0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "100.64.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "①②⑦.⓪.⓪.①",
    ] {
        let refused = call(&app, workflow, &format!("http://{host}:{port}/")).await;
        app.until(&format!("{host} was refused"), async || {
            super::state(&app, refused).await.1 >= 1 && super::calls(&app, refused).await.contains(&"failed".to_owned())
        })
        .await;
        sqlx::query!("update webhook_outbox set state = 'dead' where id = $1", refused.0)
            .execute(&app.db)
            .await
            .unwrap();
    }
    assert!(canary.sent().is_empty(), "{:?}", canary.sent());

    worker.stop.cancel();
    worker.stopped.cancelled().await;
    // The same canary hears it when its host is allowed.
    let message = call(&app, workflow, &canary.url("/")).await;
    let _allowing = app.another_server().with("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1").with_background().start().await;
    canary.until_called(1).await;
    app.until("it has arrived", async || super::state(&app, message).await.0 == "delivered").await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    let canary = Receiver::start().await;
    let target = canary.url("/");
    for status in [301, 302, 307, 308] {
        let status = StatusCode::from_u16(status).unwrap();
        receiver.queue((status, [(header::LOCATION, target.clone())]).into_response());
        let sent = message(&app, workflow, &format!("enrollment:{}", status.as_u16())).await;
        until_state(&app, sent, "pending", 1).await;
    }
    let log = app.staff().await.get(LOGS).await;
    assert_eq!(text(&log.expect(200)[0], "error_details"), "The workflow answered 308. Redirects are not followed.");
    assert!(canary.sent().is_empty());
}

#[tokio::test]
async fn the_api_key_goes_to_its_hosts_alone() {
    let settings = [
        ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1,localhost"),
        ("N8N_API_KEY", "demo-key-of-n8n"),
        ("N8N_API_KEY_HOSTS", "127.0.0.1"),
    ];
    let app = TestApp::with_background(&settings).await;
    let (receiver, workflow, _) = listener(&app).await;
    message(&app, workflow, "enrollment:1").await;
    let sent = receiver.until_called(1).await;
    assert_eq!(sent[0].header("authorization"), "Bearer demo-key-of-n8n");
    assert_eq!(sent[0].header("x-n8n-api-key"), "demo-key-of-n8n");
    call(&app, workflow, &receiver.url("/").replace("127.0.0.1", "localhost")).await;
    let sent = receiver.until_called(2).await;
    assert!(sent[1].headers.get("authorization").is_none() && sent[1].headers.get("x-n8n-api-key").is_none());
}

#[tokio::test]
async fn a_huge_answer_is_a_failure_and_an_odd_one_is_kept() {
    let app = TestApp::with_background(&[OPEN]).await;
    let (receiver, workflow, _) = listener(&app).await;
    receiver.answers_text(200, "text/plain", vec![b'x'; 1024 * 1024 + 1]);
    let huge = message(&app, workflow, "enrollment:1").await;
    until_state(&app, huge, "pending", 1).await;
    receiver.answers_text(200, "application/json", r#"{"a": "\u0000"}"#);
    let odd = message(&app, workflow, "enrollment:2").await;
    until_state(&app, odd, "delivered", 1).await;
    receiver.answers_text(200, "text/plain", vec![0, 159, 146, 150]);
    let binary = message(&app, workflow, "enrollment:3").await;
    until_state(&app, binary, "delivered", 1).await;
    let logs = app.staff().await.get(LOGS).await;
    assert_eq!(text(&logs.body[2], "error_details"), "The workflow's answer is longer than 1 MiB.");
    assert_eq!(text(&logs.body[1], "output_data"), r#"{"a": "\u0000"}"#);
    assert_eq!(text(&logs.body[0], "output_data"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
}
