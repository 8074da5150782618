//! The person in the audit log, whose seals allow one thing alone: that all details of a row are erased, or all of where it
//! came from. The row that an anonymising leaves names each row that it erased.

use serde_json::json;
use sqlx::{PgConnection, Postgres, QueryBuilder};

use crate::access::Viewer;
use crate::audit;
use crate::http::Answer;
use crate::ids::Id;

/// SQL: the rows about the account, and about what the person wrote or was told.
const OF_ACCOUNT: &str = "
    (resource_type = 'user' and resource_id = $1)
    or (resource_type = 'ticket' and resource_id in (select id from tickets where submitter_id = $1))
    or (resource_type = 'ticket_comment'
        and resource_id in (select c.id
                              from ticket_comments c
                              join tickets k on k.id = c.ticket_id
                             where $1 in (c.commenter_id, k.submitter_id)))
    or (resource_type = 'notification'
        and resource_id in (select id from notifications where $1 in (recipient_id, actor_id)))
    or (resource_type = 'guardian' and resource_id in (select id from guardians where user_id = $1))";

/// SQL: the rows about the person's studies, which are kept.
pub(super) const OF_STUDIES: &str = "
    (resource_type = 'enrollment' and resource_id in (select id from enrollments where student_id = $1))
    or (resource_type = 'attendance_record'
        and resource_id in (select id from attendance_records where student_id = $1))
    or (resource_type = 'scholarship_application'
        and resource_id in (select id from scholarship_applications where student_id = $1))
    or (resource_type = 'gold_transaction'
        and resource_id in (select id from gold_transactions where student_id = $1))";

/// SQL: of these, the rows with a copy of a text that anonymising clears where it stands.
const WITH_NOTES: &str = "
    exists (select
              from (values ('enrollment', 'notes'), ('enrollment', 'reason'), ('attendance_record', 'notes'),
                           ('scholarship_application', 'reviewer_notes'), ('gold_transaction', 'details')) cleared (type, field)
             cross join lateral (values (details #>> array['changes', field, 'before']),
                                        (details #>> array['changes', field, 'after']),
                                        (details ->> field)) text (of_the_row)
             where cleared.type = resource_type
               and of_the_row <> '')";

/// Erases the details of what the log says of the person. Returns the rows' ids.
pub(super) async fn erase_own(tx: &mut PgConnection, person: Id) -> sqlx::Result<Vec<i64>> {
    let of_person = |sql: &str| sql.replace("$1", &person.to_string());
    let mut sql =
        QueryBuilder::<Postgres>::new("update audit_log set details = '{}', salt = '' where details <> '{}' and (");
    sql.push(of_person(OF_ACCOUNT)).push(" or ((").push(of_person(OF_STUDIES)).push(") and ").push(WITH_NOTES);
    sql.push(")) returning id");
    sql.build_query_scalar().fetch_all(tx).await
}

/// Erases from where the person came, in the rows of what they did. Returns their ids.
pub(super) async fn erase_origins(tx: &mut PgConnection, person: Id) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "update audit_log
            set ip_address = null, user_agent = '', origin_salt = ''
          where origin_salt <> ''
            and (user_id = $1 or (user_id is null and resource_type = 'user' and resource_id = $1))
         returning id",
        person.0
    )
    .fetch_all(tx)
    .await
}

/// The details of a row, as text.
pub(super) async fn details(tx: &mut PgConnection, row: i64) -> sqlx::Result<Option<String>> {
    let details = sqlx::query_scalar!(
        r#"select details::text as "details!" from audit_log where id = $1 and salt <> '' for update"#,
        row
    );
    details.fetch_optional(tx).await
}

/// Erases the details of these rows.
pub(super) async fn erase(tx: &mut PgConnection, rows: &[i64]) -> sqlx::Result<()> {
    sqlx::query!("update audit_log set details = '{}', salt = '' where id = any($1)", rows).execute(tx).await?;
    Ok(())
}

/// The most ids that a row of the log names: what is longer would be kept as a digest, which tells of no row.
const MOST_NAMED: usize = 100;

/// Leaves the rows that tell what was erased.
pub(super) async fn tell(
    tx: &mut PgConnection,
    actor: &Viewer,
    person: Id,
    details: &[i64],
    origins: &[i64],
) -> Answer<()> {
    let (mut details, mut origins) = (details.chunks(MOST_NAMED), origins.chunks(MOST_NAMED));
    let mut next = (details.next().unwrap_or_default(), origins.next().unwrap_or_default());
    loop {
        let told = json!({ "erased_details": next.0, "erased_origins": next.1 });
        audit::note(tx, actor.caller_id(), &actor.origin, "anonymise", "user", Some(person), &told).await?;
        next = match (details.next(), origins.next()) {
            (None, None) => return Ok(()),
            (details, origins) => (details.unwrap_or_default(), origins.unwrap_or_default()),
        };
    }
}
