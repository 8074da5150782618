//! Event files that a workflow imports instead of the server.

use serde_json::json;

use super::OPEN;
use crate::support::receiver::Receiver;
use crate::support::{Person, Reply, TestApp, Upload};

const CSV: &str = "title,start\nOpen day,2026-05-01T09:00:00Z\n";

async fn import(who: &Person, query: &str) -> Reply {
    who.upload(&format!("/api/core/events/import-csv/{query}"), Upload::of("data", "events.csv", CSV)).await
}

async fn events(app: &TestApp) -> i64 {
    sqlx::query_scalar!(r#"select count(*) as "n!" from events"#).fetch_one(&app.db).await.unwrap()
}

#[tokio::test]
async fn a_file_is_queued_for_the_workflow_that_imports_it() {
    let receiver = Receiver::start().await;
    let url = receiver.url("/import");
    let app = TestApp::with_background(&[OPEN, ("N8N_IMPORT_WEBHOOK", &url)]).await;
    let staff = app.staff().await;
    let queued = import(&staff, "").await;
    assert_eq!(queued.expect(202)["forwarded"], true);
    let sent = receiver.until_called(1).await;
    assert_eq!(sent[0].path, "/import");
    let payload = json!({ "file_name": "events.csv", "content": CSV, "uploaded_by": staff.id });
    assert_eq!(sent[0].json["payload"], payload);
    assert_eq!(events(&app).await, 0);
    app.until("it is delivered", async || {
        let sql = sqlx::query_scalar!("select state from webhook_outbox");
        sql.fetch_one(&app.db).await.unwrap() == "delivered"
    })
    .await;
    app.check_invariants().await;
}

#[tokio::test]
async fn it_is_imported_here_when_that_is_asked_and_for_the_workflows_own_account() {
    let app = TestApp::with(&[OPEN, ("N8N_IMPORT_WEBHOOK", "http://127.0.0.1:9/")]).await;
    let (staff, admin) = (app.staff().await, app.admin().await);
    assert_eq!(import(&staff, "?local=true").await.expect(200)["created_count"], 1);
    // An administrator is no service account.
    import(&admin, "").await.expect(202);
    let role = json!({ "name": "n8n", "permissions": ["events.import_directly"] });
    let role = admin.post("/api/users/roles/", &role).await.expect(201)["id"].clone();
    admin.post("/api/users/user-roles/", &json!({ "user": staff.id, "role": role })).await.expect(201);
    assert_eq!(import(&staff, "").await.expect(200)["skipped_count"], 1, "the event is there already");
    assert_eq!(events(&app).await, 1);
}

#[tokio::test]
async fn what_is_no_text_is_not_passed_on() {
    let app = TestApp::with(&[OPEN, ("N8N_IMPORT_WEBHOOK", "http://127.0.0.1:9/")]).await;
    let binary = Upload::of("data", "events.csv", vec![0x50, 0x4b, 0, 0xff]);
    let refused = app.staff().await.upload("/api/core/events/import-csv/", binary).await;
    assert!(refused.status == 400 && !refused.errors("data").is_empty(), "{}", refused.body);
}
