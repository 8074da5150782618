//! Workflows: what is called outside, and how it is told.

mod definitions;
mod delivery;
mod imports;
mod targets;

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::support::receiver::Receiver;
use crate::support::{Person, TestApp};

pub(crate) const WORKFLOWS: &str = "/api/users/n8n-workflows/";
const LOGS: &str = "/api/users/n8n-logs/";
const OUTBOX: &str = "/api/users/webhook-outbox/";

/// The settings with which receivers on this machine may be called.
pub(crate) const OPEN: (&str, &str) = ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1");

/// A workflow that this receiver is; its id and secret.
pub(crate) async fn workflow(admin: &Person, trigger: &str, url: &str) -> (Id, String) {
    let body = json!({ "name": trigger, "trigger_event": trigger, "configuration": { "webhook_url": url } });
    let made = admin.post(WORKFLOWS, &body).await;
    let made = made.expect(201);
    (Id(made["id"].as_i64().unwrap()), made["secret"].as_str().unwrap().to_owned())
}

/// A workflow that listens to enrolments, with its receiver.
async fn listener(app: &TestApp) -> (Receiver, Id, String) {
    let receiver = Receiver::start().await;
    let (id, secret) = workflow(&app.admin().await, "enrollment.confirmed", &receiver.url("/hook")).await;
    (receiver, id, secret)
}

/// A message about this object in the queue of a workflow, of a trigger that needs no cause.
async fn message(app: &TestApp, workflow: Id, object: &str) -> Id {
    let sql = sqlx::query_scalar!(
        "insert into webhook_outbox (trigger_event, workflow_id, object_key, payload)
         values ('test.ping', $1, $2, '{\"n\": 1}')
         returning id",
        workflow.0,
        object
    );
    Id(sql.fetch_one(&app.db).await.unwrap())
}

/// How a message stands, and after how many attempts.
async fn state(app: &TestApp, message: Id) -> (String, i32) {
    let sql = sqlx::query!("select state, attempts from webhook_outbox where id = $1", message.0);
    let row = sql.fetch_one(&app.db).await.unwrap();
    (row.state, row.attempts)
}

async fn until_state(app: &TestApp, message: Id, wanted: &str, attempts: i32) {
    app.until(&format!("the message is {wanted} after {attempts} attempts"), async || {
        state(app, message).await == (wanted.to_owned(), attempts)
            && sqlx::query_scalar!(
                r#"select leased_until is null as "free!" from webhook_outbox where id = $1"#,
                message.0
            )
            .fetch_one(&app.db)
            .await
            .unwrap()
    })
    .await;
}

/// The statuses of the calls for a message, oldest first.
async fn calls(app: &TestApp, message: Id) -> Vec<String> {
    let sql =
        sqlx::query_scalar!("select status from workflow_executions where message_id = $1 order by id", message.0);
    sql.fetch_all(&app.db).await.unwrap()
}

/// An object's member as text.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text {name} in {value}"))
}
