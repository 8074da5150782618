//! Enrolment: who gets a seat, what is decided and reached there, and who sees it.

mod approvals;
mod bulk;
mod class_lists;
mod closing;
mod dashboard;
mod decisions;
mod enroll;
mod enrollments;
mod judgement;
mod marks;
mod overdue;
mod records;
mod removal;
mod results;
mod seats;
mod teaching;
mod transcripts;

use serde_json::{Value, json};
use swincms::ids::Id;

use crate::support::TestApp;

pub(crate) const ENROLLMENTS: &str = "/api/enrollment/enrollments/";

/// `…/7/approve/`
pub(crate) fn step(id: Id, verb: &str) -> String {
    format!("{ENROLLMENTS}{id}/{verb}/")
}

/// All that enrolment writes, as text: two of it are equal when nothing was written in between.
pub(crate) async fn everything(app: &TestApp) -> String {
    let tables = sqlx::query_scalar!(
        r#"select concat_ws(E'\n',
                  (select string_agg(t::text, E'\n' order by id) from enrollments t),
                  (select string_agg(t::text, E'\n' order by id) from enrollment_history t),
                  (select string_agg(t::text, E'\n' order by id) from enrollment_decisions t),
                  (select string_agg(t::text, E'\n' order by id) from transcripts t),
                  (select string_agg(t::text, E'\n' order by id) from offerings t),
                  (select string_agg(t::text, E'\n' order by id) from notifications t),
                  (select string_agg(t::text, E'\n' order by id) from webhook_outbox t),
                  (select string_agg(t::text, E'\n' order by id) from audit_log t)) as "all!""#
    );
    tables.fetch_one(&app.db).await.unwrap()
}

/// What people were told of enrolments, oldest first: recipient, actor, verb, description.
pub(crate) async fn told(app: &TestApp) -> Value {
    let rows = sqlx::query!(
        "select recipient_id, actor_id, verb, description, target_object_id
           from notifications
          where target_content_type = 'enrollment'
          order by id"
    );
    let rows = rows.fetch_all(&app.db).await.unwrap();
    rows.iter()
        .map(|row| json!([row.recipient_id, row.actor_id, row.verb, row.description, row.target_object_id]))
        .collect()
}

/// The seats that an offering counts as taken.
pub(crate) async fn taken(app: &TestApp, offering: Id) -> i32 {
    let sql = sqlx::query_scalar!("select current_enrollment from offerings where id = $1", offering.0);
    sql.fetch_one(&app.db).await.unwrap()
}
