//! Every SQL statement of scholarships.

use sqlx::PgConnection;

use super::handlers::ScholarshipFields;
use crate::ids::Id;

/// The columns of a scholarship.
pub(super) const SELECT: &str = "
select s.id,
       s.name,
       s.description,
       s.amount,
       s.duration_semesters,
       s.requirements,
       s.max_awards,
       s.is_active,
       s.created_at,
       s.updated_at
from scholarships s";

pub(super) async fn add(tx: &mut PgConnection, author: Id, scholarship: &ScholarshipFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into scholarships (name, description, amount, duration_semesters, requirements, max_awards, is_active,
                                     created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $8)
           returning id as "id: Id""#,
        scholarship.name,
        scholarship.description,
        scholarship.amount,
        scholarship.duration_semesters,
        scholarship.requirements,
        scholarship.max_awards,
        scholarship.is_active,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    scholarship: &ScholarshipFields,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update scholarships
            set name = $2,
                description = $3,
                amount = $4,
                duration_semesters = $5,
                requirements = $6,
                max_awards = $7,
                is_active = $8,
                updated_at = rule_now(),
                updated_by = $9
          where id = $1",
        id.0,
        scholarship.name,
        scholarship.description,
        scholarship.amount,
        scholarship.duration_semesters,
        scholarship.requirements,
        scholarship.max_awards,
        scholarship.is_active,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// How often a scholarship has been awarded.
pub(super) async fn awarded(tx: &mut PgConnection, id: Id) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!"
             from scholarship_applications
            where scholarship_id = $1
              and status = 'approved'
              and deleted_at is null"#,
        id.0
    )
    .fetch_one(tx)
    .await
}

/// Whether there is another award to give. The scholarship's row stays locked until the transaction ends, and the count
/// is a statement of its own behind the lock: it sees what whoever held the lock before has awarded.
pub(in crate::users) async fn awards_left(tx: &mut PgConnection, id: Id) -> sqlx::Result<bool> {
    let most = sqlx::query_scalar!("select max_awards from scholarships where id = $1 for no key update", id.0)
        .fetch_one(&mut *tx)
        .await?;
    Ok(most == 0 || awarded(tx, id).await? < i64::from(most))
}

/// Whether a scholarship is there and takes applications.
pub(in crate::users) async fn takes_applications(tx: &mut PgConnection, id: Id) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from scholarships
                           where id = $1
                             and is_active
                             and deleted_at is null) as "takes!""#,
        id.0
    )
    .fetch_one(tx)
    .await
}
