//! Every SQL statement of tickets.

use sqlx::PgConnection;

use super::fields::{TicketFields, TicketPriority, TicketStatus};
use super::handlers::FileRow;
use super::parties::parties;
use crate::ids::Id;

/// The columns of a ticket.
pub(super) const SELECT: &str = concat!(
    "
select t.id,
       t.title,
       t.description,
       ",
    parties!(),
    ",
       t.status,
       t.priority,
       t.category,
       t.related_unit_id as related_unit,
       t.related_offering_id as related_offering,
       (select coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'name', f.original_name, 'size', f.size)
                                  order by f.id),
                        '[]')
          from ticket_files tf
          join stored_files f on f.id = tf.file_id
         where tf.ticket_id = t.id
           and f.deleted_at is null) as files,
       t.created_at,
       t.updated_at,
       t.created_by,
       t.updated_by,
       t.deleted_at,
       t.is_deleted
from tickets t"
);

pub(super) async fn add(tx: &mut PgConnection, author: Id, fields: &TicketFields) -> sqlx::Result<Id> {
    let TicketFields { text, handling } = fields;
    sqlx::query_scalar!(
        r#"insert into tickets (title, description, category, related_unit_id, related_offering_id, assigned_to_id,
                                status, priority, submitter_id, created_by, updated_by)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9)
           returning id as "id: Id""#,
        text.title,
        text.description,
        text.category,
        text.related_unit.map(|id| id.0),
        text.related_offering.map(|id| id.0),
        handling.assigned_to.map(|id| id.0),
        handling.status as TicketStatus,
        handling.priority as TicketPriority,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn replace(tx: &mut PgConnection, author: Id, id: Id, fields: &TicketFields) -> sqlx::Result<()> {
    let TicketFields { text, handling } = fields;
    sqlx::query!(
        "update tickets
            set title = $2,
                description = $3,
                category = $4,
                related_unit_id = $5,
                related_offering_id = $6,
                assigned_to_id = $7,
                status = $8,
                priority = $9,
                updated_at = rule_now(),
                updated_by = $10
          where id = $1",
        id.0,
        text.title,
        text.description,
        text.category,
        text.related_unit.map(|id| id.0),
        text.related_offering.map(|id| id.0),
        handling.assigned_to.map(|id| id.0),
        handling.status as TicketStatus,
        handling.priority as TicketPriority,
        author.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Who convenes this unit, or this offering.
pub(super) async fn convenors(tx: &mut PgConnection, unit: Option<Id>, offering: Option<Id>) -> sqlx::Result<Vec<Id>> {
    sqlx::query_scalar!(
        r#"select convenor_id as "id!: Id"
             from units
            where id = $1
              and convenor_id is not null
            union
           select convenor_id
             from offerings
            where id = $2
              and convenor_id is not null"#,
        unit.map(|id| id.0),
        offering.map(|id| id.0)
    )
    .fetch_all(tx)
    .await
}

/// Holds a row until the transaction ends.
pub(super) async fn lock(tx: &mut PgConnection, id: Id) -> sqlx::Result<()> {
    sqlx::query!("select id from tickets where id = $1 for no key update", id.0).fetch_optional(tx).await?;
    Ok(())
}

/// The stored file becomes one of the ticket's.
pub(super) async fn add_file(tx: &mut PgConnection, author: Id, ticket: Id, file: Id) -> sqlx::Result<FileRow> {
    sqlx::query_as!(
        FileRow,
        r#"with added as (
              insert into ticket_files (ticket_id, file_id)
              values ($1, $2)
           ),
           touched as (
              update tickets
                 set updated_at = rule_now(),
                     updated_by = $3
               where id = $1
           )
           select id as "id: Id",
                  original_name as name,
                  size
             from stored_files
            where id = $2"#,
        ticket.0,
        file.0,
        author.0
    )
    .fetch_one(tx)
    .await
}
