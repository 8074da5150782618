//! What happens around teaching.

mod attendance;
mod calendar;
mod class_notices;
mod event_audience;
mod event_content;
mod event_imports;
mod event_sheets;
mod event_wishes;
mod events;
mod forms;
mod library;
mod lists;
mod many_classes;
mod notifications;
mod pages;
mod sessions;
pub(crate) mod stream;
mod tickets;

use serde_json::{Value, json};

use crate::support::TestApp;

pub(crate) const SESSIONS: &str = "/api/core/sessions/";
pub(crate) const ATTENDANCE: &str = "/api/core/attendance/";

/// All that writing classes and attendance touches, as text: two of it are equal when nothing was written in between.
async fn everything(app: &TestApp) -> String {
    let tables = sqlx::query_scalar!(
        r#"select concat_ws(E'\n',
                  (select string_agg(t::text, E'\n' order by id) from class_sessions t),
                  (select string_agg(t::text, E'\n' order by id) from attendance_records t),
                  (select string_agg(t::text, E'\n' order by id) from notifications t),
                  (select string_agg(t::text, E'\n' order by id) from webhook_outbox t),
                  (select string_agg(t::text, E'\n' order by id) from audit_log t)) as "all!""#
    );
    tables.fetch_one(&app.db).await.unwrap()
}

/// What people were told of classes, oldest first: recipient, actor, verb, description, class.
async fn told(app: &TestApp) -> Value {
    let rows = sqlx::query!(
        r#"select recipient_id, actor_id, verb, description, target_content_type as kind, target_object_id as target
             from notifications
            order by id"#
    );
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.iter()
        .map(|row| {
            assert_eq!(row.kind, "class_session");
            json!([row.recipient_id, row.actor_id, row.verb, row.description, row.target])
        })
        .collect()
}
