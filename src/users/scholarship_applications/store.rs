//! Every SQL statement of applications for scholarships.

use sqlx::PgConnection;

use super::handlers::{ApplicationFields, ApplicationStatus, DocumentRow};
use crate::ids::Id;

/// The columns of an application.
pub(super) const SELECT: &str = "
select a.id,
       a.student_id as student,
       a.scholarship_id as scholarship,
       s.name as scholarship_name,
       a.application_date,
       (select coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'name', f.original_name, 'size', f.size)
                                  order by f.id),
                        '[]')
          from scholarship_application_files af
          join stored_files f on f.id = af.file_id
         where af.application_id = a.id
           and f.deleted_at is null) as documents,
       a.status,
       a.reviewer_notes,
       a.reviewed_by_id as reviewed_by,
       a.reviewed_at,
       a.created_at,
       a.updated_at
from scholarship_applications a
join scholarships s on s.id = a.scholarship_id";

pub(super) async fn add(tx: &mut PgConnection, student: Id, application: &ApplicationFields) -> sqlx::Result<Id> {
    sqlx::query_scalar!(
        r#"insert into scholarship_applications (student_id, scholarship_id, created_by, updated_by)
           values ($1, $2, $1, $1)
           returning id as "id: Id""#,
        student.0,
        application.scholarship as _
    )
    .fetch_one(tx)
    .await
}

/// Holds a row until the transaction ends.
pub(super) async fn lock(tx: &mut PgConnection, id: Id) -> sqlx::Result<()> {
    sqlx::query!("select id from scholarship_applications where id = $1 for no key update", id.0)
        .fetch_optional(tx)
        .await?;
    Ok(())
}

/// The stored file becomes one of the application's.
pub(super) async fn add_document(
    tx: &mut PgConnection,
    author: Id,
    application: Id,
    file: Id,
) -> sqlx::Result<DocumentRow> {
    sqlx::query_as!(
        DocumentRow,
        r#"with added as (
              insert into scholarship_application_files (application_id, file_id)
              values ($1, $2)
           ),
           touched as (
              update scholarship_applications
                 set updated_at = rule_now(),
                     updated_by = $3
               where id = $1
           )
           select id as "id: Id",
                  original_name as name,
                  size
             from stored_files
            where id = $2"#,
        application.0,
        file.0,
        author.0
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn review(
    tx: &mut PgConnection,
    reviewer: Id,
    id: Id,
    status: ApplicationStatus,
    notes: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update scholarship_applications
            set status = $2,
                reviewer_notes = $3,
                reviewed_by_id = $4,
                reviewed_at = rule_now(),
                updated_at = rule_now(),
                updated_by = $4
          where id = $1",
        id.0,
        status as ApplicationStatus,
        notes,
        reviewer.0
    )
    .execute(tx)
    .await?;
    Ok(())
}
