//! Every SQL statement of media.

use sqlx::PgConnection;

use crate::ids::Id;

/// The columns of a file of the media.
pub(super) const SELECT: &str = "
select m.id,
       f.name as file,
       m.file_id,
       m.uploaded_by_id as uploaded_by,
       m.created_at,
       m.updated_at
from media_assets m
join stored_files f on f.id = m.file_id";

pub(super) async fn add(tx: &mut PgConnection, author: Id, file: Id) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into media_assets (file_id, uploaded_by_id, created_by, updated_by)
           values ($1, $2, $2, $2)
           returning id as "id: Id""#,
        file.0,
        author.0
    )
    .fetch_one(tx)
    .await
}
