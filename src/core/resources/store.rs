//! Every SQL statement of the library.

use sqlx::PgConnection;

use super::handlers::LibraryResourceFields;
use crate::ids::Id;

/// The columns of a resource.
pub(super) const SELECT: &str = "
select r.id,
       r.title,
       f.name as file,
       r.unit_id as unit,
       r.uploaded_by_id as uploaded_by,
       r.created_at,
       r.updated_at
from resources r
join stored_files f on f.id = r.file_id";

pub(super) async fn add(tx: &mut PgConnection, author: Id, fields: &LibraryResourceFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into resources (title, unit_id, file_id, uploaded_by_id, created_by, updated_by)
           values ($1, $2, $3, $4, $4, $4)
           returning id as "id: Id""#,
        fields.title,
        fields.unit.map(|id| id.0),
        fields.file as Option<Id>,
        author.0
    )
    .fetch_one(tx)
    .await
}

/// Writes all but the file, which stays.
pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    fields: &LibraryResourceFields,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update resources
            set title = $2,
                unit_id = $3,
                updated_at = rule_now(),
                updated_by = $4
          where id = $1",
        id.0,
        fields.title,
        fields.unit.map(|id| id.0),
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
