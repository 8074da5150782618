//! Every SQL statement of comments on tickets.

use sqlx::PgConnection;

use super::handlers::TicketCommentFields;
use crate::core::tickets::parties;
use crate::ids::Id;

/// The columns of a comment and the people of its ticket.
pub(super) const SELECT: &str = concat!(
    "
select c.id,
       c.ticket_id as ticket,
       c.commenter_id as commenter,
       c.comment,
       c.internal,
       ",
    parties!(),
    ",
       c.created_at,
       c.updated_at
from ticket_comments c
join tickets t on t.id = c.ticket_id"
);

pub(super) async fn add(tx: &mut PgConnection, author: Id, fields: &TicketCommentFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into ticket_comments (ticket_id, commenter_id, comment, internal, created_by, updated_by)
           values ($1, $2, $3, $4, $2, $2)
           returning id as "id: Id""#,
        fields.ticket as Option<Id>,
        author.0,
        fields.comment,
        fields.internal
    )
    .fetch_one(tx)
    .await
}

/// Writes what was said; the ticket stays.
pub(super) async fn replace(
    tx: &mut PgConnection,
    author: Id,
    id: Id,
    fields: &TicketCommentFields,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update ticket_comments
            set comment = $2,
                internal = $3,
                updated_at = rule_now(),
                updated_by = $4
          where id = $1",
        id.0,
        fields.comment,
        fields.internal,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
